/** `orrery version`: what a bug report needs. */
import type { Command } from "commander";
import { formatOption } from "./args.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { packageRoot, packageVersion } from "./package.ts";

export function register(program: Command): void {
  program
    .command("version")
    .description("Print the version of orrery, its git revision in a checkout, and the Node it runs on.")
    .addOption(formatOption("json"))
    .action(async ({ format }: { format: Format }) => {
      const { gitState } = await import("../run/revision.ts");
      const git = gitState(packageRoot);
      const facts = {
        orrery: packageVersion(),
        revision: git === null ? null : `${git.revision}${git.dirty ? " with changes" : ""}`,
        node: process.versions.node,
        v8: process.versions.v8,
        platform: `${process.platform} ${process.arch}`,
      };
      const rows = Object.entries(facts).map(([part, version]) => ({ part, version }));
      emit(format, { document: { schema: 1, ...facts }, rows });
    });
}
