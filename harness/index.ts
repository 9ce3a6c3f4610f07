/** The harness's face: what fuzz targets may name. */
export { UserError } from "./cli/exit.ts";
export { FtraceParser } from "./trace/ftrace_read.ts";
export { ftraceText } from "./trace/ftrace_write.ts";
export { SparseDisk } from "./disk/sparse.ts";
export { exportOf as nbdExport } from "./nbd/server.ts";
export { Session as NbdSession } from "./nbd/session.ts";
export type { Export as NbdExport, NbdRequest } from "./nbd/session.ts";
export * as NBD from "./nbd/wire.ts";
