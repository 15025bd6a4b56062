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

/* ---- keys and values: keys.c, accept.c ---- */

/* Put what follows `root` ("/key/") in the path, percent-decoded once, into
 * conn->request.key. False: it is no key, which has been answered. */
bool api_read_key(struct conn *conn, struct bytes path, const char *root);
/* What is wrong with a key, a few words; NULL: nothing. */
const char *api_key_wrong(struct bytes key);
/* Add the value as a member of an object: "value", or "value_base64" when it is
 * not UTF-8. */
void api_add_value(struct buf *out, struct bytes value);

/* Whether Accept asks for the bytes of a value rather than JSON. */
bool api_accepts_raw(const struct http_request *request);

/* ---- writes: writes.c ---- */

/* Whether the head of a write is reason enough to refuse or redirect it. True:
 * answered. */
bool api_write_refused(struct conn *conn, const struct http_request *request,
                       bool is_put_key);
/* Whether If-Match, If-None-Match or ?cas= demand something. */
bool api_has_conditions(const struct conn *conn,
                        const struct http_request *request);
/* Add what they demand of `key` to the list of conditions in `writer`. False:
 * answered. */
bool api_add_conditions(struct conn *conn, const struct http_request *request,
                        struct bytes key, struct command_writer *writer);
/* Answer 400: `why` the body is not the JSON expected, and where. */
void api_bad_json(struct conn *conn, const struct json_reader *reader,
                  const char *why);
/* Answer 413. */
void api_value_too_large(struct conn *conn);
/* Write the command in api->command; `finish` answers. */
void api_submit(struct conn *conn, conn_finish *finish);
/* The same for a command of one operation on one key, on the conditions of the
 * headers and on `first` (NULL: none). */
void api_submit_one(struct conn *conn, const struct http_request *request,
                    const struct command_name *name,
                    const struct command_condition *first,
                    const struct command_op *op, uint8_t kind,
                    conn_finish *finish);
/* Read Idempotency-Key; empty when there is none. False: answered 400. */
bool api_read_name(struct conn *conn, const struct http_request *request,
                   struct command_name *name);
/* An entity tag. One that this cluster cannot have given out has the index
 * UINT64_MAX. */
struct tag {
    bool weak;
    uint64_t index;
};
/* Take the next entity tag of a list off the front of `rest`. ERR_NOT_FOUND:
 * there are no more. */
MUST_CHECK enum err api_next_tag(struct bytes *rest, struct tag *tag);
/* Whether a list of If-None-Match, or "*", names the tag of `index`, by weak
 * comparison (RFC 9110 13.1.2). */
bool api_has_tag(struct bytes tags, uint64_t index);
/* Add the header that says that the write was done before, if it was. */
void api_add_replayed(struct conn *conn, const struct result_reader *reader);
/* Read the head of the result of a write, and add the headers that go with it.
 * False: the write failed, which has been answered. */
bool api_read_result(struct conn *conn, const struct node_result *result,
                     struct result_reader *reader);

/* Whether the headers of a deletion of many keys are ones that it takes. False:
 * answered. */
bool api_erase_allowed(struct conn *conn, const struct http_request *request);

#endif
