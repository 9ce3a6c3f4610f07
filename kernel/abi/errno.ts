/** Linux's error numbers, negated as system calls return them (include/uapi/asm-generic/errno-base.h). */
import type { Errno } from "./units.ts";

export const EPERM = -1 as Errno;
export const ENOENT = -2 as Errno;
export const EINTR = -4 as Errno;
export const EIO = -5 as Errno;
export const EBADF = -9 as Errno;
export const EAGAIN = -11 as Errno;
export const ENOMEM = -12 as Errno;
export const EFAULT = -14 as Errno;
export const EBUSY = -16 as Errno;
export const EEXIST = -17 as Errno;
export const ENOTDIR = -20 as Errno;
export const EISDIR = -21 as Errno;
export const EINVAL = -22 as Errno;
export const ENFILE = -23 as Errno;
export const ENOSPC = -28 as Errno;
export const ENAMETOOLONG = -36 as Errno;
export const ENOSYS = -38 as Errno;
export const ELOOP = -40 as Errno;
export const EBADMSG = -74 as Errno;
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
