/* report.c -- see report.h. */
#include "report.h"

#include <stdio.h>
#include <time.h>

#include "host.h"
#include "sys/sys.h"

/* ---- links ---- */

static bool is_peer_up(void *arg, raft_id id)
{
    const struct report *report = arg;
    return peer_is_up(report->peers, id);
}

static bool is_peer_foreign(void *arg, raft_id id)
{
    const struct report *report = arg;
    return peer_is_foreign(report->peers, id);
}

static const char *get_peer_error(void *arg, raft_id id)
{
    const struct report *report = arg;
    return peer_last_error(report->peers, id);
}

/* ---- time ---- */

static uint64_t get_wall_s(void *arg)
{
    (void)arg;
    return (uint64_t)time(NULL);
}

static uint64_t get_now_us(void *arg)
{
    (void)arg;
    return sys_now_ns() / 1000;
}

/* ---- the process ---- */

static bool free_bytes(const struct config *config, uint64_t *bytes)
{
    return !config->inmem && host_free_bytes(config->dir, bytes);
}

static bool get_free_bytes(void *arg, uint64_t *bytes)
{
    return free_bytes(((const struct report *)arg)->config, bytes);
}

static void get_process(void *arg, struct api_process *out)
{
    (void)arg;
    struct sys_process process;
    sys_process(&process);
    *out = (struct api_process){.has_memory = process.has_memory,
                                .resident_bytes = process.resident_bytes,
                                .virtual_bytes = process.virtual_bytes,
                                .cpu_us = process.cpu_us,
                                .open_fds = process.open_fds,
                                .max_fds = process.max_fds};
}

static void get_sandbox(void *arg, bool *seccomp, bool *landlock)
{
    const struct report *report = arg;
    *seccomp = report->privileges->sandbox.seccomp;
    *landlock = report->privileges->sandbox.landlock;
}

/* Add the figures of this process and its disk that the other nodes are shown.
 */
void report_vitals(void *arg, struct wire_vitals *vitals)
{
    struct sys_process process;
    uint64_t disk_bytes;
    sys_process(&process);
    snprintf(vitals->build, sizeof(vitals->build), "%s", CRAFTD_VERSION);
    vitals->memory_bytes = process.has_memory ? process.resident_bytes : 0;
    vitals->disk_free_bytes = free_bytes(arg, &disk_bytes) ? disk_bytes : 0;
}

/* ---- duties ---- */

static bool get_backups(void *arg, struct api_backups *out)
{
    const struct report *report = arg;
    if (!*report->backups) {
        return false;
    }
    struct ops_backups_status status;
    ops_backups_get_status(*report->backups, &status);
    *out = (struct api_backups){
        .time_s = status.time_s,
        .index = status.index,
        .bytes = status.bytes,
        .failures = status.failures,
        .trouble = status.trouble,
        .has_exec = status.has_exec,
        .exec_time_s = status.exec_time_s,
        .exec_failures = status.exec_failures,
        .exec_trouble = status.exec_trouble,
    };
    return true;
}

static const char *get_join_trouble(void *arg)
{
    const struct report *report = arg;
    return *report->join ? ops_join_trouble(*report->join) : "";
}

void report_to_api(struct report *report, struct api_options *options)
{
    options->peer_up = is_peer_up;
    options->peer_error = get_peer_error;
    options->peer_foreign = is_peer_foreign;
    options->now_us = get_now_us;
    options->wall_s = get_wall_s;
    options->process = get_process;
    options->free_bytes = get_free_bytes;
    options->backups = get_backups;
    options->sandbox = get_sandbox;
    options->join_trouble = get_join_trouble;
    options->arg = report;
}
