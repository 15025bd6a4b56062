/* answer_internal.h -- answers and errors: answer.c, problem.c. */
#ifndef CRAFTD_API_ANSWER_INTERNAL_H
#define CRAFTD_API_ANSWER_INTERNAL_H

#include "base/bytes.h"
#include "node/node.h"

struct api;
struct conn;

/* ---- answers: answer.c ---- */

/* What all answers share. */
struct api_output {
    struct buf common;   /* Headers of every answer, with the Date of ... */
    uint64_t common_s;   /* ... this second of the reactor's clock. */
    struct buf indented; /* Scratch: the body of one answer, for ?pretty. */
    /* Upper bound on the answers that wait in streams, but for bodies in
     * pieces; and the turn in which they were counted last. */
    uint64_t bytes;
    uint64_t turn;
};

/* Extra headers are in api->headers ("Name: value\r\n"...). JSON is
 * indented here when that was asked for. */
void api_answer(struct conn *conn, int status, const char *type,
                struct bytes body);

/* Whether so much more may wait for clients to take it. False: answered 429;
 * small answers need not ask. */
bool api_has_output_room(struct conn *conn, size_t size);

/* An answer in two parts: the head, with the length of what follows, and, when
 * that has been written, the end. */
void api_answer_head(struct conn *conn, int status, const char *type,
                     uint64_t length);
void api_answered(struct conn *conn);
/* Whether an answer of that type is to be indented. */
bool api_is_to_indent(const struct conn *conn, const char *type);

/* ---- errors: problem.c ---- */

/* What an error says of the change that the request asked for. */
enum outcome {
    OUTCOME_NONE,        /* Nothing: the request asked for none. */
    OUTCOME_NOT_APPLIED, /* It was not made, and will not be. */
    OUTCOME_UNKNOWN,     /* It may have been made, or be made yet. */
};

/* Answer an error: a code of API 1, and a sentence. */
void api_answer_problem(struct conn *conn, int status, const char *code,
                        const char *message, enum outcome outcome);
/* `members` is JSON to be added to the object: ",\"name\":value". */
void api_answer_problem_with(struct conn *conn, int status, const char *code,
                             const char *message, enum outcome outcome,
                             const char *members);
void api_answer_outcome(struct conn *conn, const struct node_result *result);
/* A key or name for people: in quotes, cut where it is long. */
void api_add_quoted(struct buf *out, struct bytes name);
/* 404: there is no `kind` ("key", "member") of the name in conn->request.key.
 */
void api_answer_no_such(struct conn *conn, const char *kind,
                        enum outcome outcome);
/* Why this node answers no reads, and what to do. */
void api_explain_contradiction(const struct node_contradiction *contradiction,
                               struct buf *out);
/* That this node is no member any more; in api->message. */
const char *api_removed_text(struct api *api, const struct node_status *status);
/* Add a sentence: which cluster it is, and what to do. */
void api_explain_second_cluster(const struct node_foreign *foreign,
                                struct buf *out);
/* A conn_finish: 200 without a body, or the problem. */
void api_finish_plain(struct conn *conn, const struct node_result *result);

#endif
