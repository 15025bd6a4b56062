/* foreign.c -- another cluster counts this node as its member.
 *
 * A founder that has lost its directory and starts with its usual command line,
 * which has no --join, founds a second cluster, empty and ready, where clients
 * expect the first. The members of the first keep dialling it at the address of
 * their member, and their HELLO names the directory that they expect there,
 * which is another one. That is the evidence, and it stops a cluster of one:
 * the node takes no writes, answers no reads but those of its own state, and is
 * not ready. Before it founds a first cluster the node may listen for such a
 * HELLO (options.bootstrap_wait_ms).
 *
 * HELLO is not authenticated, so the rule is narrow. It applies to a node that
 * founded its cluster (number 1), perhaps on a backup, and is alone in it; an
 * established cluster is never stopped. A recovered node has another number: by
 * `craftd recover` the operator states that a majority of the old cluster is
 * lost, and a HELLO may come from the rest of it. A member that was added by
 * hand and never reached has no directory in HELLO, and is no evidence. Any
 * machine that reaches the Raft port can still stop a cluster of one, until it
 * is started with --bootstrap-anyway; nothing is deleted.
 *
 * File FOREIGN, little-endian, written on the first such HELLO:
 *     magic "CRAFTDFC" | u32 crc32c of what follows | u32 format = 1 |
 *     cluster[16] | name[64] | addr[256] | http[256]
 * (of the member that dialled). With it the state outlives a restart; otherwise
 * the node would take writes again until the next HELLO, seconds later. It goes
 * with the directory, and with a start with --bootstrap-anyway. A file that is
 * damaged, or of a later format, still counts as evidence. */
#include <stdio.h>

#include "base/log.h"
#include "node/files.h"
#include "node/member_internal.h"
#include "node/node_internal.h"

enum {
    FOREIGN_FORMAT = 1,
    AT_CLUSTER = FILE_HEADER_BYTES,
    AT_NAME = AT_CLUSTER + 16,
    AT_ADDR = AT_NAME + RAFT_NAME_BYTES,
    AT_HTTP = AT_ADDR + RAFT_ADDR_BYTES,
    FOREIGN_BYTES = AT_HTTP + RAFT_ADDR_BYTES,
    FOUNDER_ID = 1, /* See bootstrap() in first_start.c. */
};
_Static_assert(RAFT_NAME_BYTES == 64 && RAFT_ADDR_BYTES == 256,
               "the sizes in the format");

static const char magic[8] = {'C', 'R', 'A', 'F', 'T', 'D', 'F', 'C'};
static const char file_name[] = "FOREIGN";

static bool decode(const uint8_t *data, size_t size,
                   struct node_foreign *foreign)
{
    if (size != FOREIGN_BYTES ||
        file_check(data, size, magic, FOREIGN_FORMAT) != ERR_OK) {
        return false;
    }
    memcpy(foreign->cluster, data + AT_CLUSTER, sizeof(foreign->cluster));
    memcpy(foreign->name, data + AT_NAME, RAFT_NAME_BYTES - 1);
    memcpy(foreign->addr, data + AT_ADDR, RAFT_ADDR_BYTES - 1);
    memcpy(foreign->http, data + AT_HTTP, RAFT_ADDR_BYTES - 1);
    return true;
}

static void add_text(uint8_t *out, const char *text, size_t room)
{
    memcpy(out, text, strnlen(text, room - 1));
}

static enum err write_foreign(const struct node *node)
{
    const struct node_foreign *foreign = &node->foreign;
    uint8_t data[FOREIGN_BYTES] = {0};

    memcpy(data + AT_CLUSTER, foreign->cluster, sizeof(foreign->cluster));
    add_text(data + AT_NAME, foreign->name, RAFT_NAME_BYTES);
    add_text(data + AT_ADDR, foreign->addr, RAFT_ADDR_BYTES);
    add_text(data + AT_HTTP, foreign->http, RAFT_ADDR_BYTES);
    file_seal(data, sizeof(data), magic, FOREIGN_FORMAT);
    return fs_replace(node->env.fs, ".", file_name, data, sizeof(data));
}

void foreign_report(const struct node *node)
{
    const struct node_foreign *foreign = node_foreign(node);
    if (!foreign) {
        return;
    }
    log_error("second-cluster",
              "member=%s addr=%s http=%s why=\"another cluster counts this "
              "node as its member: no writes are taken; empty the directory "
              "and start with --join, or start with --bootstrap-anyway\"",
              foreign->name, foreign->addr, foreign->http);
}

enum err foreign_read(struct node *node)
{
    const struct fs *fs = node->env.fs;
    uint8_t *data = NULL;
    size_t size = 0;
    enum err err = fs_read_all(fs, file_name, FOREIGN_BYTES, &data, &size);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    if (err && err != ERR_TOO_BIG) {
        log_error("open", "file=%s why=\"%s\"", file_name, err_name(err));
        return err;
    }
    if (node->options.bootstrap_anyway) {
        mem_free(data);
        log_warn("second-cluster", "why=\"kept by --bootstrap-anyway\"");
        return foreign_remove(node);
    }
    node->foreign = (struct node_foreign){.known = true};
    if (err || !decode(data, size, &node->foreign)) {
        log_warn("open", "file=%s why=\"it does not decode\"", file_name);
    }
    mem_free(data);
    return ERR_OK;
}

enum err foreign_remove(struct node *node)
{
    node->foreign.known = false;
    return file_remove(node->env.fs, file_name);
}

/* True when the cluster was founded here, and has no other member. */
static bool is_alone(const struct node *node)
{
    must(node->member);
    return (node->ident.id == FOUNDER_ID || node->ident.restored) &&
           raft_conf_active(node->raft)->count == 1;
}

static bool may_be_second(const struct node *node)
{
    return !node->options.bootstrap_anyway &&
           (node->member ? is_alone(node) : !node->options.joining);
}

const struct node_foreign *node_foreign(const struct node *node)
{
    return node->foreign.known && may_be_second(node) ? &node->foreign : NULL;
}

/* True when the sender expects a member here, in another directory than this
 * one. A node that has founded nothing yet needs less evidence: it only does
 * not found a cluster. */
static bool is_evidence(const struct node *node, const struct wire_hello *hello)
{
    if (hello->from_id == 0 || hello->to_id == 0) {
        return false;
    }
    return !node->member ||
           (memcmp(hello->cluster, node->ident.cluster, 16) != 0 &&
            raft_uuid_is_known(hello->to_uuid) &&
            memcmp(hello->to_uuid, node->ident.uuid, RAFT_UUID_BYTES) != 0);
}

void node_on_foreign(struct node *node, const struct wire_hello *hello)
{
    if (node->foreign.known || !may_be_second(node) ||
        !is_evidence(node, hello)) {
        return;
    }
    struct node_foreign *foreign = &node->foreign;
    *foreign = (struct node_foreign){.known = true};
    memcpy(foreign->cluster, hello->cluster, sizeof(foreign->cluster));
    snprintf(foreign->name, sizeof(foreign->name), "%s", hello->from_name);
    snprintf(foreign->addr, sizeof(foreign->addr), "%s", hello->from_addr);
    snprintf(foreign->http, sizeof(foreign->http), "%s", hello->from_http);
    node->bootstrap_at_ms = 0;
    foreign_report(node);
    enum err err = write_foreign(node);
    if (err) {
        /* After a restart the next HELLO is evidence again. */
        log_warn("second-cluster", "file=%s why=\"%s\"", file_name,
                 err_name(err));
    }
}
