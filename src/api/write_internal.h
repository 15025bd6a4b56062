/* write_internal.h -- keys, values and writes: what the handlers of data share.
 */
#ifndef CRAFTD_API_WRITE_INTERNAL_H
#define CRAFTD_API_WRITE_INTERNAL_H

#include "api/conn_internal.h"
#include "command/command.h"
#include "command/result.h"
#include "http/http.h"

struct json_reader;

/* Bound on the operations of a transaction, both lists together, and on its
 * conditions. */
enum { TXN_OPS_MAX = 512 };

/* The kind of a request, part of what an Idempotency-Key stands for: the same
 * key with a request of another kind is refused (command_sign()). Kinds are in
 * the log, so a number keeps its meaning. */
enum write_kind {
    KIND_POST = 1,
    KIND_PUT = 2,
    KIND_DELETE = 3,
    KIND_TXN = 4,
    KIND_CREATE = 5,
    KIND_REPLACE = 6,
    KIND_REMOVE = 7,
    KIND_TOUCH = 8,
    KIND_GRANT = 9,
    KIND_KEEP = 10,
    KIND_REVOKE = 11,
};

/* ---- keys and values: keys.c, accept.c ---- */

/* Put the rest of the path behind `root` ("/key/"), percent-decoded once, into
 * conn->request.key. False: it is no key; answered 400. */
bool api_read_key(struct conn *conn, struct bytes path, const char *root);
/* The fault of a key, a few words. NULL: it has none. */
const char *api_key_wrong(struct bytes key);
/* Add the value as a member of an object: "value", or "value_base64" when it is
 * not UTF-8. */
void api_add_value(struct buf *out, struct bytes value);

/* Returns whether Accept asks for the bytes of a value rather than JSON. */
bool api_accepts_raw(const struct http_request *request);
/* Returns whether Accept-Encoding prefers a compressed answer, or is content
 * with it.
 */
bool api_accepts_gzip(const struct http_request *request);

/* ---- what a write depends on: conditions.c ---- */

/* An entity tag. One that this cluster cannot have given out has the index
 * UINT64_MAX. */
struct tag {
    bool weak;
    uint64_t index;
};
/* Take the next entity tag off the front of the list `rest`.
 *
 * ERR_NOT_FOUND  there are no more
 * ERR_INVALID    what follows is no tag */
MUST_CHECK enum err api_next_tag(struct bytes *rest, struct tag *tag);
/* Returns whether a list of If-None-Match, or "*", names the tag of `index`, by
 * weak comparison (RFC 9110 13.1.2). */
bool api_has_tag(struct bytes tags, uint64_t index);
/* Returns whether the request has If-Match, If-None-Match or ?cas=. */
bool api_has_conditions(const struct conn *conn,
                        const struct http_request *request);
/* Add what they demand of `key` to the list of conditions in `writer`. False:
 * they are malformed; answered 400. */
bool api_add_conditions(struct conn *conn, const struct http_request *request,
                        struct bytes key, struct command_writer *writer);
/* Read Idempotency-Key; empty when there is none. False: answered 400. */
bool api_read_name(struct conn *conn, const struct http_request *request,
                   struct command_name *name);

/* ---- bodies, commands and their results: submit.c ---- */

/* Sign the command, so that a repeat by the same user, and by nobody else, gets
 * its result. */
void api_sign(struct conn *conn, const struct command_txn *txn,
              enum write_kind kind);
/* Submit the command in api->command; `finish` answers the request. */
void api_submit(struct conn *conn, conn_finish *finish);
/* Submit a command of one operation on one key, on the conditions of the
 * headers and on `first` (NULL: none). */
void api_submit_one(struct conn *conn, const struct http_request *request,
                    const struct command_name *name,
                    const struct command_condition *first,
                    const struct command_op *op, enum write_kind kind,
                    conn_finish *finish);
/* Read the head of the result of a write, and add the headers that go with it.
 * False: the write failed, which has been answered. */
bool api_read_result(struct conn *conn, const struct node_result *result,
                     struct result_reader *reader);
/* Add the header that tells a repeated answer, if this is one. */
void api_add_replayed(struct conn *conn, const struct result_reader *reader);
/* Read the body of the request as JSON. It is overwritten (json.h). */
void api_json_init(struct json_reader *reader,
                   const struct http_request *request);
/* Answer 400: `why` the body is not the JSON expected, and at which byte. */
void api_bad_json(struct conn *conn, const struct json_reader *reader,
                  const char *why);
/* Answer 413: a value is over --max-value. */
void api_value_too_large(struct conn *conn);

/* ---- handlers: writes.c, erase.c ---- */

/* Returns whether the head of a write is reason enough to refuse or redirect
 * it, before its body has come. True: answered. */
bool api_write_refused(struct conn *conn, const struct http_request *request,
                       bool is_put_key);
/* Returns whether a deletion of many keys may go on: its headers hold no
 * condition and no Idempotency-Key, and it is not redirected. False: answered.
 */
bool api_erase_allowed(struct conn *conn, const struct http_request *request);

#endif
