/* answer_internal.h -- answers and errors: answer.c, problem.c. */
#ifndef CRAFTD_API_ANSWER_INTERNAL_H
#define CRAFTD_API_ANSWER_INTERNAL_H

#include "base/bytes.h"
#include "node/node.h"

struct api;
struct conn;

/* ---- answers: answer.c ---- */

/* State shared by all answers. */
struct api_output {
    struct buf common;   /* Headers of every answer, with the Date of ... */
    uint64_t common_s;   /* ... this second of the reactor's clock. */
    struct buf indented; /* Scratch: the body of one answer, for ?pretty. */
    /* Upper bound on the answers that wait in streams, but for bodies in
     * pieces; and the turn in which they were counted last. */
    uint64_t bytes;
    uint64_t turn;
};

/* Answer the request, with the headers in api->headers besides the common ones.
 * `type` NULL: no Content-Type. JSON is indented here if ?pretty was given. The
 * connection then goes on with its next request, or ends. */
void api_answer(struct conn *conn, int status, const char *type,
                struct bytes body);

/* Returns whether an answer with a body of `size` bytes may be added to those
 * that wait for their clients. False: answered 429. Small answers need not ask.
 */
bool api_has_output_room(struct conn *conn, size_t size);

/* An answer in two parts: api_answer_head() writes the head, with the length of
 * the body; when the body has been written, api_answered() completes it. */
void api_answer_head(struct conn *conn, int status, const char *type,
                     uint64_t length);
void api_answered(struct conn *conn);
/* Write the head of an answer without a length: its end is that of its last
 * chunk, of which the headers tell, or of the connection. */
void api_answer_stream(struct conn *conn, int status, const char *type);
/* Begin a chunk at the end of `out`; returns its offset, for api_chunk_end(),
 * which fills in the size of what was added since, or removes an empty chunk.
 * api_chunk_last() ends the body. */
size_t api_chunk_begin(struct buf *out);
void api_chunk_end(struct buf *out, size_t at);
void api_chunk_last(struct buf *out);
/* Returns whether ?pretty was given and `type` is JSON. */
bool api_is_to_indent(const struct conn *conn, const char *type);

/* ---- errors: problem.c ---- */

/* The member "outcome" of an error: the fate of the change that the request
 * asked for. */
enum outcome {
    OUTCOME_NONE,        /* The request asked for none: no such member. */
    OUTCOME_NOT_APPLIED, /* It was not made, and will not be. */
    OUTCOME_UNKNOWN,     /* It may have been made, or may be made yet. */
};

/* Answer an error (RFC 9457): its code, and a sentence that names the fault,
 * the limit and its flag, and what to do. */
void api_answer_problem(struct conn *conn, int status, const char *code,
                        const char *message, enum outcome outcome);
/* The same with further members of the object: `members` is JSON such as
 * ",\"name\":value". */
void api_answer_problem_with(struct conn *conn, int status, const char *code,
                             const char *message, enum outcome outcome,
                             const char *members);
/* Answer the error that `result` is; its outcome must not be NODE_OK. */
void api_answer_outcome(struct conn *conn, const struct node_result *result);
/* Add a key or a name in quotes, cut when it is long. */
void api_add_quoted(struct buf *out, struct bytes name);
/* Answer 404: no `kind` ("key", "member") has the name in conn->request.key.
 */
void api_answer_no_such(struct conn *conn, const char *kind,
                        enum outcome outcome);
/* Add a sentence: why a quarantined node answers no reads, and what to do. */
void api_explain_contradiction(const struct node_contradiction *contradiction,
                               struct buf *out);
/* A sentence that this node has been removed from its cluster. It is in
 * api->message. */
const char *api_removed_text(struct api *api, const struct node_status *status);
/* Add a sentence: which other cluster counts this node as its member, and what
 * to do. */
void api_explain_second_cluster(const struct node_foreign *foreign,
                                struct buf *out);
/* A conn_finish: answer 200 without a body, or the error. */
void api_finish_plain(struct conn *conn, const struct node_result *result);

#endif
