/*
 * The plain C twin of the lockstep loop: the same events, the same CFS, the same balancing, written as C would write it.
 * It is a peer for speed and an oracle: for the same programs it must make the same number of switches.
 *
 *   switch_twin CPUS TASKS UNTIL_NS ROUNDS < programs
 *
 * Programs on stdin: for each task doubles nice, steps, then steps pairs (run ns, sleep ns); each loops over its steps.
 * Prints one line a round: switches and nanoseconds. Costs are none; a tick is 4 ms; the first tick is at 0.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FREE, QUEUED, RUNNING, SLEEPING };
#define CPUS_MAX 64
#define INF 9007199254740992.0
#define TICK 4e6

static const int WEIGHT[40] = {88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
                               3906,  3121,  2501,  1991,  1586,  1277,  1024,  820,   655,   526,   423,  335,  272,  215,
                               172,   137,   110,   87,    70,    56,    45,    36,    29,    23,    18,   15};

typedef struct {
  double *key, *tie;
  int *pos, *items; /* items[0]: size */
} heap;

static inline int before(const heap *h, int a, int b) {
  if (h->key[a] != h->key[b]) return h->key[a] < h->key[b];
  return h->tie[a] != h->tie[b] ? h->tie[a] < h->tie[b] : a < b;
}
static void up(heap *h, int slot, int at) {
  while (at > 1 && before(h, slot, h->items[at >> 1])) {
    h->items[at] = h->items[at >> 1];
    h->pos[h->items[at]] = at;
    at >>= 1;
  }
  h->items[at] = slot;
  h->pos[slot] = at;
}
static void down(heap *h, int slot, int at) {
  int size = h->items[0];
  for (;;) {
    int child = at * 2;
    if (child > size) break;
    if (child < size && before(h, h->items[child + 1], h->items[child])) child++;
    if (!before(h, h->items[child], slot)) break;
    h->items[at] = h->items[child];
    h->pos[h->items[at]] = at;
    at = child;
  }
  h->items[at] = slot;
  h->pos[slot] = at;
}
static void heap_set(heap *h, int slot, double key, double tie) {
  int at = h->pos[slot];
  if (at == 0) {
    at = ++h->items[0];
    h->key[slot] = key;
    h->tie[slot] = tie;
    up(h, slot, at);
    return;
  }
  int earlier = key < h->key[slot] || (key == h->key[slot] && tie < h->tie[slot]);
  h->key[slot] = key;
  h->tie[slot] = tie;
  if (earlier) up(h, slot, at);
  else down(h, slot, at);
}
static void heap_remove(heap *h, int slot) {
  int at = h->pos[slot];
  if (at == 0) return;
  h->pos[slot] = 0;
  int last = h->items[0]--;
  if (at == last) return;
  int moved = h->items[last];
  if (at > 1 && before(h, moved, h->items[at >> 1])) up(h, moved, at);
  else down(h, moved, at);
}
static inline int heap_first(const heap *h) { return h->items[0] == 0 ? -1 : h->items[1]; }

static int cpus, rows;
static double now, latency, min_granularity, wakeup_granularity;
static long switches;

/* tasks */
static int *state, *cpu_of, *weight, *on_rq, *rq_next, *rq_prev, *at_step, *steps, *started;
static double *slice, *sum_exec, *vruntime, *seen_exec, *picked_exec, *joined, *target, **program;
static int *home;
/* CPUs */
static int curr[CPUS_MAX], resched[CPUS_MAX], pending[CPUS_MAX], skip_clock[CPUS_MAX], queued[CPUS_MAX], rq_head[CPUS_MAX],
    rq_tail[CPUS_MAX], next_buddy[CPUS_MAX], last_buddy[CPUS_MAX], balance_failed[CPUS_MAX], any_pending;
static double exec_start[CPUS_MAX], queued_load[CPUS_MAX], balance_at[CPUS_MAX], min_vruntime[CPUS_MAX], load[CPUS_MAX],
    nr[CPUS_MAX], serial[CPUS_MAX];
static uint64_t idle;
static int clock_held;
static heap events, waiting[CPUS_MAX];

static void account(int c) {
  int p = curr[c];
  if (p == 0 || clock_held == c) return;
  double delta = now - exec_start[c];
  if (delta <= 0) return;
  exec_start[c] = now;
  sum_exec[p] += delta;
  slice[p] = slice[p] > delta ? slice[p] - delta : 0;
}
static void ask(int c) {
  resched[c] = 1;
  pending[c] = 1;
  any_pending = 1;
}
static void preempt(int c) {
  if (curr[c] != 0) slice[curr[c]] = 0;
  ask(c);
}
static int claim_idle(int c) {
  if (!(idle >> c & 1)) return 0;
  idle &= ~(1ull << c);
  return 1;
}
static int select_idle(int prev) {
  if (idle == 0) return -1;
  if (claim_idle(prev)) return prev;
  for (int step = 1; step < cpus; step++) {
    int c = prev + step < cpus ? prev + step : prev + step - cpus;
    if (claim_idle(c)) return c;
  }
  return -1;
}
static void link_rq(int p, int c) {
  if (on_rq[p]) return;
  rq_prev[p] = rq_tail[c];
  rq_next[p] = 0;
  if (rq_tail[c] == 0) rq_head[c] = p;
  else rq_next[rq_tail[c]] = p;
  rq_tail[c] = p;
  queued[c]++;
  queued_load[c] += weight[p];
  on_rq[p] = 1;
}
static void unlink_rq(int p, int c) {
  if (!on_rq[p]) return;
  if (rq_prev[p] == 0) rq_head[c] = rq_next[p];
  else rq_next[rq_prev[p]] = rq_next[p];
  if (rq_next[p] == 0) rq_tail[c] = rq_prev[p];
  else rq_prev[rq_next[p]] = rq_prev[p];
  queued[c]--;
  queued_load[c] -= weight[p];
  on_rq[p] = 0;
}

/* CFS */
static double fair_delta(double ns, int p) { return floor(ns * 1024 / weight[p]); }
static double slice_of(int c, int p) {
  int waits = joined[p] == 0;
  double tasks = nr[c] + waits;
  double period = tasks > 8 ? tasks * min_granularity : latency;
  double share = floor(period * weight[p] / (load[c] + (waits ? weight[p] : 0)));
  return share > min_granularity ? share : min_granularity;
}
static void follow_min(int c, int p) {
  int left = heap_first(&waiting[c]);
  if (p == 0 && left < 0) return;
  double least = p == 0 ? vruntime[left] : vruntime[p];
  if (p != 0 && left >= 0 && vruntime[left] < least) least = vruntime[left];
  if (least > min_vruntime[c]) min_vruntime[c] = least;
}
static void update_curr(int c) {
  account(c);
  int p = curr[c];
  if (p == 0) return;
  double ran = sum_exec[p] - seen_exec[p];
  if (ran <= 0) return;
  seen_exec[p] = sum_exec[p];
  vruntime[p] += fair_delta(ran, p);
  follow_min(c, p);
}
static void join(int c, int p) {
  joined[p] = weight[p];
  home[p] = c;
  load[c] += joined[p];
  nr[c]++;
}
static void leave(int c, int p) {
  if (next_buddy[c] == p) next_buddy[c] = 0;
  if (last_buddy[c] == p) last_buddy[c] = 0;
  load[c] -= joined[p];
  joined[p] = 0;
  nr[c]--;
}
static int behind(int a, int b) {
  double lead = vruntime[a] - vruntime[b];
  if (lead <= 0) return -1;
  return lead > fair_delta(wakeup_granularity, b) ? 1 : 0;
}
enum { WAKEUP = 1, NEW = 2, MIGRATED = 4 };
static void enqueue(int p, int flags) {
  int c = cpu_of[p];
  if (flags != 0) {
    update_curr(c);
    if (home[p] != c) vruntime[p] += min_vruntime[c] - (home[p] < 0 ? 0 : min_vruntime[home[p]]);
    if (flags & NEW) {
      double debit = min_vruntime[c] + fair_delta(slice_of(c, p), p);
      vruntime[p] = curr[c] != 0 && vruntime[curr[c]] > debit ? vruntime[curr[c]] : debit;
    } else if (flags & WAKEUP) {
      double floor_ = min_vruntime[c] - latency / 2;
      if (vruntime[p] < floor_) vruntime[p] = floor_;
    }
    join(c, p);
  }
  heap_set(&waiting[c], p, vruntime[p], serial[c]++);
  if (flags == 0) return;
  int r = curr[c];
  if (r == 0 || joined[r] == 0 || resched[c] || behind(r, p) != 1) return;
  next_buddy[c] = p;
  if (nr[c] >= 8) last_buddy[c] = r;
  preempt(c);
}
static int dispatch(int c, int prev) {
  update_curr(c);
  int first = heap_first(&waiting[c]);
  int left = first < 0 || (prev != 0 && vruntime[prev] < vruntime[first]) ? prev : first;
  int chosen = left, next = next_buddy[c], last = last_buddy[c];
  if (next != 0 && behind(next, left) < 1) chosen = next;
  else if (last != 0 && (last == prev || waiting[c].pos[last] != 0) && behind(last, left) < 1) chosen = last;
  if (chosen == prev) {
    if (prev != 0) slice[prev] = INF;
    return prev;
  }
  heap_remove(&waiting[c], chosen);
  slice[chosen] = INF;
  return chosen;
}
static void migrate(int p, int from, int to) {
  int c = cpu_of[p];
  update_curr(c);
  heap_remove(&waiting[c], p);
  leave(c, p);
  vruntime[p] -= min_vruntime[c];
  home[p] = -1;
  follow_min(c, curr[c]);
  unlink_rq(p, from);
  cpu_of[p] = to;
  link_rq(p, to);
  enqueue(p, MIGRATED);
}
static double load_of(int c) { return queued_load[c] + (curr[c] == 0 ? 0 : weight[curr[c]]); }
static int pull_task(int c) {
  int victim = -1, most = 0;
  for (int v = 0; v < cpus; v++)
    if (v != c && queued[v] > most) {
      most = queued[v];
      victim = v;
    }
  if (victim < 0) return 0;
  int p = rq_head[victim];
  if (p != 0) migrate(p, victim, c);
  return p != 0;
}
static void pull_load(int c) {
  double interval = cpus * 16e6;
  balance_at[c] = now + (interval < 512e6 ? interval : 512e6);
  int victim = -1;
  double most = 0;
  for (int v = 0; v < cpus; v++)
    if (v != c && queued[v] != 0 && load_of(v) > most) {
      most = load_of(v);
      victim = v;
    }
  if (victim < 0 || load_of(victim) * 100 <= load_of(c) * 117) {
    balance_failed[c] = 0;
    return;
  }
  double excess = (load_of(victim) - load_of(c)) / 2;
  int moved = 0, p = rq_head[victim];
  while (p != 0 && excess > 0) {
    int after = rq_next[p];
    int shift = balance_failed[c] < 20 ? balance_failed[c] : 20;
    if (weight[p] / (double)(1 << shift) <= excess) {
      excess -= weight[p];
      migrate(p, victim, c);
      moved++;
    }
    p = after;
  }
  balance_failed[c] = moved == 0 ? balance_failed[c] + 1 : 0;
}

/* core */
static int pick(int c, int prev) {
  if (prev != 0 && slice[prev] > 0) return prev;
  int next = dispatch(c, prev);
  if (next > 0) return next;
  if (cpus > 1 && pull_task(c)) return pick(c, 0);
  return 0;
}
static int schedule(int c, int blocks) {
  resched[c] = 0;
  int skip = skip_clock[c];
  skip_clock[c] = 0;
  clock_held = skip ? c : -1;
  account(c);
  int prev = curr[c], stays = prev != 0 && !blocks;
  if (prev != 0 && blocks) {
    update_curr(c);
    leave(c, prev);
    follow_min(c, 0);
  }
  int next = pick(c, stays ? prev : 0);
  if (next != prev && stays) {
    update_curr(c);
    state[prev] = QUEUED;
    link_rq(prev, c);
    enqueue(prev, 0);
  }
  if (prev != 0 && blocks) state[prev] = SLEEPING;
  if (next != prev) {
    if (!skip && exec_start[c] < now) exec_start[c] = now;
    curr[c] = next;
    if (next != 0) {
      unlink_rq(next, c);
      state[next] = RUNNING;
      switches++;
      if (next_buddy[c] == next) next_buddy[c] = 0;
      if (last_buddy[c] == next) last_buddy[c] = 0;
      seen_exec[next] = picked_exec[next] = sum_exec[next];
    }
  }
  clock_held = -1;
  if (next == 0) idle |= 1ull << c;
  else if (prev == 0) idle &= ~(1ull << c);
  return next;
}
static void wake(int p) {
  if (started[p] && state[p] != SLEEPING) return;
  int flags = started[p] ? WAKEUP : NEW, prev = cpu_of[p];
  started[p] = 1;
  int c = cpus == 1 ? 0 : select_idle(prev);
  if (c < 0 && flags == NEW) {
    c = prev;
    for (int v = 0; v < cpus; v++)
      if (queued[v] + (curr[v] != 0) < queued[c] + (curr[c] != 0)) c = v;
  }
  if (c < 0) c = prev;
  cpu_of[p] = c;
  state[p] = QUEUED;
  if (c != prev) flags |= MIGRATED;
  link_rq(p, c);
  enqueue(p, flags);
  if (curr[c] != 0 && resched[c]) skip_clock[c] = 1;
  if (curr[c] == 0) ask(c);
  else if (idle != 0) {
    int other = select_idle(c);
    if (other >= 0) ask(other);
  }
}
static void tick(int c) {
  int p = curr[c];
  if (p == 0) return;
  update_curr(c);
  if (nr[c] > 1) {
    double ran = sum_exec[p] - picked_exec[p], ideal = slice_of(c, p);
    if (ran > ideal) {
      slice[p] = 0;
      if (next_buddy[c] == p) next_buddy[c] = 0;
      if (last_buddy[c] == p) last_buddy[c] = 0;
    } else if (ran >= min_granularity) {
      int first = heap_first(&waiting[c]);
      if (first >= 0 && vruntime[p] - vruntime[first] > ideal) slice[p] = 0;
    }
  }
  if (cpus > 1 && now >= balance_at[c]) pull_load(c);
  if (slice[p] == 0) ask(c);
}

/* the loop */
static void run_on(int c, int p) {
  double left = target[p] - sum_exec[p];
  heap_set(&events, rows + cpus + c, now + (left > 0 ? left : 0), 3);
}
static void switch_on(int c, int blocks) {
  int p = schedule(c, blocks);
  if (p == 0) {
    heap_remove(&events, rows + c);
    heap_remove(&events, rows + cpus + c);
    return;
  }
  if (events.pos[rows + c] == 0) heap_set(&events, rows + c, (floor(now / TICK) + 1) * TICK, 2);
  run_on(c, p);
}
static void step(int c, int p) {
  int at = at_step[p] >= 2 * steps[p] ? 0 : at_step[p];
  double arg = program[p][at];
  at_step[p] = at + 1;
  if (at % 2 == 0) {
    target[p] = sum_exec[p] + arg;
    run_on(c, p);
  } else {
    heap_set(&events, p, now + arg, 1);
    switch_on(c, 1);
  }
}
static void on_cpu(int c) {
  if (resched[c]) {
    switch_on(c, 0);
    return;
  }
  account(c);
  int p = curr[c];
  if (sum_exec[p] < target[p]) {
    if (slice[p] == 0) switch_on(c, 0);
    else run_on(c, p);
  } else step(c, p);
}
static void run(double until) {
  for (;;) {
    int slot = heap_first(&events);
    if (events.key[slot] > until) return;
    now = events.key[slot];
    if (slot >= rows + cpus) on_cpu(slot - rows - cpus);
    else if (slot < rows) {
      heap_remove(&events, slot);
      wake(slot);
    } else {
      heap_set(&events, slot, now + TICK, 2);
      tick(slot - rows);
    }
    while (any_pending) {
      any_pending = 0;
      for (int c = 0; c < cpus; c++)
        if (pending[c]) {
          pending[c] = 0;
          on_cpu(c);
        }
    }
  }
}

static void *table(size_t size) { return calloc(rows + 2 * cpus + 2, size); }
static heap new_heap(double *key, double *tie, int *pos) { return (heap){key, tie, pos, table(sizeof(int))}; }

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  cpus = atoi(argv[1]);
  rows = atoi(argv[2]) + 1;
  double until = atof(argv[3]);
  int rounds = atoi(argv[4]);
  if (cpus < 1 || cpus > CPUS_MAX) return 2;
  int scale = 1, limit = cpus < 8 ? cpus : 8;
  while (limit >>= 1) scale++;
  latency = 6e6 * scale;
  min_granularity = .75e6 * scale;
  wakeup_granularity = 1e6 * scale;
  int *nice = table(sizeof(int));
  steps = table(sizeof(int));
  program = table(sizeof(double *));
  for (int p = 1; p < rows; p++) {
    double head[2];
    if (fread(head, 8, 2, stdin) != 2) return 2;
    nice[p] = head[0];
    steps[p] = head[1];
    program[p] = malloc(16 * steps[p]);
    if (fread(program[p], 16, steps[p], stdin) != (size_t)steps[p]) return 2;
  }
  for (int round = 0; round < rounds; round++) {
    int **ints[] = {&state, &cpu_of, &weight, &on_rq, &rq_next, &rq_prev, &at_step, &started, &home};
    double **doubles[] = {&slice, &sum_exec, &vruntime, &seen_exec, &picked_exec, &joined, &target};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) *ints[i] = table(sizeof(int));
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) *doubles[i] = table(sizeof(double));
    memset(curr, 0, sizeof curr), memset(resched, 0, sizeof resched), memset(pending, 0, sizeof pending);
    memset(skip_clock, 0, sizeof skip_clock), memset(queued, 0, sizeof queued), memset(rq_head, 0, sizeof rq_head);
    memset(rq_tail, 0, sizeof rq_tail), memset(next_buddy, 0, sizeof next_buddy), memset(last_buddy, 0, sizeof last_buddy);
    memset(balance_failed, 0, sizeof balance_failed), memset(exec_start, 0, sizeof exec_start);
    memset(queued_load, 0, sizeof queued_load), memset(balance_at, 0, sizeof balance_at);
    memset(min_vruntime, 0, sizeof min_vruntime), memset(load, 0, sizeof load), memset(nr, 0, sizeof nr);
    memset(serial, 0, sizeof serial);
    any_pending = 0, clock_held = -1, switches = 0, now = 0;
    idle = cpus == 64 ? ~0ull : (1ull << cpus) - 1;
    events = new_heap(table(sizeof(double)), table(sizeof(double)), table(sizeof(int)));
    double *key = table(sizeof(double)), *tie = table(sizeof(double));
    int *pos = table(sizeof(int));
    for (int c = 0; c < cpus; c++) waiting[c] = new_heap(key, tie, pos);
    for (int p = 1; p < rows; p++) {
      state[p] = SLEEPING;
      cpu_of[p] = home[p] = (p - 1) % cpus;
      weight[p] = WEIGHT[nice[p] + 20];
      heap_set(&events, p, 0, 1);
    }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    run(until);
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%ld %.0f\n", switches, (to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec));
    fflush(stdout);
  }
  return 0;
}
