import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import type { ViteUserConfig } from "vitest/config";

// Where module.enableCompileCache() would have it: workers find sources without their types, compiled.
process.env["NODE_COMPILE_CACHE"] ??= join(tmpdir(), "node-compile-cache");

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", "./test/reporter.ts"],
    pool: "forks",
    // Node itself runs the sources: behind Vite's module runner every imported name is a getter, and loops five times
    // slower than what the command runs.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // By itself it would take one less than there are cores.
    maxWorkers: availableParallelism(),
  },
});
export default config;
