import { expect, it } from "vitest";
import { modulePath } from "../../../kernel/lib/module_path.ts";

it("modulePath() takes the calling module's own extension", () => {
  const path = modulePath;
  const source = path("./cpu_worker.ts", "file:///a/kernel/world.ts");
  const built = path("./cpu_worker.ts", "file:///a/dist/kernel/world.js");
  expect([source.href, built.href]).toEqual(["file:///a/kernel/cpu_worker.ts", "file:///a/dist/kernel/cpu_worker.js"]);
});
