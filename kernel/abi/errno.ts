/** Linux's error numbers, negated as system calls return them (include/uapi/asm-generic/errno-base.h). */
import type { Errno } from "./units.ts";

export const EPERM = -1 as Errno;
export const ENOENT = -2 as Errno;
export const ESRCH = -3 as Errno;
export const EINTR = -4 as Errno;
export const EIO = -5 as Errno;
export const ENXIO = -6 as Errno;
export const E2BIG = -7 as Errno;
export const EBADF = -9 as Errno;
export const ECHILD = -10 as Errno;
export const EAGAIN = -11 as Errno;
export const ENOMEM = -12 as Errno;
export const EACCES = -13 as Errno;
export const EFAULT = -14 as Errno;
export const EBUSY = -16 as Errno;
export const EEXIST = -17 as Errno;
export const EXDEV = -18 as Errno;
export const ENODEV = -19 as Errno;
export const ENOTDIR = -20 as Errno;
export const EISDIR = -21 as Errno;
export const EINVAL = -22 as Errno;
export const ENFILE = -23 as Errno;
export const EMFILE = -24 as Errno;
export const ENOTTY = -25 as Errno;
export const ETXTBSY = -26 as Errno;
export const EFBIG = -27 as Errno;
export const ENOSPC = -28 as Errno;
export const ESPIPE = -29 as Errno;
export const EROFS = -30 as Errno;
export const EMLINK = -31 as Errno;
export const EPIPE = -32 as Errno;
export const ERANGE = -34 as Errno;
export const ENAMETOOLONG = -36 as Errno;
export const ENOSYS = -38 as Errno;
export const ENOTEMPTY = -39 as Errno;
export const ELOOP = -40 as Errno;
export const ENODATA = -61 as Errno;
export const EBADMSG = -74 as Errno;
export const EOVERFLOW = -75 as Errno;
export const EOPNOTSUPP = -95 as Errno;
export const ETIMEDOUT = -110 as Errno;
export const EUCLEAN = -117 as Errno;
export const ECANCELED = -125 as Errno;
/** Inside the kernel only: taken and in flight, the answer comes later (include/linux/errno.h). Never seen by a task. */
export const EIOCBQUEUED = -529 as Errno;
/** The file systems' own names for two of them. */
export const EFSBADCRC = EBADMSG;
export const EFSCORRUPTED = EUCLEAN;

/** A function that can fail as expected returns `T | Errno`; this narrows it. */
export const isErr = (value: number): value is Errno => value < 0;
