/* main.c -- seeds, one after the other or on all cores.
 *
 *     simulator --seed N [--trace]   one run
 *     simulator --seeds A-B          the runs of these seeds
 *     simulator --seconds N          runs of fresh seeds, for that long
 *     simulator --scenes [--trace]   scripted runs, on seeds 1-5 or --seeds
 * A-B;
 *                                    --only TEXT: those with it in their name
 *     --jobs N                       processes (default: one per core)
 *
 * A failure prints its seed. Exit: 127 crash, 128 liveness, 129 correctness. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "sim.h"
#include "sys/sys.h"

/* A node that dies leaks all its memory, so each process runs only so many
 * seeds before a new one replaces it. */
enum { JOBS_MAX = 64, SEEDS_PER_PROCESS = 500 };

struct sums {
    uint64_t seeds;
    uint64_t virtual_ms;
    uint64_t host_ms;
    uint64_t turns;
    uint64_t acked;
    uint64_t reads;
    uint64_t faults;
    uint64_t hash;
};

static struct sums *sums; /* [JOBS_MAX], shared. */

static void on_crash(int number)
{
    (void)number;
    const struct sim_world *world = sim_current();
    char text[64];
    int size = snprintf(text, sizeof(text), "seed %llu: crash\n",
                        (unsigned long long)(world ? world->seed : 0));
    if (write(2, text, (size_t)size) == size) {
        _exit(EXIT_CRASH);
    }
    _exit(EXIT_CRASH);
}

static void run_one(struct sums *sum, uint64_t seed, bool trace)
{
    struct sim_world *world = mem_zalloc(sizeof(*world));
    chaos_run(world, seed, trace);
    sum->seeds++;
    sum->virtual_ms += world->now_us / 1000;
    sum->host_ms += world->now_us / 1000 * world->swarm.hosts;
    sum->turns += world->turns;
    sum->acked += world->acked;
    sum->reads += world->reads;
    sum->faults += world->faults;
    sum->hash ^= mix_u64(world->hash ^ seed);
    mem_free(world);
}

static void run_some(struct sums *sum, uint64_t first, uint64_t last,
                     uint64_t step, uint64_t until_ms)
{
    uint64_t seed = first;
    for (int i = 0; i < SEEDS_PER_PROCESS && seed <= last; i++, seed += step) {
        if (until_ms > 0 && sys_now_ms() >= until_ms) {
            return;
        }
        run_one(sum, seed, false);
    }
}

/* Returns the exit code. */
static int work(struct sums *sum, uint64_t first, uint64_t last, uint64_t step,
                uint64_t until_ms)
{
    for (uint64_t seed = first; seed <= last;
         seed += SEEDS_PER_PROCESS * step) {
        if (until_ms > 0 && sys_now_ms() >= until_ms) {
            break;
        }
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            run_some(sum, seed, last, step, until_ms);
            exit(0);
        }
        int status = 0;
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            return EXIT_CRASH;
        }
        if (status != 0) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_CRASH;
        }
    }
    return 0;
}

static int wait_for_all(pid_t *pids, uint64_t jobs)
{
    int code = 0;
    for (uint64_t left = jobs; left > 0; left--) {
        int status;
        pid_t pid = wait(&status);
        for (uint64_t i = 0; i < jobs; i++) {
            pids[i] = pids[i] == pid ? 0 : pids[i];
        }
        if (status == 0 || code != 0) {
            continue;
        }
        code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_CRASH;
        for (uint64_t i = 0; i < jobs; i++) {
            if (pids[i] > 0) {
                kill(pids[i], SIGKILL);
            }
        }
    }
    return code;
}

static void print_sums(uint64_t jobs, uint64_t real_ms)
{
    struct sums all = {0};
    for (uint64_t i = 0; i < jobs; i++) {
        all.seeds += sums[i].seeds;
        all.virtual_ms += sums[i].virtual_ms;
        all.host_ms += sums[i].host_ms;
        all.turns += sums[i].turns;
        all.acked += sums[i].acked;
        all.reads += sums[i].reads;
        all.faults += sums[i].faults;
        all.hash ^= sums[i].hash;
    }
    printf(
        "%llu seeds, %llu virtual s (%llu node-hours), %llu s real: %llu to "
        "1; %llu writes, %llu reads, %llu faults, %llu turns; hash %016llx\n",
        (unsigned long long)all.seeds,
        (unsigned long long)(all.virtual_ms / 1000),
        (unsigned long long)(all.host_ms / 3600000),
        (unsigned long long)(real_ms / 1000),
        (unsigned long long)(all.virtual_ms / (real_ms ? real_ms : 1)),
        (unsigned long long)all.acked, (unsigned long long)all.reads,
        (unsigned long long)all.faults, (unsigned long long)all.turns,
        (unsigned long long)all.hash);
}

static int run_many(uint64_t first, uint64_t last, uint64_t jobs,
                    uint64_t seconds)
{
    pid_t pids[JOBS_MAX];
    uint64_t start_ms = sys_now_ms();
    for (uint64_t i = 0; i < jobs; i++) {
        fflush(NULL);
        pids[i] = fork();
        if (pids[i] == 0) {
            exit(work(&sums[i], first + i, last, jobs,
                      seconds ? start_ms + seconds * 1000 : 0));
        }
    }
    int code = wait_for_all(pids, jobs);
    print_sums(jobs, sys_now_ms() - start_ms);
    return code;
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 0);
}

int main(int argc, char **argv)
{
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t seconds = 0;
    uint64_t jobs = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    bool trace = false;
    bool scenes = false;
    const char *only = "";
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else if (strcmp(argv[i], "--scenes") == 0) {
            scenes = true;
        } else if (strcmp(argv[i], "--only") == 0) {
            only = value;
            i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            first = last = number(value);
            i++;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            const char *dash = strchr(value, '-');
            first = number(value);
            last = dash ? number(dash + 1) : first;
            i++;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seconds = number(value);
            i++;
        } else if (strcmp(argv[i], "--jobs") == 0) {
            jobs = number(value);
            i++;
        } else {
            fprintf(stderr, "simulator: unknown argument %s\n", argv[i]);
            return 2;
        }
    }
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    log_set_level(trace && getenv("LOG") ? LOG_DEBUG : LOG_OFF);
    jobs = jobs < 1 ? 1 : min_u64(jobs, JOBS_MAX);
    sums = mmap(NULL, JOBS_MAX * sizeof(*sums), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(sums != MAP_FAILED);
    if (scenes) {
        scenes_run(only, first ? first : 1, first ? last : 5, trace);
        return 0;
    }
    if (seconds > 0) {
        sys_entropy(&first, sizeof(first));
        first >>= 16;
        last = UINT64_MAX;
    } else if (first == last) {
        uint64_t start_ms = sys_now_ms();
        run_one(&sums[0], first, trace);
        print_sums(1, sys_now_ms() - start_ms);
        return 0;
    }
    return run_many(first, last, jobs, seconds);
}
