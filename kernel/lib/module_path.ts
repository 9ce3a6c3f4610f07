/**
 * Address of a module that is started by path (a worker's entry file): sources run as .ts, a published package as .js,
 * and the compiler rewrites only import specifiers. The answer takes the calling module's own extension.
 *
 * - modulePath("./cpu_worker.ts", import.meta.url)
 */
export function modulePath(relative: string, from: string): URL {
  const extension = from.endsWith(".ts") ? ".ts" : ".js";
  return new URL(relative.replace(/\.ts$/, extension), from);
}
