/* test_raft_transcripts.c -- engines on a stage, after a script.
 *
 * tests/unit/raft/NAME.txt holds scenarios: a line that begins with "> " is a
 * command, the lines after it are what must come of it, "#" begins a comment
 * and "##" the name of a scenario, which starts from nothing. To accept a
 * changed behaviour: REWRITE=1 build/check/test_raft_transcripts, and review
 * the difference like code.
 *
 * Nothing happens by itself: messages wait until they are delivered, time
 * passes when told to. A disk does at once what it is given, unless it is
 * held.
 *
 *   cluster N            nodes 1..N, whose log is N entries of term 1, the
 *                        last of them the configuration
 *   log N TERM[xCOUNT].. what a stopped node has on disk instead
 *   vote N TERM ID       ... and its term and vote
 *   kill N, start N      a node with no disk yet starts with an empty log
 *   tick N               it is the deadline of N
 *   elect N              tick and deliver, until N leads
 *   run MS               time passes, everything is delivered at once
 *   wait MS              time passes, nobody notices
 *   deliver [A>B [TYPE [COUNT]]] what is under way, oldest first; * is
 *                        anybody. With a choice: once; without: until nothing
 *                        is left
 *   drop, dup, shelve    the same choice; shelved messages come back with
 *   unshelve
 *   cut A B, cut A>B, isolate N, heal
 *   pause N, resume N    it does not run
 *   hold N, sync N [COUNT], release N   its disk
 *   propose N [COUNT], read N, gap N
 *   add N, observe N, promote N ID, demote N ID, remove N ID, transfer N ID
 *   state [N], show N    in a line; the log's terms
 *
 * TRACE=1 tells each command before it is carried out.
 *
 * All along, whatever the script: at most one leader a term; nodes agree on
 * what is committed; when it is, a majority has it on disk; a read index is
 * not below what was committed anywhere when it was asked for. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "raft/raft.h"
#include "support/engine.h"

enum {
    NODES_MAX = 12,
    LOG_MAX = 12000,
    MESSAGES_MAX = 1024,
    ENTRIES_MAX = 64, /* In one append here. */
    TERMS_MAX = 512,
    QUEUE_MAX = 64,
    CONFS_MAX = 512,
    RUN_STEPS_MAX = 100000,
};

struct entry_log {
    uint64_t last;
    struct raft_entry at[LOG_MAX];
};

struct actor {
    raft_id id; /* 0: the place is free. */
    struct raft *raft;
    uint64_t disk_term;
    raft_id disk_vote;
    struct entry_log disk;
    struct entry_log log; /* The engine's log. */
    struct raft_persist queue[QUEUE_MAX];
    uint32_t queue_count;
    bool held;
    bool paused;
    uint64_t cookie;
    uint64_t asked_cookie;
    uint64_t asked_at;
    struct raft_status shown;
};

struct packet {
    struct raft_message message;
    struct raft_entry entries[ENTRIES_MAX];
};

static struct actor actors[NODES_MAX];
static struct packet network[MESSAGES_MAX];
static uint32_t packet_count;
static struct packet shelf[MESSAGES_MAX];
static uint32_t shelf_count;
static struct {
    raft_id from;
    raft_id to;
} cuts[NODES_MAX * NODES_MAX];
static uint32_t cut_count;
static raft_id leader_of[TERMS_MAX];
static uint64_t committed_term[LOG_MAX];
static uint64_t committed_max;
static struct raft_conf confs[CONFS_MAX];
static uint32_t conf_count;
static uint64_t now_ms;
static struct raft_update update;
static struct buf out;
static bool quiet; /* Messages are not told. */

/* ---- telling ---- */

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    must(size >= 0 && (size_t)size < sizeof(line));
    buf_add_bytes(&out, bytes_of(line, (size_t)size));
    buf_add_bytes(&out, bytes_of_string("\n"));
}

static unsigned long long n(uint64_t number)
{
    return (unsigned long long)number;
}

static const char *type_name(enum raft_message_type type)
{
    switch (type) {
#define X(name, value)                                                         \
    case RAFT_MSG_##name:                                                      \
        return #name;
        RAFT_MESSAGE_LIST(X)
#undef X
    }
    return "?";
}

static void describe(const struct raft_message *m, char text[256])
{
    int at = snprintf(text, 256, "%llu>%llu %s term %llu", n(m->from), n(m->to),
                      type_name(m->type), n(m->term));
    char *end = text + at;
    size_t left = 256 - (size_t)at;
    switch (m->type) {
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_VOTE:
    case RAFT_MSG_TIMEOUT_NOW:
        snprintf(end, left, " last %llu/%llu%s", n(m->log_index),
                 n(m->log_term), m->transfer ? " transfer" : "");
        break;
    case RAFT_MSG_PREVOTE_RESP:
    case RAFT_MSG_VOTE_RESP:
        snprintf(end, left, " %s", m->granted ? "granted" : "refused");
        break;
    case RAFT_MSG_APPEND:
        snprintf(end, left, " prev %llu/%llu +%u commit %llu", n(m->log_index),
                 n(m->log_term), m->entry_count, n(m->commit));
        break;
    case RAFT_MSG_APPEND_RESP:
        if (m->granted) {
            snprintf(end, left, " match %llu", n(m->match));
        } else {
            snprintf(end, left, " refused %llu, try %llu/%llu", n(m->match),
                     n(m->log_index), n(m->log_term));
        }
        break;
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_READ_RESP:
        snprintf(end, left, " commit %llu", n(m->commit));
        break;
    case RAFT_MSG_HEARTBEAT_RESP:
    case RAFT_MSG_READ:
        break;
    }
}

/* Print the changes of the last step. */
static void print_changes(struct actor *actor)
{
    struct raft_status now;
    struct raft_status *shown = &actor->shown;
    raft_get_status(actor->raft, &now);
    if (now.role != shown->role || now.term != shown->term ||
        now.leader != shown->leader) {
        if (now.role == RAFT_FOLLOWER && now.leader != 0) {
            tell("  %llu: follower of %llu, term %llu", n(actor->id),
                 n(now.leader), n(now.term));
        } else {
            tell("  %llu: %s, term %llu", n(actor->id),
                 raft_role_name(now.role), n(now.term));
        }
    }
    if (quiet) {
        now.commit = shown->commit; /* Told when it is quiet no more. */
    }
    if (now.commit != shown->commit) {
        tell("  %llu: commit %llu", n(actor->id), n(now.commit));
    }
    *shown = now;
}

/* ---- actors ---- */

static struct actor *find(raft_id id)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (actors[i].id == id && id != 0) {
            return &actors[i];
        }
    }
    return NULL;
}

static struct actor *find_or_make(raft_id id)
{
    struct actor *actor = find(id);
    for (size_t i = 0; i < NODES_MAX && !actor; i++) {
        if (actors[i].id == 0) {
            actor = &actors[i];
            actor->id = id;
        }
    }
    must(actor);
    return actor;
}

static void start(struct actor *actor)
{
    static struct raft_run runs[LOG_MAX];
    static struct raft_conf_entry entries[CONFS_MAX];
    uint32_t run_count = 0;
    uint32_t entry_count = 0;
    const struct entry_log *disk = &actor->disk;
    must(!actor->raft);
    for (uint64_t i = 1; i <= disk->last; i++) {
        const struct raft_entry *entry = &disk->at[i];
        run_count = engine_add_run(runs, run_count, i, entry->term);
        if (entry->type == RAFT_ENTRY_CONF) {
            entries[entry_count].index = i;
            entries[entry_count++].conf = *entry->conf;
        }
    }
    actor->log = *disk;
    actor->queue_count = 0;
    actor->asked_cookie = 0;
    actor->paused = false;
    struct raft_options options = engine_options(actor->id, actor->id);
    options.inflight_max = 4;
    struct raft_boot boot = {.term = actor->disk_term,
                             .vote = actor->disk_vote,
                             .last = disk->last,
                             .runs = runs,
                             .run_count = run_count,
                             .confs = entries,
                             .conf_count = entry_count};
    actor->raft = raft_new(&options, &boot, now_ms);
    raft_get_status(actor->raft, &actor->shown);
}

static void stop(struct actor *actor)
{
    raft_free(actor->raft);
    actor->raft = NULL;
}

static bool is_cut(raft_id from, raft_id to)
{
    for (uint32_t i = 0; i < cut_count; i++) {
        if (cuts[i].from == from && cuts[i].to == to) {
            return true;
        }
    }
    return false;
}

static void post(const struct raft_message *m, const struct raft_entry *entries)
{
    must(packet_count < MESSAGES_MAX && m->entry_count <= ENTRIES_MAX);
    struct packet *packet = &network[packet_count++];
    packet->message = *m;
    for (uint32_t i = 0; i < m->entry_count; i++) {
        packet->entries[i] = entries[i];
    }
}

/* ---- what must hold ---- */

static void check_leader(const struct actor *actor)
{
    if (raft_is_leader(actor->raft)) {
        uint64_t term = raft_term(actor->raft);
        must(term < TERMS_MAX);
        assert_true(leader_of[term] == 0 || leader_of[term] == actor->id);
        leader_of[term] = actor->id;
    }
}

static void check_majority(const struct actor *actor, uint64_t index,
                           uint64_t term)
{
    const struct raft_conf *conf = raft_conf_active(actor->raft);
    uint32_t holders = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct actor *other = find(conf->members[i].id);
        holders += conf->members[i].suffrage == RAFT_VOTER && other &&
                   other->disk.last >= index &&
                   other->disk.at[index].term == term;
    }
    assert_true(holders * 2 > raft_conf_voters(conf));
}

static void check_commits(struct actor *actor)
{
    for (uint64_t i = update.apply_lo; i <= update.apply_hi; i++) {
        uint64_t term = raft_term_at(actor->raft, i);
        if (committed_term[i] == 0) {
            committed_term[i] = term;
            committed_max = max_u64(committed_max, i);
            check_majority(actor, i, term);
        }
        assert_int_equal(committed_term[i], term);
    }
}

static void check_reads(struct actor *actor)
{
    if (update.read_cookie > 0) {
        assert_true(actor->asked_cookie == 0 ||
                    update.read_cookie < actor->asked_cookie ||
                    update.read_index >= actor->asked_at);
        tell("  %llu: read %llu at %llu", n(actor->id), n(update.read_cookie),
             n(update.read_index));
    }
    if (update.read_failed > 0) {
        tell("  %llu: read %llu failed", n(actor->id), n(update.read_failed));
    }
    if (max_u64(update.read_cookie, update.read_failed) >=
        actor->asked_cookie) {
        actor->asked_cookie = 0;
    }
}

/* ---- running ---- */

static const struct raft_conf *keep_conf(const struct raft_conf *conf)
{
    must(conf && conf_count < CONFS_MAX);
    confs[conf_count] = *conf;
    return &confs[conf_count++];
}

static void keep(struct actor *actor, const struct raft_event *event)
{
    uint64_t first;
    uint64_t last;
    raft_appended(actor->raft, &first, &last);
    must(last < LOG_MAX);
    for (uint64_t i = first; i <= last; i++) {
        const struct raft_conf *conf = raft_conf_at(actor->raft, i);
        struct raft_entry *entry = &actor->log.at[i];
        *entry = (struct raft_entry){.term = raft_term_at(actor->raft, i),
                                     .type = event->type == RAFT_PROPOSE
                                                 ? RAFT_ENTRY_NORMAL
                                                 : RAFT_ENTRY_NOOP};
        if (conf) {
            entry->type = RAFT_ENTRY_CONF;
            entry->conf = keep_conf(conf);
        } else if (event->type == RAFT_MESSAGE &&
                   event->message->type == RAFT_MSG_APPEND) {
            *entry = event->message->entries[i - event->message->log_index - 1];
        }
        actor->log.last = i;
    }
}

static void carry_out(struct actor *actor);

static enum err step(struct actor *actor, struct raft_event event)
{
    event.now_ms = now_ms;
    enum err err = raft_step(actor->raft, &event);
    if (!err) {
        keep(actor, &event);
    }
    return err;
}

static void do_write(struct actor *actor)
{
    const struct raft_persist op = actor->queue[0];
    struct entry_log *disk = &actor->disk;
    if (op.hard) {
        actor->disk_term = op.term;
        actor->disk_vote = op.vote;
    }
    if (op.truncate_from > 0 && op.truncate_from <= disk->last) {
        disk->last = op.truncate_from - 1;
    }
    for (uint64_t i = op.lo; i <= op.hi; i++) {
        disk->at[i] = actor->log.at[i];
        disk->last = i;
    }
    actor->queue_count--;
    memmove(actor->queue, actor->queue + 1,
            actor->queue_count * sizeof(actor->queue[0]));
    must(step(actor, (struct raft_event){.type = RAFT_PERSISTED,
                                         .seq = op.seq}) == ERR_OK);
}

static void collect(struct actor *actor)
{
    raft_collect(actor->raft, &update);
    for (uint32_t i = 0; i < update.message_count; i++) {
        post(&update.messages[i], NULL);
    }
    for (uint32_t i = 0; i < update.offer_count; i++) {
        const struct raft_append_offer *offer = &update.offers[i];
        uint64_t next = offer->next;
        struct raft_message m;
        do {
            uint64_t hi = min_u64(offer->last, next + ENTRIES_MAX - 1);
            if (!raft_make_append(actor->raft, offer->peer, next, hi, now_ms,
                                  &m)) {
                break;
            }
            post(&m, &actor->log.at[next]);
            next = hi + 1;
        } while (next <= offer->last);
    }
    if (update.persist.seq > 0) {
        must(actor->queue_count < QUEUE_MAX);
        actor->queue[actor->queue_count++] = update.persist;
    }
    check_leader(actor);
    check_commits(actor);
    check_reads(actor);
    if (update.transfer_done) {
        tell("  %llu: transfer %s", n(actor->id),
             update.transfer_ok ? "done" : "failed");
    }
}

static void carry_out(struct actor *actor)
{
    bool again = true;
    while (again) {
        collect(actor);
        again = false;
        if (update.apply_hi >= update.apply_lo) {
            must(step(actor, (struct raft_event){.type = RAFT_APPLIED,
                                                 .index = update.apply_hi}) ==
                 ERR_OK);
            again = true;
        }
        while (actor->queue_count > 0 && !actor->held) {
            do_write(actor);
            again = true;
        }
    }
    print_changes(actor);
}

static bool runs(const struct actor *actor)
{
    return actor && actor->raft && !actor->paused;
}

static void deliver_one(const struct packet *packet)
{
    char text[256];
    struct raft_message m = packet->message;
    struct actor *to = find(m.to);
    describe(&m, text);
    if (is_cut(m.from, m.to) || !to || !to->raft) {
        if (!quiet) {
            tell("%s: lost", text);
        }
        return;
    }
    m.entries = packet->entries;
    enum err err =
        step(to, (struct raft_event){.type = RAFT_MESSAGE, .message = &m});
    if (!quiet || err) {
        tell("%s%s", text, err ? ": INVALID" : "");
    }
    carry_out(to);
}

/* Take the packet at `i` off the list. */
static struct packet take(uint32_t i)
{
    struct packet packet = network[i];
    packet_count--;
    memmove(&network[i], &network[i + 1],
            (packet_count - i) * sizeof(network[0]));
    return packet;
}

static void deliver_all(void)
{
    for (uint32_t i = 0, steps = 0; i < packet_count;) {
        struct actor *to = find(network[i].message.to);
        if (to && to->paused) {
            i++;
            continue;
        }
        must(++steps < RUN_STEPS_MAX);
        static struct packet packet;
        packet = take(i);
        deliver_one(&packet);
        i = 0;
    }
}

static void tick(struct actor *actor)
{
    now_ms = max_u64(now_ms, raft_deadline_ms(actor->raft));
    must(step(actor, (struct raft_event){.type = RAFT_TICK}) == ERR_OK);
    carry_out(actor);
}

static struct actor *next_due(void)
{
    struct actor *due = NULL;
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (runs(&actors[i]) && (!due || raft_deadline_ms(actors[i].raft) <
                                             raft_deadline_ms(due->raft))) {
            due = &actors[i];
        }
    }
    return due;
}

static void run(uint64_t ms)
{
    uint64_t until = now_ms + ms;
    bool was_quiet = quiet;
    quiet = true;
    deliver_all();
    for (uint32_t steps = 0;; steps++) {
        must(steps < RUN_STEPS_MAX);
        struct actor *due = next_due();
        if (!due || raft_deadline_ms(due->raft) > until) {
            break;
        }
        tick(due);
        deliver_all();
    }
    now_ms = max_u64(now_ms, until);
    quiet = was_quiet;
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (actors[i].raft) {
            print_changes(&actors[i]);
        }
    }
}

/* ---- commands ---- */

struct words {
    int count;
    char *at[40];
};

static raft_id id_of(const char *word)
{
    return word[0] == '*' ? 0 : strtoull(word, NULL, 10);
}

struct choice {
    raft_id from;
    raft_id to;
    const char *type;
    uint64_t count;
};

static struct choice choice_of(const struct words *w)
{
    struct choice choice = {0};
    if (w->count > 1) {
        const char *arrow = strchr(w->at[1], '>');
        must(arrow);
        choice.from = id_of(w->at[1]);
        choice.to = id_of(arrow + 1);
    }
    choice.type = w->count > 2 ? w->at[2] : NULL;
    choice.count = w->count > 3 ? id_of(w->at[3]) : UINT64_MAX;
    return choice;
}

static bool chosen(const struct choice *choice, const struct raft_message *m)
{
    return (choice->from == 0 || choice->from == m->from) &&
           (choice->to == 0 || choice->to == m->to) &&
           (!choice->type || strcmp(choice->type, type_name(m->type)) == 0);
}

static void cmd_messages(const struct words *w, const char *verb)
{
    if (w->count == 1 && strcmp(verb, "deliver") == 0) {
        deliver_all();
        return;
    }
    struct choice choice = choice_of(w);
    uint32_t count = packet_count; /* Not what comes of it. */
    for (uint32_t i = 0; count > 0; count--) {
        static struct packet packet;
        if (choice.count == 0 || !chosen(&choice, &network[i].message)) {
            i++;
            continue;
        }
        choice.count--;
        if (strcmp(verb, "dup") == 0) {
            post(&network[i].message, network[i].entries);
            i++;
            continue;
        }
        packet = take(i);
        if (strcmp(verb, "deliver") == 0) {
            deliver_one(&packet);
        } else if (strcmp(verb, "shelve") == 0) {
            must(shelf_count < MESSAGES_MAX);
            shelf[shelf_count++] = packet;
        } else {
            char text[256];
            describe(&packet.message, text);
            tell("%s: dropped", text);
        }
    }
}

static void cmd_unshelve(void)
{
    for (uint32_t i = 0; i < shelf_count; i++) {
        post(&shelf[i].message, shelf[i].entries);
    }
    shelf_count = 0;
}

static void free_all(void)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        stop(&actors[i]);
    }
}

static void reset(void)
{
    free_all();
    memset(actors, 0, sizeof(actors));
    memset(leader_of, 0, sizeof(leader_of));
    memset(committed_term, 0, sizeof(committed_term));
    packet_count = 0;
    shelf_count = 0;
    cut_count = 0;
    committed_max = 0;
    conf_count = 0;
    now_ms = 1000;
}

static void cmd_cluster(const struct words *w)
{
    uint32_t count = (uint32_t)id_of(w->at[1]);
    struct raft_conf conf = {.count = count};
    for (uint32_t i = 0; i < count; i++) {
        conf.members[i].id = i + 1;
        conf.members[i].suffrage = RAFT_VOTER;
        conf.members[i].uuid[0] = (uint8_t)(i + 1);
    }
    const struct raft_conf *kept = keep_conf(&conf);
    for (uint32_t i = 1; i <= count; i++) {
        struct actor *actor = find_or_make(i);
        actor->disk_term = 1;
        actor->disk.last = count;
        for (uint32_t k = 1; k <= count; k++) {
            actor->disk.at[k] = (struct raft_entry){
                .term = 1,
                .type = k == count ? RAFT_ENTRY_CONF : RAFT_ENTRY_NOOP,
                .conf = k == count ? kept : NULL};
            committed_term[k] = 1;
        }
        committed_max = count;
        start(actor);
    }
}

static void cmd_log(const struct words *w)
{
    struct actor *actor = find(id_of(w->at[1]));
    must(actor && !actor->raft);
    /* The configuration stays where it is. */
    uint64_t index = 0;
    for (int i = 2; i < w->count; i++) {
        const char *times = strchr(w->at[i], 'x');
        uint64_t term = strtoull(w->at[i], NULL, 10);
        uint64_t count = times ? strtoull(times + 1, NULL, 10) : 1;
        for (; count > 0; count--) {
            struct raft_entry *entry = &actor->disk.at[++index];
            must(index < LOG_MAX);
            if (entry->type != RAFT_ENTRY_CONF) {
                *entry = (struct raft_entry){.term = term,
                                             .type = RAFT_ENTRY_NORMAL};
            }
            entry->term = term;
        }
        actor->disk_term = max_u64(actor->disk_term, term);
    }
    actor->disk.last = index;
}

static void cmd_state(const struct words *w)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct actor *actor = &actors[i];
        if (actor->id == 0 || (w->count > 1 && actor->id != id_of(w->at[1]))) {
            continue;
        }
        if (!actor->raft) {
            tell("  %llu: down, disk has term %llu vote %llu last %llu",
                 n(actor->id), n(actor->disk_term), n(actor->disk_vote),
                 n(actor->disk.last));
            continue;
        }
        struct raft_status s;
        raft_get_status(actor->raft, &s);
        tell("  %llu: %s, leader %llu, term %llu vote %llu, last %llu "
             "durable %llu commit %llu, voters %u of %u",
             n(actor->id), raft_role_name(s.role), n(s.leader), n(s.term),
             n(s.vote), n(s.last), n(s.durable), n(s.commit),
             raft_conf_voters(raft_conf_active(actor->raft)),
             raft_conf_active(actor->raft)->count);
    }
}

/* The log's terms as runs: 1x3 2 5x10. */
static void cmd_show(const struct actor *actor)
{
    char line[400];
    int at = snprintf(line, sizeof(line), "  %llu:", n(actor->id));
    const struct entry_log *log = actor->raft ? &actor->log : &actor->disk;
    uint64_t last = actor->raft ? raft_last(actor->raft) : log->last;
    for (uint64_t i = 1; i <= last;) {
        uint64_t end = i;
        while (end <= last && log->at[end].term == log->at[i].term) {
            end++;
        }
        at += snprintf(line + at, sizeof(line) - (size_t)at, " %llux%llu",
                       n(log->at[i].term), n(end - i));
        must((size_t)at < sizeof(line));
        i = end;
    }
    tell("%s", line);
}

/* Told only how it ends. */
static void cmd_elect(struct actor *actor)
{
    bool was_quiet = quiet;
    size_t told = out.size;
    quiet = true;
    for (int tries = 0; tries < 4 && !raft_is_leader(actor->raft); tries++) {
        tick(actor);
        deliver_all();
    }
    quiet = was_quiet;
    out.size = told;
    tell("  %llu: %s, term %llu", n(actor->id),
         raft_is_leader(actor->raft) ? "leads" : "DOES NOT LEAD",
         n(raft_term(actor->raft)));
}

static void tell_err(const struct actor *actor, enum err err)
{
    if (err) {
        tell("  %llu: refused, %s", n(actor->id), err_name(err));
    }
}

static void cmd_propose(struct actor *actor, const struct words *w)
{
    uint64_t count = w->count > 2 ? id_of(w->at[2]) : 1;
    for (; count > 0; count--) {
        enum err err = step(actor, (struct raft_event){.type = RAFT_PROPOSE});
        if (err) {
            tell_err(actor, err);
            break;
        }
    }
    carry_out(actor);
}

static void cmd_read(struct actor *actor)
{
    actor->cookie++;
    if (actor->asked_cookie == 0) {
        actor->asked_cookie = actor->cookie;
        actor->asked_at = committed_max;
    }
    must(step(actor, (struct raft_event){.type = RAFT_READ,
                                         .cookie = actor->cookie}) == ERR_OK);
    carry_out(actor);
}

static void cmd_change(struct actor *actor, enum raft_change_type type,
                       raft_id target, enum raft_suffrage suffrage)
{
    struct raft_change change = {
        .type = type, .member = {.id = target, .suffrage = suffrage}};
    uint64_t index = raft_last(actor->raft) + 1;
    change.member.uuid[0] = (uint8_t)(100 + index);
    enum err err = step(
        actor, (struct raft_event){.type = RAFT_CHANGE, .change = &change});
    tell_err(actor, err);
    if (!err && type == RAFT_CHANGE_ADD) {
        tell("  %llu: adds %llu", n(actor->id), n(index));
    }
    carry_out(actor);
}

static void add_cut(raft_id from, raft_id to)
{
    must(cut_count < ARRAY_COUNT(cuts));
    cuts[cut_count].from = from;
    cuts[cut_count].to = to;
    cut_count++;
}

static void cmd_cut(const struct words *w)
{
    const char *arrow = strchr(w->at[1], '>');
    if (arrow) {
        add_cut(id_of(w->at[1]), id_of(arrow + 1));
        return;
    }
    add_cut(id_of(w->at[1]), id_of(w->at[2]));
    add_cut(id_of(w->at[2]), id_of(w->at[1]));
}

static void cmd_isolate(raft_id id)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (actors[i].id != 0 && actors[i].id != id) {
            add_cut(id, actors[i].id);
            add_cut(actors[i].id, id);
        }
    }
}

static bool cmd_world(const struct words *w)
{
    const char *verb = w->at[0];
    if (strcmp(verb, "cluster") == 0) {
        cmd_cluster(w);
    } else if (strcmp(verb, "state") == 0) {
        cmd_state(w);
    } else if (strcmp(verb, "run") == 0) {
        run(id_of(w->at[1]));
    } else if (strcmp(verb, "wait") == 0) {
        now_ms += id_of(w->at[1]);
    } else if (strcmp(verb, "deliver") == 0 || strcmp(verb, "drop") == 0 ||
               strcmp(verb, "dup") == 0 || strcmp(verb, "shelve") == 0) {
        cmd_messages(w, verb);
    } else if (strcmp(verb, "unshelve") == 0) {
        cmd_unshelve();
    } else if (strcmp(verb, "heal") == 0) {
        cut_count = 0;
    } else if (strcmp(verb, "cut") == 0) {
        cmd_cut(w);
    } else if (strcmp(verb, "isolate") == 0) {
        cmd_isolate(id_of(w->at[1]));
    } else {
        return false;
    }
    return true;
}

static bool cmd_disk(struct actor *actor, const struct words *w)
{
    const char *verb = w->at[0];
    if (strcmp(verb, "log") == 0) {
        cmd_log(w);
    } else if (strcmp(verb, "vote") == 0) {
        actor->disk_term = id_of(w->at[2]);
        actor->disk_vote = id_of(w->at[3]);
    } else if (strcmp(verb, "hold") == 0) {
        actor->held = true;
    } else if (strcmp(verb, "release") == 0) {
        actor->held = false;
        if (actor->raft) {
            carry_out(actor);
        }
    } else if (strcmp(verb, "sync") == 0) {
        uint64_t count = w->count > 2 ? id_of(w->at[2]) : UINT64_MAX;
        for (; actor->queue_count > 0 && count > 0; count--) {
            do_write(actor);
        }
        carry_out(actor);
    } else if (strcmp(verb, "show") == 0) {
        cmd_show(actor);
    } else {
        return false;
    }
    return true;
}

static bool cmd_life(struct actor *actor, const struct words *w)
{
    const char *verb = w->at[0];
    if (strcmp(verb, "kill") == 0) {
        stop(actor);
        actor->held = false;
    } else if (strcmp(verb, "start") == 0) {
        start(actor);
    } else if (strcmp(verb, "tick") == 0) {
        tick(actor);
    } else if (strcmp(verb, "elect") == 0) {
        cmd_elect(actor);
    } else if (strcmp(verb, "pause") == 0) {
        actor->paused = true;
    } else if (strcmp(verb, "resume") == 0) {
        actor->paused = false;
    } else if (strcmp(verb, "gap") == 0) {
        must(step(actor, (struct raft_event){.type = RAFT_GAP}) == ERR_OK);
        carry_out(actor);
    } else if (strcmp(verb, "propose") == 0) {
        cmd_propose(actor, w);
    } else if (strcmp(verb, "read") == 0) {
        cmd_read(actor);
    } else {
        return false;
    }
    return true;
}

static bool cmd_members(struct actor *actor, const struct words *w)
{
    const char *verb = w->at[0];
    raft_id target = w->count > 2 ? id_of(w->at[2]) : 0;
    if (strcmp(verb, "add") == 0) {
        cmd_change(actor, RAFT_CHANGE_ADD, 0, RAFT_LEARNER);
    } else if (strcmp(verb, "observe") == 0) {
        cmd_change(actor, RAFT_CHANGE_ADD, 0, RAFT_OBSERVER);
    } else if (strcmp(verb, "promote") == 0) {
        cmd_change(actor, RAFT_CHANGE_PROMOTE, target, 0);
    } else if (strcmp(verb, "demote") == 0) {
        cmd_change(actor, RAFT_CHANGE_DEMOTE, target, 0);
    } else if (strcmp(verb, "remove") == 0) {
        cmd_change(actor, RAFT_CHANGE_REMOVE, target, 0);
    } else if (strcmp(verb, "transfer") == 0) {
        tell_err(actor, step(actor, (struct raft_event){.type = RAFT_TRANSFER,
                                                        .peer = target}));
        carry_out(actor);
    } else {
        return false;
    }
    return true;
}

static void command(char *line)
{
    struct words w = {0};
    char *rest = line;
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        must(w.count < (int)ARRAY_COUNT(w.at));
        w.at[w.count++] = word;
    }
    must(w.count > 0);
    if (cmd_world(&w)) {
        return;
    }
    must(w.count > 1);
    struct actor *actor = find_or_make(id_of(w.at[1]));
    if (!cmd_disk(actor, &w) && !cmd_life(actor, &w) &&
        !cmd_members(actor, &w)) {
        fail_msg("no such command: %s", w.at[0]);
    }
}

/* ---- scripts ---- */

static char *read_script(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail_msg("%s: cannot be read", path);
        return NULL;
    }
    static char text[1 << 20];
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    must(size < sizeof(text) - 1);
    text[size] = '\0';
    fclose(file);
    return text;
}

/* Run the script; `played` becomes the script with the actual results. */
static void play(char *text, struct buf *played)
{
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        bool is_command = strncmp(line, "> ", 2) == 0;
        bool is_comment = line[0] == '#';
        if (!is_command && !is_comment && line[0] != '\0') {
            continue; /* Expected of before. */
        }
        if (line[0] == '\0' && !rest) {
            break;
        }
        buf_add_bytes(played, bytes_of_string(line));
        buf_add_bytes(played, bytes_of_string("\n"));
        if (strncmp(line, "## ", 3) == 0) {
            reset();
        }
        if (is_command) {
            if (getenv("TRACE")) {
                fprintf(stderr, "%s\n", line);
            }
            out.size = 0;
            command(line + 2);
            buf_add_bytes(played, buf_bytes(&out));
        }
    }
}

static void report(const char *path, const char *wanted, struct bytes played)
{
    size_t line = 1;
    size_t at = 0;
    size_t start_of_line = 0;
    while (at < played.size && wanted[at] == (char)played.data[at]) {
        line += wanted[at] == '\n';
        start_of_line = wanted[at] == '\n' ? at + 1 : start_of_line;
        at++;
    }
    if (at == played.size && wanted[at] == '\0') {
        return;
    }
    const char *got = (const char *)played.data + start_of_line;
    fail_msg("%s:%zu:\n  wanted %.*s\n  got    %.*s", path, line,
             (int)strcspn(wanted + start_of_line, "\n"), wanted + start_of_line,
             (int)(memchr(got, '\n', played.size - start_of_line)
                       ? strcspn(got, "\n")
                       : played.size - start_of_line),
             got);
}

static void test_script(void **state)
{
    const char *path = *state;
    char *text = read_script(path);
    size_t size = strlen(text);
    char *wanted = mem_alloc(size + 1);
    memcpy(wanted, text, size + 1);
    struct buf played = {0};
    play(text, &played);
    if (getenv("REWRITE")) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(played.data, 1, played.size, file),
                         played.size);
        fclose(file);
    } else {
        report(path, wanted, buf_bytes(&played));
    }
    buf_free(&played);
    mem_free(wanted);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct CMUnitTest *)a)->name,
                  ((const struct CMUnitTest *)b)->name);
}

int main(void)
{
    static const char dir[] = "tests/unit/raft";
    static struct CMUnitTest tests[64];
    static char paths[64][300];
    size_t count = 0;
    DIR *scripts = opendir(dir);
    must(scripts);
    for (struct dirent *file; (file = readdir(scripts)) != NULL;) {
        if (strstr(file->d_name, ".txt")) {
            must(count < ARRAY_COUNT(tests));
            snprintf(paths[count], sizeof(paths[0]), "%s/%s", dir,
                     file->d_name);
            tests[count] = (struct CMUnitTest){.name = paths[count],
                                               .test_func = test_script,
                                               .initial_state = paths[count]};
            count++;
        }
    }
    closedir(scripts);
    must(count > 0);
    qsort(tests, count, sizeof(tests[0]), by_name);
    int failed =
        _cmocka_run_group_tests("transcripts", tests, count, NULL, NULL);
    free_all();
    buf_free(&out);
    return failed;
}
