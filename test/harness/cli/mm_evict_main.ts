/** `orrery mm evict` on its own: starts the command as harness/main.ts does. */
import { Command } from "commander";
import { failureOf } from "../../../harness/cli/failure.ts";
import { registerEvict } from "../../../harness/cli/mm_evict.ts";

const mm = new Command("mm").exitOverride();
registerEvict(mm);
for (const command of mm.commands) command.exitOverride().configureOutput({ writeErr: () => {} });
try {
  await mm.parseAsync(process.argv.slice(2), { from: "user" });
} catch (error) {
  const { code, line } = failureOf(error, "again");
  console.error(line === "" || !(error instanceof Error) ? "" : line);
  process.exitCode = error instanceof Error && "code" in error && String(error.code).startsWith("commander") ? 2 : code;
}
