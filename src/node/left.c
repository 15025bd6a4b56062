/* left.c -- a directory whose member has left the cluster by its own will.
 *
 * The directory is marked (file LEFT) when the removal is committed. Started
 * with --join the node is a newcomer, with another uuid. Its data stays until a
 * cluster has accepted it: the members that it asks may be gone for ever, and
 * then this is the last copy. Then IDENT is removed first, so that a crash does
 * not leave half a member behind, and LEFT last. */
#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"

void node_mark_left(struct node *node)
{
    must(node->member);
    enum err err = ident_mark_left(node->env.fs, node->ident.uuid);
    if (err) {
        log_warn("left",
                 "file=LEFT why=\"%s: empty the directory to join "
                 "anew\"",
                 err_name(err));
    }
}

enum err left_read(struct node *node, bool *known)
{
    uint8_t uuid[RAFT_UUID_BYTES];
    enum err err = ident_read_left(node->env.fs, uuid);
    if (err) {
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    if (*known && memcmp(uuid, node->ident.uuid, sizeof(uuid)) != 0) {
        return ident_remove_left(node->env.fs); /* The previous member's. */
    }
    if (!node->options.joining && !*known) {
        log_error("left",
                  "why=\"leftovers of a member that has left its cluster: "
                  "start it with --join, or empty the directory\"");
        return ERR_INVALID;
    }
    if (!node->options.joining) {
        log_warn("left", "why=\"this node has left its cluster: start it with "
                         "--join to join anew\"");
        return ERR_OK;
    }
    log_info("left",
             "number=%llu why=\"joining anew: the data of this "
             "directory goes when a cluster has accepted it\"",
             (unsigned long long)node->ident.id);
    node->rejoining = true;
    node->ident = (struct ident){0};
    *known = false;
    return ERR_OK;
}

enum err left_clear(struct node *node)
{
    must(!node->member);
    if (!node->rejoining) {
        return ERR_OK;
    }
    enum err err = ident_remove(node->env.fs);
    return err ? err : store_remove(node->env.fs);
}

enum err left_finish(struct node *node)
{
    bool was = node->rejoining;
    node->rejoining = false;
    return was ? ident_remove_left(node->env.fs) : ERR_OK;
}
