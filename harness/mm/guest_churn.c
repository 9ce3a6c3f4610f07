/*
 * The churn of guest_churn.ts in a real Linux: one page an allocation, of a kind whose mobility Linux decides.
 *
 *   movable     a page of anonymous memory: touched, and given back with MADV_DONTNEED
 *   unmovable   a page table: one read in 2 MiB of address space of their own maps the zero page, which costs the table
 *               and nothing else; unmapping the 2 MiB frees it
 *
 * guest_churn SCHEDULE MILLISECONDS   from SCHEDULE, little-endian words: a step each, bit 31 unmovable, bit 30
 * sample before the step, bits 0..29 the step at which it ends. The run is stretched to MILLISECONDS, so that kcompactd,
 * which looks twice a second, gets its turns. Prints "== start" with pagetypeinfo and vmstat, "== sample STEP HUGE ASKED"
 * with buddyinfo (HUGE of the ASKED huge pages that free memory could hold were had, and given back), "== end" with vmstat. Exit 1: memory or a call failed.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define HUGE (2ul << 20)
#define UNMOVABLE 0x80000000u
#define SAMPLE 0x40000000u
#define DIES 0x3fffffffu
#define PACE 256

static char text[1 << 16];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void cat(const char *path) {
  int file = open(path, O_RDONLY);
  if (file < 0) fail(path);
  for (ssize_t got; (got = read(file, text, sizeof text)) > 0;) fwrite(text, 1, (size_t)got, stdout);
  close(file);
}

static long vmstat(const char *name) {
  int file = open("/proc/vmstat", O_RDONLY);
  ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) fail("/proc/vmstat");
  text[got] = 0;
  size_t length = strlen(name);
  for (char *line = text; line != NULL && *line; line = strchr(line, '\n'), line += line != NULL)
    if (!strncmp(line, name, length) && line[length] == ' ') return atol(line + length);
  return 0;
}

static char *reserve(size_t bytes, int protection) {
  char *at = mmap(NULL, bytes + HUGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) fail("mmap");
  return (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
}

static int32_t *table(size_t count, int32_t value) {
  int32_t *at = malloc(count * sizeof *at);
  if (at == NULL) fail("malloc");
  for (size_t i = 0; i < count; i++) at[i] = value < -1 ? (int32_t)i : value;
  return at;
}

/* As many as free memory could hold; how many of them there are. */
static int huge_pages(int asked) {
  char *at = reserve((size_t)asked * HUGE, PROT_READ | PROT_WRITE);
  madvise(at, (size_t)asked * HUGE, MADV_HUGEPAGE);
  long before = vmstat("thp_fault_alloc");
  for (int i = 0; i < asked; i++) *(volatile char *)(at + (size_t)i * HUGE) = 1;
  int had = (int)(vmstat("thp_fault_alloc") - before);
  munmap(at, (size_t)asked * HUGE);
  return had;
}

static long free_frames(const char *buddyinfo) {
  long frames = 0;
  for (const char *line = buddyinfo; *line; line = strchr(line, '\n') + 1) {
    /* Node 0, zone   DMA32   counts of order 0 and up */
    const char *at = strstr(line, "zone");
    for (at += 4; *at == ' '; at++);
    for (; *at != ' '; at++);
    for (int order = 0; *at != '\n'; order++) {
      frames += strtol(at, (char **)&at, 10) << order;
      for (; *at == ' '; at++);
    }
  }
  return frames;
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  struct stat about;
  int file = open(argv[1], O_RDONLY);
  if (file < 0 || fstat(file, &about) != 0) fail(argv[1]);
  size_t steps = (size_t)about.st_size / 4;
  uint32_t *schedule = (uint32_t *)table(steps, 0);
  for (size_t at = 0; at < steps * 4;) {
    ssize_t got = read(file, (char *)schedule + at, steps * 4 - at);
    if (got <= 0) fail(argv[1]);
    at += (size_t)got;
  }
  double length = atof(argv[2]);
  size_t pages = (size_t)sysconf(_SC_PHYS_PAGES), tables = pages / 2;
  char *movable = reserve(pages * PAGE, PROT_READ | PROT_WRITE);
  char *unmovable = reserve(tables * HUGE, PROT_READ);
  madvise(movable, pages * PAGE, MADV_NOHUGEPAGE);
  /* Steps by the step at which they end: a list of chains. A step's slot, and the slots that are free. */
  int32_t *first = table(steps + 1, -1), *next = table(steps, -1), *slot = table(steps, -1);
  int32_t *free_pages = table(pages, -2), *free_tables = table(tables, -2);
  size_t pages_left = pages, tables_left = tables;
  /* Page tables of the movable part stand from here on: a page in each 2 MiB, given back. */
  for (size_t at = 0; at < pages; at += HUGE / PAGE) movable[at * PAGE] = 1;
  madvise(movable, pages * PAGE, MADV_DONTNEED);
  printf("== start\n");
  cat("/proc/pagetypeinfo");
  cat("/proc/vmstat");
  double start = now_ms();
  for (size_t step = 0; step < steps; step++) {
    uint32_t word = schedule[step];
    if (word & SAMPLE) {
      /* What the kernel reports is of before the huge pages, as in the model. */
      static char buddyinfo[4097];
      int info = open("/proc/buddyinfo", O_RDONLY);
      ssize_t got = read(info, buddyinfo, sizeof buddyinfo - 1);
      close(info);
      buddyinfo[got > 0 ? got : 0] = 0;
      int asked = (int)(free_frames(buddyinfo) / (HUGE / PAGE));
      printf("== sample %zu %d %d\n", step, huge_pages(asked), asked);
      fwrite(buddyinfo, 1, got > 0 ? (size_t)got : 0, stdout);
    }
    for (int32_t ended = first[step]; ended >= 0; ended = next[ended]) {
      if (schedule[ended] & UNMOVABLE) {
        char *at = unmovable + (size_t)slot[ended] * HUGE;
        if (munmap(at, HUGE) != 0) fail("munmap");
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
        if (mmap(at, HUGE, PROT_READ, flags, -1, 0) != at) fail("mmap");
        free_tables[tables_left++] = slot[ended];
      } else {
        if (madvise(movable + (size_t)slot[ended] * PAGE, PAGE, MADV_DONTNEED) != 0) fail("madvise");
        free_pages[pages_left++] = slot[ended];
      }
    }
    if (word & UNMOVABLE) {
      if (tables_left == 0) return 1;
      slot[step] = free_tables[--tables_left];
      (void)*(volatile char *)(unmovable + (size_t)slot[step] * HUGE);
    } else {
      if (pages_left == 0) return 1;
      slot[step] = free_pages[--pages_left];
      movable[(size_t)slot[step] * PAGE] = 1;
    }
    uint32_t dies = word & DIES;
    if (dies < steps) next[step] = first[dies], first[dies] = (int32_t)step;
    if (step % PACE != 0) continue;
    double ahead = length * (double)step / (double)steps - (now_ms() - start);
    if (ahead > 1) usleep((useconds_t)(ahead * 1e3));
  }
  printf("== end %.0f\n", now_ms() - start);
  cat("/proc/vmstat");
  return 0;
}
