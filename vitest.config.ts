import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import type { ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", "./test/reporter.ts"],
    pool: "forks",
    testTimeout: 60_000,
    // By itself it would take one less than there are cores.
    maxWorkers: availableParallelism(),
  },
});
export default config;
