/** The harness's face: what fuzz targets may name. */
export { UserError } from "./cli/exit.ts";
export { FtraceParser } from "./trace/ftrace_read.ts";
export { ftraceText } from "./trace/ftrace_write.ts";
