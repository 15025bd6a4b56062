/* node.c -- whole nodes: their first start, writes, checkpoints, compaction;
 * adoption and a snapshot from elsewhere; recover and restore. A01, D01, D14,
 * D15, S06.
 *
 * Each value names its write, so that the recovered rows show their writes:
 * each key must have its newest write that was acknowledged up to the applied
 * index, or a later one without an answer. */
#include <stdio.h>

#include "command/command.h"
#include "crash.h"
#include "node/node.h"
#include "support/simvfs.h"
#include "wal/wal.h"

enum {
    KEYS = 12,
    WRITES_MAX = 400,
    VALUE_BYTES_MAX = 1200,
    TURN_MS = 10,
    TURNS_MAX = 600,
    SEGMENT = 16 << 10,
};

struct write {
    struct node_request request;
    unsigned key;
    uint64_t index; /* 0: not acknowledged yet. */
};

struct machine {
    const char *name;
    int mount;
    struct simdisk *disk;
    struct node *node;
    struct rng rng;
    uint64_t now_ms;
    bool linked;
    struct buf out; /* Frames to the one other node. */
    raft_id id;
    uint8_t cluster[16];
    uint8_t uuid[RAFT_UUID_BYTES];
    uint64_t incarnation;
    const struct raft_conf *members;
};

static struct {
    struct machine own;   /* Its disk loses power. */
    struct machine other; /* The leader, where there is one. */
    struct write writes[WRITES_MAX + 1];
    unsigned write_count;
    uint64_t acked;   /* Index of the newest acknowledged write. */
    uint64_t matched; /* Index that was acknowledged to the other node. */
    bool over;        /* The command has completed. */
    const struct fs *backup;
    struct rng rng;
} run;

/* ---- a machine ---- */

static uint64_t env_now_ms(void *self)
{
    const struct machine *machine = self;
    return machine->now_ms;
}

static uint64_t env_now_us(void *self)
{
    const struct machine *machine = self;
    return machine->now_ms * 1000;
}

static void env_entropy(void *self, void *out, size_t size)
{
    struct machine *machine = self;
    uint8_t *bytes = out;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)rng_next(&machine->rng);
    }
}

static struct buf *output(void *self, raft_id peer)
{
    struct machine *machine = self;
    (void)peer;
    return machine->linked ? &machine->out : NULL;
}

static void set_self(void *self, const uint8_t cluster[16], raft_id id,
                     const uint8_t uuid[16], uint64_t incarnation,
                     const char *name)
{
    struct machine *machine = self;
    (void)name;
    machine->id = id;
    machine->incarnation = incarnation;
    memcpy(machine->cluster, cluster, sizeof(machine->cluster));
    memcpy(machine->uuid, uuid, sizeof(machine->uuid));
}

static void set_members(void *self, const struct raft_conf *conf)
{
    (void)self;
    (void)conf;
}

static void flush(void *self)
{
    (void)self;
}

static struct node_env env_of(struct machine *machine)
{
    return (struct node_env){
        .self = machine,
        .now_ms = env_now_ms,
        .now_us = env_now_us,
        .entropy = env_entropy,
        .fs = simdisk_fs(machine->disk),
        .sqlite_vfs = simvfs_name,
        .transport = {.self = machine,
                      .output = output,
                      .set_self = set_self,
                      .set_members = set_members,
                      .flush = flush},
    };
}

static struct node_options options_of(const struct machine *machine)
{
    return (struct node_options){
        .name = machine->name,
        .raft_addr = machine->name,
        .heartbeat_ms = 20,
        .election_min_ms = 100,
        .election_max_ms = 200,
        .proposals_max = 64,
        .proposals_bytes_max = 1 << 20,
        .segment_bytes = SEGMENT,
        .reserve_bytes = 4096,
        .log_keep_bytes = 2 * SEGMENT,
        .checkpoint_bytes = 12 * 4096,
        .snapshot_piece_bytes = 8192,
    };
}

static void machine_init(struct machine *machine, const char *name, int mount,
                         struct simdisk *disk, uint64_t seed)
{
    *machine = (struct machine){
        .name = name, .mount = mount, .disk = disk, .now_ms = 1000};
    rng_init(&machine->rng, seed);
    simvfs_mount(mount, disk);
}

static enum err start(struct machine *machine, bool joining)
{
    struct node_env env = env_of(machine);
    struct node_options options = options_of(machine);
    options.joining = joining;
    return node_open(&options, &env, &machine->node);
}

static void stop(struct machine *machine)
{
    node_close(machine->node);
    machine->node = NULL;
    buf_free(&machine->out);
}

static void deliver(struct machine *from, struct machine *to)
{
    struct buf frames = from->out;
    struct bytes left = buf_bytes(&frames);
    struct wire_frame frame;
    from->out = (struct buf){0};
    while (to->node && wire_frame(left, &frame) == ERR_OK) {
        CHECK(node_on_frame(to->node, from->id, &frame));
        left.data += frame.size_bytes;
        left.size -= frame.size_bytes;
    }
    buf_free(&frames);
}

static void turn(struct machine *machine)
{
    machine->now_ms += TURN_MS;
    (void)node_turn(machine->node);
}

/* ---- rows ---- */

/* A row's value is the number of its write, repeated. */
static void put_value(struct buf *out, unsigned number, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        buf_add_u16(out, (uint16_t)number);
    }
}

static unsigned number_of(struct bytes value)
{
    CHECK(value.size >= 2 && value.size % 2 == 0);
    unsigned number = load_u16(value.data);
    for (size_t at = 0; at < value.size; at += 2) {
        CHECK(load_u16(value.data + at) == number);
    }
    return number;
}

static void on_written(struct node_request *request,
                       const struct node_result *result)
{
    struct write *write = (struct write *)(void *)request;
    CHECK(result->outcome == NODE_OK);
    write->index = result->index;
    run.acked = max_u64(run.acked, result->index);
    crash_promised();
}
_Static_assert(offsetof(struct write, request) == 0, "the cast above");

static void put(struct machine *machine, unsigned key, size_t size)
{
    static struct buf value;
    static struct buf command;
    struct command_writer writer;
    uint8_t name = (uint8_t)('a' + key);
    unsigned number = ++run.write_count;
    CHECK(number <= WRITES_MAX && key < KEYS);
    struct write *write = &run.writes[number];
    *write = (struct write){
        .request = {.cb = on_written, .deadline_ms = UINT64_MAX}, .key = key};
    crash_promised();
    value.size = 0;
    command.size = 0;
    put_value(&value, number, size);
    command_begin(&writer, &command);
    command_put(&writer, bytes_of(&name, 1), buf_bytes(&value));
    command_end(&writer);
    node_write(machine->node, &write->request, buf_bytes(&command));
    buf_free(&value);
    buf_free(&command);
}

/* The newest write of `key` that was acknowledged by `applied`. */
static unsigned newest(unsigned key, uint64_t applied)
{
    unsigned number = 0;
    for (unsigned i = 1; i <= run.write_count; i++) {
        const struct write *write = &run.writes[i];
        if (write->key == key && write->index > 0 && write->index <= applied) {
            number = i;
        }
    }
    return number;
}

/* Check the rows against the writes up to the applied index. Returns a digest.
 */
static uint64_t check_rows(struct node *node)
{
    uint64_t applied = node_applied(node);
    uint64_t digest = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        uint8_t name = (uint8_t)('a' + key);
        struct store_row row;
        unsigned least = newest(key, applied);
        enum err err = node_get(node, bytes_of(&name, 1), &row);
        CHECK(err == ERR_OK || (err == ERR_NOT_FOUND && least == 0));
        if (!err) {
            unsigned number = number_of(row.value);
            CHECK(number >= 1 && number <= run.write_count);
            const struct write *write = &run.writes[number];
            CHECK(write->key == key && row.modify_index <= applied);
            CHECK(number >= least);
            CHECK(write->index == 0 || write->index == row.modify_index);
            digest = mix_u64(digest ^ number << 8 ^ key) + row.value.size;
        }
    }
    return digest;
}

static struct node_status status_of(struct node *node)
{
    struct node_status status;
    node_get_status(node, &status);
    return status;
}

/* Run until it leads and has applied its whole log. */
static void until_ready(struct machine *machine)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        struct node_status status = status_of(machine->node);
        if (status.raft.leader_ready && status.applied == status.raft.last) {
            return;
        }
        turn(machine);
    }
    crash_failed(__FILE__, __LINE__, "the node becomes ready");
}

/* The recovered node, alone: it starts, and has every acknowledged write. */
static uint64_t check_start(struct machine *found)
{
    CHECK(start(found, false) == ERR_OK);
    struct node_status status = status_of(found->node);
    CHECK(status.raft.last >= run.acked);
    if (status.applied < run.acked) {
        crash_reached(REACHED_BEHIND);
    }
    (void)check_rows(found->node);
    until_ready(found);
    CHECK(node_applied(found->node) >= run.acked);
    uint64_t digest = check_rows(found->node);
    stop(found);
    return digest;
}

static void found_init(struct machine *found, struct simdisk *disk, int mount)
{
    machine_init(found, "n1", mount, disk, 77);
}

/* ---- a node alone ---- */

static uint64_t recover_node(struct simdisk *disk, int mount)
{
    static struct machine places[DISKS];
    struct machine *found =
        &places[mount]; /* Reentrant: a recovery runs within another. */
    found_init(found, disk, mount);
    return check_start(found);
}

static void begin(uint64_t seed, const char *name)
{
    memset(&run, 0, sizeof(run));
    rng_init(&run.rng, seed);
    machine_init(&run.own, name, DISK_RUN, crash_disk(seed), seed);
}

static void end(void)
{
    simdisk_set_hook(run.own.disk, NULL, NULL);
    if (run.own.node) {
        stop(&run.own);
    }
    simdisk_free(run.own.disk);
    for (unsigned i = 1; i <= run.write_count; i++) {
        node_request_free(&run.writes[i].request);
    }
}

/* The last write is answered last. */
static bool is_answered(unsigned number)
{
    return number == 0 || run.writes[number].index > 0;
}

static void some_writes(struct machine *machine, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        for (uint64_t n = rng_below(&run.rng, 4); n > 0; n--) {
            put(machine, (unsigned)rng_below(&run.rng, KEYS),
                1 + rng_below(&run.rng, VALUE_BYTES_MAX / 2));
        }
        for (uint64_t n = rng_below(&run.rng, 8); n > 0; n--) {
            turn(machine);
        }
    }
    /* Asynchronous operations take as many turns as chance will have. */
    for (unsigned i = 0; i < TURNS_MAX && !is_answered(run.write_count); i++) {
        turn(machine);
    }
    CHECK(is_answered(run.write_count));
    for (unsigned i = 0; i < 8; i++) {
        turn(machine); /* Idle turns, in which it flushes. */
    }
}

static void run_node(uint64_t seed)
{
    begin(seed, "n1");
    crash_watch(run.own.disk);
    CHECK(start(&run.own, false) == ERR_OK);
    until_ready(&run.own);
    some_writes(&run.own, 16);
    stop(&run.own);
    CHECK(start(&run.own, false) == ERR_OK);
    until_ready(&run.own);
    some_writes(&run.own, 16);
    end();
}

/* ---- a received snapshot ---- */

/* The log on the disk ends where the node says, or the leader's next entry
 * would not fit behind it. */
static void check_log(const struct machine *found,
                      const struct node_status *status)
{
    struct wal *wal;
    struct wal_options options = {.fs = simdisk_fs(found->disk),
                                  .segment_bytes = SEGMENT};
    memcpy(options.cluster, found->cluster, sizeof(options.cluster));
    memcpy(options.uuid, found->uuid, sizeof(options.uuid));
    CHECK(wal_open(&options, NULL, NULL, &wal) == ERR_OK);
    CHECK(wal_last(wal) == status->raft.last);
    CHECK(wal_first(wal) <= status->applied + 1);
    wal_close(wal);
}

/* Without the leader it cannot become ready; its state must be correct. */
static uint64_t recover_install(struct simdisk *disk, int mount)
{
    static struct machine places[DISKS];
    struct machine *found =
        &places[mount]; /* Reentrant: a recovery runs within another. */
    machine_init(found, "n2", mount, disk, 77);
    CHECK(start(found, true) == ERR_OK);
    struct node_status status = status_of(found->node);
    uint64_t digest = 0;
    CHECK(status.member || run.matched == 0);
    if (status.member) {
        CHECK(status.raft.last >= run.matched);
        CHECK(status.raft.last >= status.applied);
        CHECK(memcmp(status.cluster, run.other.cluster, 16) == 0);
        digest = mix_u64(check_rows(found->node) ^ status.applied << 32 ^
                         status.raft.last ^ status.raft.term << 16);
    }
    stop(found);
    if (status.member) {
        check_log(found, &status);
    }
    return digest;
}

static void note_match(void)
{
    struct node_status status = status_of(run.other.node);
    for (uint32_t i = 0; i < status.raft.peer_count; i++) {
        const struct raft_peer_status *peer = &status.raft.peers[i];
        if (peer->id != run.other.id && peer->match > run.matched) {
            run.matched = peer->match;
            crash_promised();
        }
    }
}

static void turn_both(void)
{
    turn(&run.other);
    deliver(&run.other, &run.own);
    turn(&run.own);
    deliver(&run.own, &run.other);
    note_match();
}

static void link_both(void)
{
    static const struct wire_hello where_it_was; /* No address. */
    run.own.linked = true;
    run.other.linked = true;
    node_peer_up(run.own.node, run.other.id, &where_it_was);
    node_peer_up(run.other.node, run.own.id, &where_it_was);
}

static void adopt(void)
{
    struct wire_hello hello = {
        .from_id = run.other.id,
        .from_incarnation = run.other.incarnation,
        .to_id = status_of(run.other.node).conf->members[1].id,
    };
    memcpy(hello.cluster, run.other.cluster, sizeof(hello.cluster));
    memcpy(hello.from_uuid, run.other.uuid, sizeof(hello.from_uuid));
    memcpy(hello.to_uuid, run.own.uuid, sizeof(hello.to_uuid));
    snprintf(hello.from_name, sizeof(hello.from_name), "n1");
    snprintf(hello.to_name, sizeof(hello.to_name), "n2");
    CHECK(node_adopt(run.own.node, &hello));
    link_both();
}

static void unlink_both(void)
{
    node_peer_down(run.own.node, run.other.id);
    node_peer_down(run.other.node, run.own.id);
    run.own.linked = false;
    run.other.linked = false;
    run.own.out.size = 0;
    run.other.out.size = 0;
}

static void on_joined(struct node_request *request,
                      const struct node_result *result)
{
    (void)request;
    CHECK(result->outcome == NODE_OK);
}

static void until_level(void)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        if (node_applied(run.own.node) == node_applied(run.other.node) &&
            i > 10) {
            (void)check_rows(run.own.node);
            return;
        }
        turn_both();
    }
    crash_failed(__FILE__, __LINE__, "it catches up");
}

/* More than the leader's log keeps, so that a snapshot is needed. */
static void fall_behind(void)
{
    for (int i = 0; i < 6; i++) {
        some_writes(&run.other, 12);
    }
}

static void run_install(uint64_t seed)
{
    struct node_request join = {.cb = on_joined, .deadline_ms = UINT64_MAX};
    struct raft_member member = {.suffrage = RAFT_OBSERVER};
    begin(seed, "n2");
    machine_init(&run.other, "n1", DISK_OTHER, crash_disk(seed + 1), seed + 1);
    CHECK(start(&run.other, false) == ERR_OK);
    until_ready(&run.other);
    fall_behind();
    crash_watch(run.own.disk);
    CHECK(start(&run.own, true) == ERR_OK);
    memcpy(member.uuid, run.own.uuid, sizeof(member.uuid));
    snprintf(member.name, sizeof(member.name), "n2");
    snprintf(member.addr, sizeof(member.addr), "n2");
    node_join(run.other.node, &join, &member);
    for (int i = 0; i < 4; i++) {
        turn(&run.other);
    }
    adopt();
    until_level();
    uint64_t first = status_of(run.own.node).raft.base;
    some_writes(&run.other, 4);
    until_level();
    /* Behind again: now the snapshot replaces a log. */
    unlink_both();
    fall_behind();
    link_both();
    until_level();
    if (status_of(run.own.node).raft.base > first) {
        crash_reached(REACHED_INSTALL);
    }
    simdisk_set_hook(run.own.disk, NULL, NULL);
    node_request_free(&join);
    stop(&run.other);
    simdisk_free(run.other.disk);
    end();
}

/* ---- recover and restore ---- */

static void lead_and_write(struct machine *machine)
{
    CHECK(start(machine, false) == ERR_OK);
    until_ready(machine);
    some_writes(machine, 14);
}

static uint64_t recover_recover(struct simdisk *disk, int mount)
{
    static struct machine places[DISKS];
    struct machine *found =
        &places[mount]; /* Reentrant: a recovery runs within another. */
    struct node_new_cluster founded;
    found_init(found, disk, mount);
    struct node_env env = env_of(found);
    struct node_options options = options_of(found);
    enum err err = start(found, false);
    CHECK(err == ERR_OK || (err == ERR_INVALID && !run.over));
    if (!err) {
        stop(found);
    } else {
        crash_reached(REACHED_INTERRUPTED);
        CHECK(node_recover(&options, &env, false, &founded) == ERR_OK);
    }
    return check_start(found);
}

static void run_recover(uint64_t seed)
{
    struct node_new_cluster founded;
    begin(seed, "n1");
    lead_and_write(&run.own);
    stop(&run.own);
    struct node_env env = env_of(&run.own);
    struct node_options options = options_of(&run.own);
    crash_watch(run.own.disk);
    CHECK(node_recover(&options, &env, false, &founded) == ERR_OK);
    run.over = true;
    crash_promised();
    (void)check_start(&run.own);
    end();
}

static enum err restore(struct machine *machine)
{
    struct node_new_cluster founded;
    struct node_env env = env_of(machine);
    struct node_options options = options_of(machine);
    return node_restore(&options, &env, run.backup, "backup", &founded);
}

/* The command is complete, or can be repeated. */
static uint64_t recover_restore(struct simdisk *disk, int mount)
{
    static struct machine places[DISKS];
    struct machine *found =
        &places[mount]; /* Reentrant: a recovery runs within another. */
    found_init(found, disk, mount);
    enum err err = restore(found);
    CHECK(err == ERR_EXISTS || (err == ERR_OK && !run.over));
    if (!err) {
        crash_reached(REACHED_INTERRUPTED);
    }
    return check_start(found);
}

static void checkpointed(struct node_request *request,
                         const struct node_result *result)
{
    (void)request;
    CHECK(result->outcome == NODE_OK);
}

static void checkpoint(struct machine *machine)
{
    struct node_request request = {.cb = checkpointed,
                                   .deadline_ms = UINT64_MAX};
    node_checkpoint(machine->node, &request);
    while (request.state != 0) {
        turn(machine);
    }
}

static void take_backup(struct machine *machine, const struct fs *to)
{
    checkpoint(machine);
    uint64_t index;
    uint64_t bytes;
    int handle;
    struct store_image *image;
    CHECK(node_image_open(machine->node, &image, &index, &bytes) == ERR_OK);
    CHECK(index >= run.acked);
    uint8_t *data = mem_alloc(bytes);
    CHECK(node_image_read(image, data, bytes) == ERR_OK);
    CHECK(to->open(to->self, "backup", FS_CREATE, &handle) == ERR_OK);
    CHECK(to->write(to->self, handle, 0, data, bytes) == ERR_OK);
    to->close(to->self, handle);
    mem_free(data);
    node_image_close(image);
}

static void run_restore(uint64_t seed)
{
    struct fs *backup = fs_memory_new();
    begin(seed, "n1");
    machine_init(&run.other, "n1", DISK_OTHER, crash_disk(seed + 1), seed + 1);
    lead_and_write(&run.other);
    run.backup = backup;
    take_backup(&run.other, backup);
    stop(&run.other);
    simdisk_free(run.other.disk);
    crash_watch(run.own.disk);
    CHECK(restore(&run.own) == ERR_OK);
    run.over = true;
    crash_promised();
    (void)check_start(&run.own);
    end();
    fs_memory_free(backup);
}

const struct workload workload_node = {
    .name = "node", .run = run_node, .recover = recover_node, .bits_max = 6};
const struct workload workload_install = {.name = "install",
                                          .run = run_install,
                                          .recover = recover_install,
                                          .bits_max = 6};
const struct workload workload_recover = {.name = "recover",
                                          .run = run_recover,
                                          .recover = recover_recover,
                                          .bits_max = 6};
const struct workload workload_restore = {.name = "restore",
                                          .run = run_restore,
                                          .recover = recover_restore,
                                          .bits_max = 6};
