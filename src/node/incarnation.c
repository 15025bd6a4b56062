/* incarnation.c -- the newest incarnation of every other member's directory,
 * on disk. An incarnation is one start of the process in a directory; the log
 * counts them.
 *
 * STARTS, little-endian:
 *     magic "CRAFTDST" | u32 crc32c of what follows | u32 format = 1 |
 *     STARTS_MAX rows: u64 id | uuid[16] | u64 incarnation | u64 nonce
 *
 * A directory that was copied, or rolled back, lacks votes and entries that its
 * node has acknowledged since. It is recognised by a start that is not newer
 * than the newest one seen. The file makes that outlive a restart of this node.
 * It is written, synced, before a newer start is accepted: once per start of a
 * peer, in the handshake, and never for a message.
 *
 * A start that is more than STARTS_JUMP_MAX ahead of the newest one is refused:
 * no directory is started so often, and if it were recorded, the real owner
 * would be refused as an old copy for ever. Only members have rows in the file,
 * so that a stranger costs no write; the start of a node that becomes a member
 * later is written then.
 *
 * Limits: a node that was down during the newer start does not know of it; a
 * copy that has been started as often as the member since is not older by this
 * count; and without space, or after damage to the file, only the starts that
 * this process has seen are known. */
#include "base/log.h"
#include "node/files.h"
#include "node/member_internal.h"
#include "node/node_internal.h"

enum {
    STARTS_FORMAT = 1,
    AT_ROWS = FILE_HEADER_BYTES,
    ROW_BYTES = 8 + RAFT_UUID_BYTES + 8 + 8,
    STARTS_BYTES = AT_ROWS + STARTS_MAX * ROW_BYTES,
};

#define STARTS_JUMP_MAX ((uint64_t)1 << 32)

static const char magic[8] = {'C', 'R', 'A', 'F', 'T', 'D', 'S', 'T'};

static void encode(const struct node *node, uint8_t data[STARTS_BYTES])
{
    memset(data, 0, STARTS_BYTES);

    for (int i = 0; i < STARTS_MAX; i++) {
        const struct start *start = &node->starts.members[i];
        uint8_t *row = data + AT_ROWS + i * ROW_BYTES;
        store_u64(row, start->id);
        memcpy(row + 8, start->uuid, RAFT_UUID_BYTES);
        store_u64(row + 24, start->incarnation);
        store_u64(row + 32, start->nonce);
    }
    file_seal(data, STARTS_BYTES, magic, STARTS_FORMAT);
}

static enum err decode(struct node *node, const uint8_t *data, size_t size)
{
    enum err err = size == STARTS_BYTES
                       ? file_check(data, size, magic, STARTS_FORMAT)
                       : ERR_CORRUPT;
    if (err) {
        return err == ERR_VERSION ? err : ERR_CORRUPT;
    }
    for (int i = 0; i < STARTS_MAX; i++) {
        const uint8_t *row = data + AT_ROWS + i * ROW_BYTES;
        struct start *start = &node->starts.members[i];
        *start = (struct start){.id = load_u64(row),
                                .incarnation = load_u64(row + 24),
                                .nonce = load_u64(row + 32)};
        memcpy(start->uuid, row + 8, RAFT_UUID_BYTES);
    }
    return ERR_OK;
}

enum err incarnation_read(struct node *node)
{
    uint8_t *data = NULL;
    size_t size = 0;
    enum err err =
        fs_read_all(node->env.fs, "STARTS", STARTS_BYTES, &data, &size);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    if (!err) {
        err = decode(node, data, size);
        mem_free(data);
    }
    if (err == ERR_CORRUPT || err == ERR_TOO_BIG) {
        log_warn("starts", "file=STARTS why=\"damaged: copies of other nodes' "
                           "directories are not known by it any more\"");
        return ERR_OK;
    }
    if (err) {
        log_error("starts", "file=STARTS why=\"%s\"", err_name(err));
    }
    return err;
}

/* The row of `id`; else one that it can have: a free one, or that of a node
 * which is no member any more. */
static struct start *find_row(struct node *node, raft_id id)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    struct start *row = NULL;
    for (int i = 0; i < STARTS_MAX; i++) {
        struct start *start = &node->starts.members[i];
        if (start->id == id) {
            return start;
        }
        bool is_free = start->id == 0;
        if (is_free ? !row || row->id != 0
                    : !row && !raft_conf_find(conf, start->id)) {
            row = start;
        }
    }
    must(row); /* There are more rows than members. */
    return row;
}

static void write_rows(struct node *node)
{
    uint8_t data[STARTS_BYTES];
    encode(node, data);
    enum err err = fs_replace(node->env.fs, ".", "STARTS", data, sizeof(data));
    if (err) {
        log_warn("starts", "file=STARTS why=\"%s\"", err_name(err));
    }
}

/* Record the start of a node that is not in the membership (yet), in memory,
 * in place of the oldest. */
static void record_stranger(struct node *node, const struct start *start)
{
    struct start *row = &node->starts.strangers[node->starts.strangers_next];
    for (int i = 0; i < STARTS_MAX; i++) {
        if (node->starts.strangers[i].id == start->id) {
            row = &node->starts.strangers[i];
        }
    }
    if (row == &node->starts.strangers[node->starts.strangers_next]) {
        node->starts.strangers_next =
            (node->starts.strangers_next + 1) % STARTS_MAX;
    }
    *row = *start;
}

void incarnation_members_changed(struct node *node)
{
    bool any = false;
    for (int i = 0; i < STARTS_MAX; i++) {
        struct start *start = &node->starts.strangers[i];
        const struct raft_member *member =
            start->id == 0
                ? NULL
                : raft_conf_find(raft_conf_active(node->raft), start->id);
        if (!member) {
            continue;
        }
        if (!raft_uuid_is_known(member->uuid) ||
            memcmp(member->uuid, start->uuid, sizeof(start->uuid)) == 0) {
            *find_row(node, start->id) = *start;
            any = true;
        }
        *start = (struct start){0};
    }
    if (any) {
        write_rows(node);
    }
}

const char *node_on_start(struct node *node, const struct wire_hello *hello)
{
    struct start start = {.id = hello->from_id,
                          .incarnation = hello->from_incarnation,
                          .nonce = hello->from_nonce};
    memcpy(start.uuid, hello->from_uuid, sizeof(start.uuid));
    if (!node->member) {
        return NULL;
    }
    struct start *row = find_row(node, start.id);
    bool is_same = row->id == start.id &&
                   memcmp(row->uuid, start.uuid, sizeof(row->uuid)) == 0;
    uint64_t newest = is_same ? row->incarnation : 0;
    if (start.incarnation < newest ||
        (is_same && start.incarnation == newest && start.nonce != row->nonce)) {
        return "an older or second copy of this directory: a newer start of it "
               "has been seen";
    }
    if (start.incarnation - newest > STARTS_JUMP_MAX) {
        return "the count of this directory's starts is out of all proportion";
    }
    if (is_same && start.incarnation == newest) {
        return NULL;
    }
    if (raft_conf_find(raft_conf_active(node->raft), start.id)) {
        *row = start;
        write_rows(node);
    } else {
        record_stranger(node, &start);
    }
    return NULL;
}
