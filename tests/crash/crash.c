/* crash.c -- enumerates the choices; see crash.h.
 *
 *     crash --states N         until N different disks were recovered
 *     crash --seconds N        for that long
 *     crash --only NAME        one workload
 *     crash --first SEED       first seed; a run is the same every time
 *     crash --replay NAME SEED OPERATION CHOICE
 *
 * Breadth first: a round goes through every workload with another seed, and
 * takes more choices for each operation than the round before.
 *
 * Each disk is recovered twice, with the same result. In some, power is lost
 * again during recovery; in some of the first losses only the process was
 * killed, so that the data that recovery reads is not on the platter yet, and
 * the second loss takes it. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sqlite3.h>

#include "base/log.h"
#include "crash.h"
#include "support/simvfs.h"

enum {
    TRAIL_MAX = 256,
    SECOND_EVERY = 16, /* One of so many states has losses during recovery. */
    SECOND_CHOICES = 1,
    GO_ON_EVERY = 8,
    SEEDS_A_ROUND = 16,
    EVERY_CHOICE = 4, /* First round that tries all choices, where possible. */
    SAMPLES = 48,     /* Choices where there are too many. */
};

static const struct workload *const workloads[] = {
    &workload_log,  &workload_compact, &workload_create,  &workload_store,
    &workload_node, &workload_install, &workload_recover, &workload_restore,
};

/* ---- sets of hashes ---- */

struct set {
    uint64_t *places; /* 0: unused. */
    size_t size;      /* A power of two. */
    size_t count;
};

static bool set_add(struct set *set, uint64_t hash);

static void set_grow(struct set *set)
{
    struct set wider = {.size = set->size ? set->size * 2 : 1 << 16};
    wider.places = mem_zalloc(wider.size * sizeof(*wider.places));
    for (size_t i = 0; i < set->size; i++) {
        if (set->places[i] != 0) {
            (void)set_add(&wider, set->places[i]);
        }
    }
    mem_free(set->places);
    *set = wider;
}

/* Returns true when it was not in the set. */
static bool set_add(struct set *set, uint64_t hash)
{
    if (set->count * 2 >= set->size) {
        set_grow(set);
    }
    hash += hash == 0;
    size_t at = hash & (set->size - 1);
    while (set->places[at] != 0 && set->places[at] != hash) {
        at = (at + 1) & (set->size - 1);
    }
    bool new = set->places[at] == 0;
    set->count += new;
    set->places[at] = hash;
    return new;
}

/* ---- progress ---- */

struct totals {
    uint64_t made;  /* Choices. */
    uint64_t tried; /* Distinct disks and acknowledgements. */
    uint64_t second;
    uint64_t us;
};

static struct {
    const struct workload *workload;
    uint64_t seed;
    struct simdisk *disk;
    uint64_t operation;
    uint64_t choice;
    uint64_t promise;
    uint64_t choices_max; /* Per operation, in this round. */
    uint64_t states_max;
    uint64_t until_us;
    bool replay;
    uint64_t replay_operation;
    uint64_t replay_choice;
    struct set tried;
    struct set disks;
    struct totals totals[ARRAY_COUNT(workloads)];
    struct totals *total;
    uint64_t reached[REACHED_COUNT];
} here;

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

/* CPU time of this process, since the machine may be shared. */
static uint64_t worked_us(void)
{
    return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

static void print_position(void)
{
    char change[160] = "";
    char text[512];
    if (here.disk) {
        simdisk_describe(here.disk, change, sizeof(change));
    }
    int size = snprintf(text, sizeof(text),
                        "operation %llu (%s), choice %llu; again with:\n"
                        "    build/crash --replay %s %llu %llu %llu\n",
                        (unsigned long long)here.operation, change,
                        (unsigned long long)here.choice,
                        here.workload ? here.workload->name : "?",
                        (unsigned long long)here.seed,
                        (unsigned long long)here.operation,
                        (unsigned long long)here.choice);
    (void)!write(2, text, (size_t)size);
}

static void on_signal(int number)
{
    (void)number;
    print_position();
    _exit(127);
}

void crash_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
    print_position();
    exit(129);
}

NORETURN void __wrap_die(const char *format, ...) PRINTF(1, 2);

NORETURN void __wrap_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("called die(): ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    print_position();
    exit(129);
}

void crash_promised(void)
{
    here.promise++;
}

void crash_reached(enum crash_reached what)
{
    here.reached[what]++;
}

/* ---- choices ---- */

enum manner { EACH_SECTOR, EACH_PAGE, BY_LUCK };

/* The choices made for one disk, as the digits of a number that counts up. */
struct trail {
    enum manner manner;
    struct rng rng;
    size_t made;
    size_t count;
    struct {
        uint64_t ways;
        uint64_t taken;
    } digits[TRAIL_MAX];
};

static uint64_t digit(struct trail *trail, uint64_t ways)
{
    must(trail->made < TRAIL_MAX);
    if (trail->made == trail->count) {
        trail->digits[trail->count].ways = ways;
        trail->digits[trail->count++].taken = 0;
    }
    must(trail->digits[trail->made].ways == ways);
    return trail->digits[trail->made++].taken;
}

/* Returns false after the last number. */
static bool count_up(struct trail *trail)
{
    trail->made = 0;
    while (trail->count > 0) {
        size_t last = trail->count - 1;
        if (++trail->digits[last].taken < trail->digits[last].ways) {
            return true;
        }
        trail->count--;
    }
    return false;
}

/* The `number`-th subset of `among`. */
static uint64_t subset(uint64_t among, uint64_t number)
{
    uint64_t bits = 0;
    for (uint64_t left = among; left != 0; left &= left - 1) {
        uint64_t lowest = left & ~(left - 1);
        bits |= number & 1 ? lowest : 0;
        number >>= 1;
    }
    return bits;
}

static uint64_t by_luck(struct rng *rng, enum simdisk_chance chance,
                        uint64_t among)
{
    if (chance != SIMDISK_PAGE) {
        return rng_below(rng, among);
    }
    uint64_t luck = rng_below(rng, 3);
    return luck == 2 ? rng_next(rng) : luck == 1 ? among : 0;
}

static uint64_t choose_so(struct trail *trail, enum simdisk_chance chance,
                          uint64_t among)
{
    if (trail->manner == BY_LUCK) {
        return by_luck(&trail->rng, chance, among);
    }
    if (chance != SIMDISK_PAGE) {
        return digit(trail, among);
    }
    if (among == 0) {
        return 0;
    }
    if (trail->manner == EACH_PAGE) {
        return digit(trail, 2) ? among : 0;
    }
    unsigned sectors = (unsigned)__builtin_popcountll(among);
    return subset(among, digit(trail, (uint64_t)1 << sectors));
}

static uint64_t choose(void *arg, enum simdisk_chance chance, uint64_t among)
{
    static const char *const names[] = {"names", "size", "page"};
    uint64_t way = choose_so(arg, chance, among);
    if (here.replay && here.choice == here.replay_choice) {
        fprintf(stderr, "%s %llx of %llx\n", names[chance],
                (unsigned long long)way, (unsigned long long)among);
    }
    return way;
}

/* ---- one disk after a power loss ---- */

static uint64_t luck_of(uint64_t salt)
{
    return mix_u64(here.seed * 1000003 + here.operation * 8191 + salt +
                   here.choice * 131);
}

/* In a replay, print the change. */
static void print_change(const struct simdisk *disk, const char *who,
                         uint64_t count)
{
    if (here.replay) {
        char text[160];
        simdisk_describe(disk, text, sizeof(text));
        fprintf(stderr, "%s %llu: %s\n", who, (unsigned long long)count, text);
    }
}

struct second {
    uint64_t disk; /* Hash of the disk after the first loss. */
    uint64_t changes;
    uint64_t found; /* Digest by recoveries that lost power. */
    bool killed;    /* The first loss was a kill of the process. */
    bool any;
};

/* Not seen before with the same acknowledgements and `salt`. */
static bool is_new(const struct simdisk *disk, uint64_t salt)
{
    uint64_t promise = mix_u64((here.seed << 20) + here.promise) ^
                       (uint64_t)(here.total - here.totals) << 56;
    uint64_t hash = simdisk_hash(disk);
    (void)set_add(&here.disks, hash);
    return set_add(&here.tried, mix_u64(hash ^ promise) ^ salt);
}

static void recover_second(struct simdisk *disk, struct second *second,
                           uint64_t salt)
{
    struct trail trail = {.manner = BY_LUCK};
    rng_init(&trail.rng, luck_of(salt));
    struct simdisk *found = simdisk_crash_as(disk, choose, &trail);
    if (is_new(found, second->disk)) {
        simvfs_mount(DISK_FOUND_AGAIN, found);
        uint64_t digest = here.workload->recover(found, DISK_FOUND_AGAIN);
        here.total->second++;
        if (!second->killed) {
            CHECK(!second->any || digest == second->found);
            second->found = digest;
            second->any = true;
        }
    }
    simdisk_free(found);
}

static void on_second_change(struct simdisk *disk, void *arg)
{
    struct second *second = arg;
    print_change(disk, "    recovery", second->changes);
    for (uint64_t i = 0; i < SECOND_CHOICES; i++) {
        recover_second(disk, second, ++second->changes * 7 + i);
    }
}

/* The recovered state must be durable before recovery returns. */
static void recover_with_second(struct simdisk *disk, bool killed)
{
    struct second second = {.disk = simdisk_hash(disk), .killed = killed};
    simvfs_mount(DISK_FOUND, disk);
    simdisk_set_hook(disk, on_second_change, &second);
    uint64_t digest = here.workload->recover(disk, DISK_FOUND);
    simdisk_set_hook(disk, NULL, NULL);
    CHECK(!second.any || digest == second.found);
    second.found = digest;
    second.any = true;
    second.killed = false;
    recover_second(disk, &second, 3);
}

static void try_disk(struct simdisk *disk)
{
    simvfs_mount(DISK_FOUND, disk);
    uint64_t luck = luck_of(1);
    if (luck % SECOND_EVERY == 0) {
        recover_with_second(disk, false);
    }
    uint64_t first = here.workload->recover(disk, DISK_FOUND);
    CHECK(here.workload->recover(disk, DISK_FOUND) == first);
    if (here.workload->go_on && (luck >> 8) % GO_ON_EVERY == 0) {
        here.workload->go_on(disk, DISK_FOUND);
    }
    struct simdisk_counts counts;
    simdisk_get_counts(disk, &counts);
    CHECK(counts.handles == 0);
}

static bool is_over(void)
{
    return here.disks.count >= here.states_max ||
           (here.until_us > 0 && now_us() >= here.until_us);
}

static void take(struct simdisk *disk, struct trail *trail)
{
    bool wanted = !here.replay || here.choice == here.replay_choice;
    struct simdisk *found = simdisk_crash_as(disk, choose, trail);
    here.total->made++;
    if (wanted) {
        if (is_new(found, 0)) {
            here.total->tried++;
            try_disk(found);
        }
    }
    simdisk_free(found);
    here.choice++;
}

static void take_all(struct simdisk *disk, enum manner manner, uint64_t most)
{
    static struct trail trail;
    trail.manner = manner;
    trail.made = 0;
    trail.count = 0;
    do {
        take(disk, &trail);
    } while (here.choice < most && count_up(&trail));
}

static void take_some(struct simdisk *disk, uint64_t count)
{
    static struct trail trail;
    for (uint64_t i = 0; i < count; i++) {
        trail.manner = BY_LUCK;
        rng_init(&trail.rng, luck_of(5));
        take(disk, &trail);
    }
}

/* The process was killed, and power is lost during its next start. */
static void take_killed(struct simdisk *disk)
{
    struct simdisk *found = simdisk_killed(disk);
    recover_with_second(found, true);
    simdisk_free(found);
    here.choice++;
}

static void on_change(struct simdisk *disk, void *arg)
{
    (void)arg;
    here.disk = disk;
    here.operation++;
    here.choice = 0;
    print_change(disk, "operation", here.operation);
    if (here.replay ? here.operation != here.replay_operation : is_over()) {
        return;
    }
    uint64_t start_us = worked_us();
    struct simdisk_pending pending;
    simdisk_get_pending(disk, &pending);
    uint64_t bits = here.workload->bits_max;
    uint64_t most = min_u64(here.choices_max, (uint64_t)1 << bits);
    if (pending.sectors + pending.names <= bits &&
        most >> (pending.sectors + pending.names) > 0) {
        take_all(disk, EACH_SECTOR, most);
    } else if (pending.pages + pending.names <= bits &&
               most >> (pending.pages + pending.names) > 0) {
        take_all(disk, EACH_PAGE, most);
        take_some(disk, min_u64(here.choices_max, SAMPLES));
    } else {
        take_some(disk, min_u64(here.choices_max, SAMPLES));
    }
    if (luck_of(9) % SECOND_EVERY == 0 || here.replay) {
        take_killed(disk);
    }
    here.total->us += worked_us() - start_us;
}

/* ---- asynchronous operations ---- */

static struct rng luck;

static size_t submit_write(void *arg, size_t size)
{
    (void)arg;
    crash_reached(REACHED_ASYNC_WRITE);
    switch (rng_below(&luck, 3)) {
    case 0:
        return 0;
    case 1:
        return size;
    default:
        return (size_t)rng_below(&luck, size);
    }
}

static bool is_done(void *arg, bool wait)
{
    (void)arg;
    return wait || rng_below(&luck, 3) == 0;
}

static void submit_sync(void *arg)
{
    (void)arg;
    crash_reached(REACHED_ASYNC_SYNC);
}

struct simdisk *crash_disk(uint64_t seed)
{
    struct simdisk *disk = simdisk_new();
    rng_init(&luck, seed);
    if (rng_below(&luck, 2) == 0) {
        simdisk_set_async(disk,
                          &(struct simdisk_async){.submit_write = submit_write,
                                                  .write_done = is_done,
                                                  .submit_sync = submit_sync,
                                                  .sync_done = is_done});
    }
    return disk;
}

void crash_watch(struct simdisk *disk)
{
    simdisk_set_hook(disk, on_change, NULL);
}

/* ---- runs ---- */

static void run(size_t which, uint64_t seed)
{
    here.workload = workloads[which];
    here.total = &here.totals[which];
    here.seed = seed;
    here.disk = NULL;
    here.operation = 0;
    here.choice = 0;
    here.promise = 0;
    workloads[which]->run(seed);
}

/* The quick workloads run with all seeds of a round, the others with one. */
static void run_round(const char *only, uint64_t seed, bool first)
{
    for (size_t i = 0; i < ARRAY_COUNT(workloads); i++) {
        const struct workload *workload = workloads[i];
        if (only && strcmp(only, workload->name) != 0) {
            continue;
        }
        uint64_t seeds = workload->quick && !first ? SEEDS_A_ROUND : 1;
        for (uint64_t n = 0; n < seeds; n++) {
            run(i, seed + n);
        }
    }
}

/* A node is opened and closed a million times: do not return its freed memory
 * to the kernel. */
static void keep_memory(void)
{
#ifdef __GLIBC__
    enum { BYTES = 64 << 20 };
    (void)mallopt(M_MMAP_THRESHOLD, BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, 4 * BYTES);
    (void)mallopt(M_TOP_PAD, BYTES);
#endif
}

static void report(uint64_t first, uint64_t last, uint64_t us)
{
    uint64_t made = 0;
    uint64_t tried = 0;
    uint64_t second = 0;
    for (size_t i = 0; i < ARRAY_COUNT(workloads); i++) {
        const struct totals *total = &here.totals[i];
        if (total->made > 0) {
            printf("%-8s %9llu choices, %9llu states, %8llu second losses, "
                   "%6.1f us each\n",
                   workloads[i]->name, (unsigned long long)total->made,
                   (unsigned long long)total->tried,
                   (unsigned long long)total->second,
                   (double)total->us / (double)(total->tried + total->second));
        }
        made += total->made;
        tried += total->tried;
        second += total->second;
    }
    printf("crash: %llu choices, %llu states, %zu different disks, %llu more "
           "during recovery; seeds %llu-%llu; %.1f s, %.1f of them at work\n",
           (unsigned long long)made, (unsigned long long)tried,
           here.disks.count, (unsigned long long)second,
           (unsigned long long)first, (unsigned long long)last,
           (double)us / 1e6, (double)worked_us() / 1e6);
}

static void all_reached(void)
{
    static const char *const names[REACHED_COUNT] = {
        "a database behind its log",
        "a checkpoint",
        "a log that was reset",
        "a compaction",
        "an install",
        "an interrupted command",
        "an asynchronous write",
        "an asynchronous sync"};
    for (size_t i = 0; i < REACHED_COUNT; i++) {
        if (here.reached[i] == 0) {
            fprintf(stderr, "never reached: %s\n", names[i]);
            exit(129);
        }
    }
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return argv[i + 1];
        }
    }
    return NULL;
}

static uint64_t number(const char *text, uint64_t without)
{
    return text ? strtoull(text, NULL, 10) : without;
}

static size_t workload_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(workloads); i++) {
        if (strcmp(workloads[i]->name, name) == 0) {
            return i;
        }
    }
    fprintf(stderr, "no workload %s\n", name);
    exit(2);
}

static void replay(char **argv)
{
    here.replay = true;
    here.states_max = UINT64_MAX;
    here.choices_max = UINT64_MAX;
    here.replay_operation = number(argv[4], 0);
    here.replay_choice = number(argv[5], 0);
    log_set_level(LOG_WARN);
    run(workload_of(argv[2]), number(argv[3], 0));
    printf("operation %s, choice %s: recovered\n", argv[4], argv[5]);
}

int main(int argc, char **argv)
{
    log_set_level(LOG_OFF);
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    /* A disk is recovered within a write of the workload's database. */
    must(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK);
    must(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
    keep_memory();
    simvfs_install();
    if (argc == 6 && strcmp(argv[1], "--replay") == 0) {
        replay(argv);
        return 0;
    }
    const char *only = option(argc, argv, "--only");
    uint64_t first = number(option(argc, argv, "--first"), 1);
    uint64_t seconds = number(option(argc, argv, "--seconds"), 0);
    uint64_t start_us = now_us();
    here.states_max = number(option(argc, argv, "--states"), UINT64_MAX);
    here.until_us = seconds > 0 ? start_us + seconds * 1000000 : 0;
    if (here.states_max == UINT64_MAX && seconds == 0) {
        here.states_max = 20000;
    }
    uint64_t seed = first;
    uint64_t tried = 0; /* A workload may have no new disks. */
    for (uint64_t round = 0; !is_over(); round++) {
        here.choices_max =
            round < EVERY_CHOICE ? (uint64_t)1 << 2 * round : UINT64_MAX;
        run_round(only, seed, round == 0);
        seed += SEEDS_A_ROUND;
        if (here.tried.count == tried) {
            break;
        }
        tried = here.tried.count;
    }
    report(first, seed - 1, now_us() - start_us);
    if (!only && here.disks.count >= 10000) {
        all_reached();
    }
    mem_free(here.tried.places);
    mem_free(here.disks.places);
    return 0;
}
