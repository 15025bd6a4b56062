/* message.c -- validates messages of the network. A peer may be old, broken or
 * an impostor: nothing that it sends may reach a must(). Each rule here is one
 * that a correct node cannot break, so a message that breaks it is dropped and
 * leaves the engine as it was. */
#include "raft/raft_internal.h"

static bool entries_are_sound(const struct raft_message *m)
{
    if (m->entry_count > RAFT_APPEND_ENTRIES_MAX ||
        (m->entry_count > 0 && !m->entries)) {
        return false;
    }
    uint64_t term = m->log_term;
    for (uint32_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *entry = &m->entries[i];
        if (entry->term < term || entry->term == 0 || entry->term > m->term) {
            return false;
        }
        term = entry->term;
        switch (entry->type) {
        case RAFT_ENTRY_NORMAL:
        case RAFT_ENTRY_NOOP:
            if (entry->conf) {
                return false;
            }
            continue;
        case RAFT_ENTRY_CONF:
            if (!entry->conf || !raft_conf_is_sound(entry->conf)) {
                return false;
            }
            continue;
        }
        return false; /* No such type. */
    }
    return true;
}

/* The first index up to `limit` at which this append has another entry than
 * this log; 0: none. */
static uint64_t first_difference(const struct raft *raft,
                                 const struct raft_message *m, uint64_t limit)
{
    if (m->log_index >= raft->log.base && m->log_index <= limit &&
        raft_term_at(raft, m->log_index) != m->log_term) {
        return m->log_index;
    }
    for (uint32_t i = 0; i < m->entry_count; i++) {
        uint64_t index = m->log_index + 1 + i;
        if (index > limit) {
            break;
        }
        if (index >= raft->log.base &&
            raft_term_at(raft, index) != m->entries[i].term) {
            return index;
        }
    }
    return 0;
}

/* Every leader's log holds all committed entries (leader completeness, thesis
 * 3.6.3): after a contradiction, one of the two nodes has lost entries. */
uint64_t raft_contradiction(const struct raft *raft,
                            const struct raft_message *m)
{
    return m->type == RAFT_MSG_APPEND && m->term >= raft->term
               ? first_difference(raft, m, raft->commit)
               : 0;
}

/* Within its term a leader never replaces entries that were found equal to its
 * log (3.5). */
static bool agrees_with_verified(const struct raft *raft,
                                 const struct raft_message *m)
{
    return m->term != raft->term ||
           first_difference(raft, m, raft->verified) == 0;
}

/* At most one leader a term (3.4). */
static bool may_be_leader(const struct raft *raft, const struct raft_message *m)
{
    if (m->term == 0) {
        return false;
    }
    if (m->term != raft->term) {
        return true;
    }
    return raft->role != RAFT_LEADER &&
           (raft->leader == 0 || raft->leader == m->from);
}

static bool append_is_sound(const struct raft *raft,
                            const struct raft_message *m)
{
    if (!may_be_leader(raft, m) || m->log_term > m->term ||
        (m->log_index == 0) != (m->log_term == 0) || !entries_are_sound(m)) {
        return false;
    }
    return m->term < raft->term || raft_contradiction(raft, m) != 0 ||
           agrees_with_verified(raft, m);
}

static bool append_resp_is_sound(const struct raft *raft,
                                 const struct raft_message *m)
{
    if (m->term != raft->term) {
        return true;
    }
    /* An answer in our own term is an answer to us, and our log of this term
     * only grew since. */
    if (raft->role == RAFT_LEADER && m->match > raft->log.last) {
        return false;
    }
    return m->granted || (m->log_index <= m->match && m->log_term <= m->term);
}

static bool last_entry_is_sound(const struct raft_message *m)
{
    return m->log_term <= m->term && (m->log_index == 0) == (m->log_term == 0);
}

static bool fields_are_sound(const struct raft *raft,
                             const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_MSG_PREVOTE:
        return last_entry_is_sound(m);
    case RAFT_MSG_VOTE:
    case RAFT_MSG_TIMEOUT_NOW:
        return m->term > 0 && last_entry_is_sound(m);
    case RAFT_MSG_PREVOTE_RESP:
    case RAFT_MSG_VOTE_RESP:
        return true;
    case RAFT_MSG_APPEND:
        return append_is_sound(raft, m);
    case RAFT_MSG_APPEND_RESP:
        return append_resp_is_sound(raft, m);
    case RAFT_MSG_HEARTBEAT:
        return may_be_leader(raft, m);
    case RAFT_MSG_HEARTBEAT_RESP:
        return m->term != raft->term || raft->role != RAFT_LEADER ||
               m->round <= raft->round;
    case RAFT_MSG_READ:
    case RAFT_MSG_READ_RESP:
        return m->term > 0 && m->round > 0;
    }
    return false; /* No such type. */
}

/* Requests of candidates and leaders are accepted from any sender: it may have
 * become a member by an entry that has not arrived here yet (thesis 4.1), and a
 * node that has just joined knows no members. All other messages answer a
 * request to a member, or are a follower's requests to its leader. From a node
 * that is no member they are refused: they could commit an entry that no
 * majority holds, or depose the leader by their term. The leader that this node
 * follows is accepted: it may have removed itself. */
bool raft_sender_is_known(const struct raft *raft, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_VOTE:
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
        return true;
    case RAFT_MSG_PREVOTE_RESP:
    case RAFT_MSG_VOTE_RESP:
    case RAFT_MSG_APPEND_RESP:
    case RAFT_MSG_HEARTBEAT_RESP:
    case RAFT_MSG_TIMEOUT_NOW:
    case RAFT_MSG_READ:
    case RAFT_MSG_READ_RESP:
        break;
    }
    return m->from == raft->leader ||
           raft_conf_find(raft_conf_active(raft), m->from) != NULL;
}

/* A node without a term accepts any: the cluster that it joins may have had
 * many elections. */
static bool term_is_near(const struct raft *raft, uint64_t term)
{
    uint64_t jump_max =
        term <= RAFT_NUMBER_SOUND ? RAFT_TERM_JUMP_MAX : RAFT_TERM_STEP_MAX;
    return raft->term == 0 || term <= raft->term ||
           term - raft->term <= jump_max;
}

enum err raft_message_check(const struct raft *raft,
                            const struct raft_message *m)
{
    if (m->from == 0 || m->from == raft->options.self ||
        m->to != raft->options.self) {
        return ERR_INVALID;
    }
    if (m->term >= RAFT_NUMBER_MAX || m->log_index >= RAFT_NUMBER_MAX ||
        m->log_term >= RAFT_NUMBER_MAX || m->commit >= RAFT_NUMBER_MAX ||
        m->match >= RAFT_NUMBER_MAX || !term_is_near(raft, m->term)) {
        return ERR_INVALID;
    }
    if (!fields_are_sound(raft, m)) {
        return ERR_INVALID;
    }
    return raft_contradiction(raft, m) == 0 ? ERR_OK : ERR_MISMATCH;
}
