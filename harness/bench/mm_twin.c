/*
 * The page and slab allocator's hot paths in plain C: the same lists, the same order, the same frames. Both a measure
 * for the TypeScript and an oracle for it: equal checksums of everything handed out.
 *
 * mm_twin MODE OPERATIONS   prints "NANOSECONDS CHECKSUM", of CPU time
 *   pair       order 0 through the per-CPU list, allocate and free in turn; an operation is one pair
 *   random     order 0 through the per-CPU list, 65,536 slots filled and emptied at random
 *   locked     mixed orders under the zone lock, 65,536 slots
 *   kmalloc    16..512 bytes at random, 65,536 slots; malloc: the same on the C library's malloc
 *   null_pair, null_random, null_locked, null_kmalloc   the loop without an allocator
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRAMES 262144
#define ORDER_MAX 10
#define PAGEBLOCK_ORDER 9
#define PCP_LISTS 16
#define NODES (FRAMES + 16 + PCP_LISTS + 32)
#define BUDDY_LISTS FRAMES
#define CPU_LISTS (FRAMES + 16)
#define SLAB_LISTS (FRAMES + 32)
#define BATCH 63
#define HIGH 1286
#define MARK 1286
#define SLOTS 65536

enum { TAIL = 0, ALLOCATED = 1 << 6, FREE = 2 << 6, PCP = 3 << 6, MOVABLE = 1 << 4 };

static int32_t next_[NODES], prev_[NODES], owner_[FRAMES], counts[16];
static uint8_t state[FRAMES];
static int32_t mask, free_frames, pcp_count, pcp_factor, pcp_allocs, pcp_frees;
static _Atomic int32_t lock_word;

static void lock(void) {
  for (;;) {
    int32_t expected = 0;
    if (atomic_load_explicit(&lock_word, memory_order_relaxed) == 0 &&
        atomic_compare_exchange_strong(&lock_word, &expected, 1))
      return;
  }
}
static void unlock(void) { atomic_exchange(&lock_word, 0); }

static void insert(int32_t pfn, int32_t order, int tail) {
  int32_t head = BUDDY_LISTS + order;
  if (tail) {
    int32_t last = prev_[head];
    next_[pfn] = head, prev_[pfn] = last, next_[last] = pfn, prev_[head] = pfn;
  } else {
    int32_t first = next_[head];
    next_[pfn] = first, prev_[pfn] = head, prev_[first] = pfn, next_[head] = pfn;
  }
  state[pfn] = FREE | MOVABLE | order;
  counts[order]++;
  mask |= 1 << order;
}

static void take_off(int32_t pfn) {
  int32_t order = state[pfn] & 15, after = next_[pfn], before = prev_[pfn];
  next_[before] = after, prev_[after] = before, state[pfn] = TAIL;
  counts[order]--;
  if (after == before) mask &= ~(1 << order);
}

static int32_t take(int32_t order) {
  int32_t fitting = mask >> order;
  if (fitting == 0) return -1;
  int32_t from = order + __builtin_ctz(fitting), pfn = next_[BUDDY_LISTS + from];
  take_off(pfn);
  while (from > order) {
    from--;
    insert(pfn + (1 << from), from, 0);
  }
  return pfn;
}

static int is_free(int32_t pfn, int32_t order) { return (state[pfn] & 0xcf) == (FREE | order); }

static void put(int32_t pfn, int32_t order, int tail) {
  state[pfn] = TAIL;
  while (order < ORDER_MAX) {
    int32_t buddy = pfn ^ (1 << order);
    if (!is_free(buddy, order)) break;
    take_off(buddy);
    pfn &= ~(1 << order);
    order++;
  }
  int likely = order < ORDER_MAX - 1 && is_free((pfn & ~(1 << order)) ^ (2 << order), order + 1);
  insert(pfn, order, tail || likely);
}

static void refill(int32_t head, int32_t order) {
  int32_t wanted = BATCH >> order, got = 0;
  if (wanted < 2) wanted = 2;
  lock();
  for (; got < wanted; got++) {
    int32_t pfn = take(order);
    if (pfn < 0) break;
    state[pfn] = PCP | MOVABLE | order;
    int32_t last = prev_[head];
    next_[pfn] = head, prev_[pfn] = last, next_[last] = pfn, prev_[head] = pfn;
  }
  free_frames -= got << order;
  unlock();
  pcp_count += got << order;
}

static void bulk_free(int32_t left, int32_t list) {
  int32_t given = 0;
  if (left > pcp_count) left = pcp_count;
  lock();
  while (left > 0) {
    int32_t head = CPU_LISTS + list, order = list < 12 ? list / 3 : PAGEBLOCK_ORDER;
    while (left > 0 && prev_[head] != head) {
      int32_t pfn = prev_[head], before = prev_[pfn];
      prev_[head] = before, next_[before] = head;
      put(pfn, order, 0);
      left -= 1 << order, given += 1 << order;
    }
    list = list + 1 == 15 ? 0 : list + 1;
  }
  free_frames += given;
  unlock();
  pcp_count -= given;
}

static int32_t page_alloc(int32_t order, int32_t owner) {
  if (free_frames - (1 << order) < MARK || mask >> order == 0) return -1;
  int32_t list = CPU_LISTS + order * 3 + 1, pfn = next_[list];
  if (pfn == list) {
    pcp_factor >>= 1;
    refill(list, order);
    pfn = next_[list];
    if (pfn == list) return -1;
  } else
    pcp_factor >>= 1;
  int32_t after = next_[pfn];
  next_[list] = after, prev_[after] = list;
  pcp_count -= 1 << order, pcp_allocs += 1 << order;
  state[pfn] = ALLOCATED | MOVABLE | order;
  owner_[pfn] = owner;
  return pfn;
}

static void page_free(int32_t pfn, int32_t order) {
  if ((state[pfn] & 0xcf) != (ALLOCATED | order)) abort();
  int32_t list = order * 3 + 1, head = CPU_LISTS + list, first = next_[head];
  state[pfn] = PCP | MOVABLE | order;
  next_[pfn] = first, prev_[pfn] = head, prev_[first] = pfn, next_[head] = pfn;
  pcp_count += 1 << order, pcp_frees += 1 << order;
  if (pcp_count >= HIGH) {
    int32_t most = HIGH - BATCH, wanted = BATCH << pcp_factor;
    if (wanted < most) pcp_factor++;
    bulk_free(wanted < BATCH ? BATCH : wanted > most ? most : wanted, list);
  }
}

/* Slabs: classes of 16..512 bytes on single pages. */
static int32_t *ram;
static uint8_t cache_of[FRAMES];
static int32_t slab_free[FRAMES], slab_out[FRAMES];
static int32_t partial[8], active[8], active_count[8], spare[8], spare_count[8];
static const int32_t limit[8] = {0, 120, 120, 120, 120, 52, 52, 0};
static const int32_t min_partial[8] = {0, 5, 5, 5, 5, 5, 5, 0};
static int32_t size_of(int c) { return 8 << c; }

static void put_object(int c, int32_t object) {
  int32_t slab = object >> 10, head = slab_free[slab], list = SLAB_LISTS + c;
  ram[object] = head, slab_free[slab] = object, slab_out[slab]--;
  if (head == -1) {
    int32_t first = next_[list];
    next_[slab] = first, prev_[slab] = list, prev_[first] = slab, next_[list] = slab;
    partial[c]++;
  }
  if (slab_out[slab] == 0 && partial[c] > min_partial[c]) {
    next_[prev_[slab]] = next_[slab], prev_[next_[slab]] = prev_[slab];
    partial[c]--;
    cache_of[slab] = 0;
    page_free(slab, 0);
  }
}

static int32_t slab_slow(int c) {
  int32_t object;
  if (spare[c] >= 0) {
    int32_t h = active[c], n = active_count[c];
    active[c] = spare[c], active_count[c] = spare_count[c], spare[c] = h, spare_count[c] = n;
    object = active[c];
    active[c] = ram[object];
    active_count[c]--;
    return object;
  }
  int32_t list = SLAB_LISTS + c, slab = next_[list], total = 4096 / size_of(c);
  if (slab == list) {
    slab = page_alloc(0, 1);
    if (slab < 0) return -1;
    int32_t first = slab << 10, words = size_of(c) >> 2;
    for (int32_t i = 0; i < total; i++) ram[first + i * words] = i + 1 < total ? first + (i + 1) * words : -1;
    slab_free[slab] = first, slab_out[slab] = 0, cache_of[slab] = (uint8_t)c;
    int32_t head = next_[list];
    next_[slab] = head, prev_[slab] = list, prev_[head] = slab, next_[list] = slab;
    partial[c]++;
  }
  object = slab_free[slab];
  next_[prev_[slab]] = next_[slab], prev_[next_[slab]] = prev_[slab];
  partial[c]--;
  active[c] = ram[object];
  active_count[c] = total - slab_out[slab] - 1;
  slab_free[slab] = -1, slab_out[slab] = total;
  return object;
}

static int32_t slab_alloc(int c) {
  int32_t object = active[c];
  if (object < 0) return slab_slow(c);
  active[c] = ram[object];
  active_count[c]--;
  return object;
}

static void slab_free_object(int32_t object) {
  int c = cache_of[object >> 10];
  if (c == 0 || object == active[c]) abort();
  if (active_count[c] >= limit[c]) {
    int32_t at = spare[c];
    lock();
    while (at >= 0) {
      int32_t after = ram[at];
      unlock();
      put_object(c, at);
      lock();
      at = after;
    }
    unlock();
    spare[c] = active[c], spare_count[c] = active_count[c];
    active[c] = -1, active_count[c] = 0;
  }
  ram[object] = active[c];
  active[c] = object;
  active_count[c]++;
}

static void boot(void) {
  for (int32_t node = FRAMES; node < NODES; node++) next_[node] = prev_[node] = node;
  for (int32_t pfn = 0; pfn < FRAMES; pfn += 1 << ORDER_MAX) put(pfn, ORDER_MAX, 1);
  free_frames = FRAMES;
  for (int c = 0; c < 8; c++) active[c] = spare[c] = -1;
}

static int32_t slot[SLOTS];
static uint8_t slot_order[SLOTS];
static void *pointer[SLOTS];
#define XORSHIFT (x ^= x << 13, x ^= x >> 17, x ^= x << 5)

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const char *mode = argv[1];
  long operations = atol(argv[2]);
  uint32_t x = 0x9e3779b9u, sum = 0;
  struct timespec a, b;
  boot();
  ram = calloc(FRAMES, 4096);
  memset(slot, -1, sizeof slot);
  /* A first run warms the caches, the second counts. */
  for (int run = 0; run < 2; run++) {
    long n = run == 0 ? operations / 4 : operations;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    if (!strcmp(mode, "pair"))
      for (long i = 0; i < n; i++) {
        int32_t pfn = page_alloc(0, 1);
        sum += (uint32_t)pfn;
        page_free(pfn, 0);
      }
    else if (!strcmp(mode, "null_pair"))
      for (long i = 0; i < n; i++) {
        sum += (uint32_t)i;
        __asm__ volatile("" : "+r"(sum));
      }
    else if (!strcmp(mode, "random"))
      for (long i = 0; i < n; i++) {
        XORSHIFT;
        uint32_t s = x >> 16;
        if (slot[s] < 0) {
          sum += (uint32_t)(slot[s] = page_alloc(0, 1));
        } else {
          page_free(slot[s], 0);
          slot[s] = -1;
        }
      }
    else if (!strcmp(mode, "null_random"))
      for (long i = 0; i < n; i++) {
        XORSHIFT;
        uint32_t s = x >> 16;
        if (slot[s] < 0)
          sum += (uint32_t)(slot[s] = (int32_t)s);
        else
          slot[s] = -1;
      }
    else if (!strcmp(mode, "locked"))
      for (long i = 0; i < n; i++) {
        XORSHIFT;
        uint32_t s = x >> 16;
        if (slot[s] < 0) {
          int32_t order = __builtin_ctz(x | 1024);
          lock();
          int32_t pfn = take(order);
          if (pfn >= 0) state[pfn] = (uint8_t)(ALLOCATED | MOVABLE | order), free_frames -= 1 << order;
          unlock();
          sum += (uint32_t)pfn, slot[s] = pfn, slot_order[s] = (uint8_t)order;
        } else {
          lock();
          put(slot[s], slot_order[s], 0);
          free_frames += 1 << slot_order[s];
          unlock();
          slot[s] = -1;
        }
      }
    else if (!strcmp(mode, "null_locked"))
      for (long i = 0; i < n; i++) {
        XORSHIFT;
        uint32_t s = x >> 16;
        if (slot[s] < 0) {
          int32_t order = __builtin_ctz(x | 1024);
          sum += s, slot[s] = (int32_t)s, slot_order[s] = (uint8_t)order;
        } else
          slot[s] = -1;
      }
    else if (!strcmp(mode, "kmalloc"))
      for (long i = 0; i < n; i++) {
        XORSHIFT;
        uint32_t s = x >> 16;
        if (slot[s] < 0) {
          int32_t object = slab_alloc(1 + (int)((x & 255) % 6));
          ram[object + 1] = 1;
          sum += (uint32_t)object, slot[s] = object;
        } else {
          slab_free_object(slot[s]);
          slot[s] = -1;
        }
      }
    else if (!strcmp(mode, "null_kmalloc"))
      for (long i = 0; i < n; i++) {
        XORSHIFT;
        uint32_t s = x >> 16;
        if (slot[s] < 0) {
          slot[s] = (int32_t)((x & 255) % 6);
          sum += s;
        } else
          slot[s] = -1;
      }
    else if (!strcmp(mode, "malloc"))
      for (long i = 0; i < n; i++) {
        XORSHIFT;
        uint32_t s = x >> 16;
        if (pointer[s] == NULL) {
          int32_t *object = malloc(16u << ((x & 255) % 6));
          object[1] = 1;
          pointer[s] = object;
        } else {
          free(pointer[s]);
          pointer[s] = NULL;
        }
      }
    else
      return 2;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
  }
  printf("%.0f %u\n", (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec), sum);
  return 0;
}
