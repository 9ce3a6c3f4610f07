/*
 * Plays the calls of test/contract/file_ops.ts on a tmpfs of the Linux it runs on, and prints their outcomes in the same
 * words. One call a line on stdin: task, name, arguments; text in hexadecimal, "-" when empty. One outcome a line.
 *
 * Needs root: the tmpfs is mounted in a name space of its own and made the root directory. Exit code 3: not possible here.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FDS 8
#define DATA 16384

static struct task {
  uid_t uid;
  gid_t gid;
  mode_t umask;
  int cwd;
  int fds[FDS];
} tasks[2] = {{0, 0, 022, -1, {0}}, {1000, 1000, 022, -1, {0}}};
static struct task *now;
static unsigned char data[DATA];
static char text[2][8192];

static void become(struct task *task) {
  static const gid_t groups[] = {50};
  if (seteuid(0) || setgroups(task->uid == 0 ? 0 : 1, groups) || setegid(task->gid) || fchdir(task->cwd) || seteuid(task->uid))
    exit(3);
  umask(task->umask);
  now = task;
}

static int real(int fd) { return fd >= 0 && fd < FDS ? now->fds[fd] : -1; }

static int free_fd(void) {
  for (int fd = 0; fd < FDS; fd++)
    if (now->fds[fd] < 0) return fd;
  return -1;
}

static void say(long result) { printf("%ld\n", result < 0 ? -(long)errno : result); }

static void say_bytes(long n) {
  unsigned hash = 0x811c9dc5;
  if (n < 0) { say(n); return; }
  for (long at = 0; at < n; at++) hash = (hash ^ data[at]) * 0x01000193;
  printf("%ld %x\n", n, hash);
}

static void say_stat(int result, const struct stat *st) {
  if (result < 0) { say(result); return; }
  printf("0 %o %lu %u %u ", st->st_mode, (unsigned long)st->st_nlink, st->st_uid, st->st_gid);
  if (S_ISDIR(st->st_mode)) printf("- "); else printf("%ld ", (long)st->st_size);
  printf("%u\n", major(st->st_rdev) * (1u << 20) + minor(st->st_rdev));
}

static int do_open(const char *path, int flags, mode_t mode) {
  int fd = free_fd();
  if (fd < 0) {
    /* What the real table would not say: paths that are none come first. */
    errno = path[0] == 0 ? ENOENT : strlen(path) >= 4096 ? ENAMETOOLONG : EMFILE;
    return -1;
  }
  int opened = open(path, flags, mode);
  if (opened < 0) return -1;
  now->fds[fd] = opened;
  return fd;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void say_sorted(char **words, int count) {
  qsort(words, count, sizeof *words, by_text);
  for (int n = 0; n < count; n++) printf("%s%s", n ? " " : "", words[n]);
  printf("\n");
}

static void list(const char *path) {
  char *words[500];
  int count = 0;
  int fd = do_open(path, O_DIRECTORY, 0);
  if (fd < 0) { say(-1); return; }
  int dir = now->fds[fd];
  now->fds[fd] = -1;
  static char buffer[1 << 16];
  long n;
  while ((n = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0)
    for (long at = 0; at < n;) {
      struct dirent64 *entry = (struct dirent64 *)(buffer + at);
      if (asprintf(&words[count++], "%s:%d", entry->d_name, entry->d_type) < 0) exit(1);
      at += entry->d_reclen;
    }
  if (n < 0) say(n);
  else { printf("0 "); say_sorted(words, count); }
  close(dir);
}

static void list_xattrs(const char *path) {
  char *words[100];
  int count = 0;
  long n = listxattr(path, (char *)data, 5000);
  if (n < 0) { say(n); return; }
  for (long at = 0; at < n; at += strlen((char *)data + at) + 1) words[count++] = (char *)data + at;
  printf("%ld ", n);
  say_sorted(words, count);
}

static void move_cwd(int result) {
  if (result == 0) {
    int saved = errno;
    if (seteuid(0)) exit(3);
    close(now->cwd);
    now->cwd = open(".", O_PATH);
    errno = saved;
  }
  say(result);
}

static void fill(int seed, long n) {
  for (long at = 0; at < n; at++) data[at] = seed + at * 7 + (at >> 8);
}

static void play(const char *op, const long *arg) {
  struct stat st;
  const char *path = text[0];
#define IS(name) (strcmp(op, name) == 0)
  if (IS("open")) say(do_open(path, arg[0], arg[1]));
  else if (IS("close")) { int fd = real(arg[0]); if (fd >= 0) now->fds[arg[0]] = -1; say(close(fd)); }
  else if (IS("dup")) {
    int fd = dup(real(arg[0])), to = free_fd();
    if (fd >= 0 && to < 0) { close(fd); errno = EMFILE; fd = -1; }
    if (fd >= 0) now->fds[to] = fd;
    say(fd < 0 ? -1 : to);
  } else if (IS("dup2")) {
    if (arg[0] == arg[1]) { if (real(arg[0]) < 0) { errno = EBADF; say(-1); } else say(arg[1]); return; }
    int fd = dup(real(arg[0]));
    if (fd >= 0 && (arg[1] < 0 || arg[1] >= FDS)) { close(fd); errno = EBADF; fd = -1; }
    if (fd >= 0) { if (now->fds[arg[1]] >= 0) close(now->fds[arg[1]]); now->fds[arg[1]] = fd; }
    say(fd < 0 ? -1 : arg[1]);
  }
  else if (IS("fstat")) say_stat(fstat(real(arg[0]), &st), &st);
  else if (IS("fchdir")) move_cwd(fchdir(real(arg[0])));
  else if (IS("fsync")) say(fsync(real(arg[0])));
  else if (IS("read")) say_bytes(read(real(arg[0]), data, arg[1]));
  else if (IS("pread")) say_bytes(pread(real(arg[0]), data, arg[1], arg[2]));
  else if (IS("write")) { fill(arg[2], arg[1]); say(write(real(arg[0]), data, arg[1])); }
  else if (IS("pwrite")) { fill(arg[2], arg[1]); say(pwrite(real(arg[0]), data, arg[1], arg[3])); }
  else if (IS("lseek")) say(lseek(real(arg[0]), arg[1], arg[2]));
  else if (IS("ftruncate")) say(ftruncate(real(arg[0]), arg[1]));
  else if (IS("fchmod")) say(fchmod(real(arg[0]), arg[1]));
  else if (IS("fallocate")) say(fallocate(real(arg[0]), arg[1], arg[2], arg[3]));
  else if (IS("truncate")) say(truncate(path, arg[0]));
  else if (IS("mkdir")) say(mkdir(path, arg[0]));
  else if (IS("chmod")) say(chmod(path, arg[0]));
  else if (IS("mknod")) say(mknod(path, arg[0], makedev(0, arg[1])));
  else if (IS("symlink")) say(symlink(path, text[1]));
  else if (IS("link")) say(linkat(AT_FDCWD, path, AT_FDCWD, text[1], arg[0]));
  else if (IS("rename")) say(syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, text[1], arg[0]));
  else if (IS("unlink")) say(unlinkat(AT_FDCWD, path, arg[0]));
  else if (IS("stat")) say_stat(fstatat(AT_FDCWD, path, &st, arg[0]), &st);
  else if (IS("readlink")) {
    long n = readlink(path, (char *)data, 5000);
    if (n < 0) say(n); else printf("%ld %.*s\n", n, (int)n, (char *)data);
  }
  else if (IS("chdir")) move_cwd(chdir(path));
  else if (IS("list")) list(path);
  else if (IS("getcwd")) {
    long n = syscall(SYS_getcwd, data, 5000);
    if (n < 0) say(n); else printf("%ld %s\n", n - 1, (char *)data);
  }
  else if (IS("umask")) { mode_t old = now->umask; now->umask = arg[0] & 0777; say(old); }
  else if (IS("access")) say(faccessat(AT_FDCWD, path, arg[0], AT_EACCESS));
  else if (IS("chown")) say(chown(path, arg[0], arg[1]));
  else if (IS("setxattr")) { fill(1, arg[0]); say(setxattr(path, text[1], data, arg[0], arg[1])); }
  else if (IS("getxattr")) say_bytes(getxattr(path, text[1], data, 5000));
  else if (IS("removexattr")) say(removexattr(path, text[1]));
  else if (IS("listxattr")) list_xattrs(path);
  else exit(1);
}

static void unhex(const char *from, char *into) {
  for (; from[0] != 0 && from[0] != '-'; from += 2) {
    unsigned byte;
    sscanf(from, "%2x", &byte);
    *into++ = byte;
  }
  *into = 0;
}

int main(int argc, char **argv) {
  if (argc < 2 || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return 3;
  if (mount("none", argv[1], "tmpfs", 0, "size=64m") || chroot(argv[1]) || chdir("/")) return 3;
  for (int n = 0; n < 2; n++) {
    tasks[n].cwd = open("/", O_PATH);
    for (int fd = 0; fd < FDS; fd++) tasks[n].fds[fd] = -1;
  }
  static char line[40000];
  while (fgets(line, sizeof line, stdin) != NULL) {
    long arg[4] = {0};
    int texts = 0, args = 0;
    become(&tasks[atoi(strtok(line, " \n"))]);
    const char *op = strtok(NULL, " \n");
    for (char *word; (word = strtok(NULL, " \n")) != NULL;)
      if (word[0] == '"') unhex(word + 1, text[texts++]);
      else arg[args++] = atol(word);
    play(op, arg);
  }
  return 0;
}
