/** File types, mode bits and their relatives, as in Linux (include/uapi/linux/stat.h, include/linux/fs.h). */
export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFSOCK = 0o140000;

export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;
export const S_IWGRP = 0o0020;
export const S_IWOTH = 0o0002;
export const S_IXGRP = 0o0010;
/** What chmod changes. */
export const S_IALLUGO = 0o7777;
export const S_IRWXUGO = 0o0777;
export const S_IXUGO = 0o0111;

/** Bytes of a name, and of a path with its NUL. */
export const NAME_MAX = 255;
export const PATH_MAX = 4096;

export const isDir = (mode: number): boolean => (mode & S_IFMT) === S_IFDIR;
export const isReg = (mode: number): boolean => (mode & S_IFMT) === S_IFREG;
export const isFifo = (mode: number): boolean => (mode & S_IFMT) === S_IFIFO;
export const isChar = (mode: number): boolean => (mode & S_IFMT) === S_IFCHR;
export const isLink = (mode: number): boolean => (mode & S_IFMT) === S_IFLNK;
/** d_type of a directory's entry (DT_DIR, DT_REG, ...). */
export const dirType = (mode: number): number => (mode & S_IFMT) >>> 12;

/** A device's number as Stat.rdev has it: major * 2^20 + minor. */
export const makeDev = (major: number, minor: number): number => major * 2 ** 20 + minor;
