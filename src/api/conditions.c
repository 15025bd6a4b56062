/* conditions.c -- conditions of a write: If-Match and If-None-Match (RFC 9110
 * 13.1) and ?cas=; and its name, Idempotency-Key. */
#include "api/answer_internal.h"
#include "api/conn_internal.h"
#include "api/params_internal.h"
#include "api/write_internal.h"
#include "command/command.h"
#include "http/http.h"
#include "json/json.h"

/* ---- names ---- */

/* A header that a write depends on must be given once: of two, one would be
 * ignored. */
static bool any_comes_twice(const struct http_request *request)
{
    static const char *const names[] = {"If-Match", "If-None-Match",
                                        "Idempotency-Key"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        unsigned count = 0;
        for (uint32_t k = 0; k < request->header_count; k++) {
            count +=
                http_header_named(&request->headers[k], 1, names[i]).data !=
                NULL;
        }
        if (count > 1) {
            return true;
        }
    }
    return false;
}

bool api_read_name(struct conn *conn, const struct http_request *request,
                   struct command_name *name)
{
    if (any_comes_twice(request)) {
        api_answer_problem(
            conn, 400, "bad-request",
            "If-Match, If-None-Match or Idempotency-Key is given twice",
            OUTCOME_NOT_APPLIED);
        return false;
    }
    *name =
        (struct command_name){.key = http_header(request, "Idempotency-Key")};
    if (!name->key.data ||
        (name->key.size >= 1 && name->key.size <= COMMAND_NAME_BYTES_MAX)) {
        return true;
    }
    api_answer_problem(conn, 400, "bad-request",
                       "an Idempotency-Key has 1 to 64 bytes",
                       OUTCOME_NOT_APPLIED);
    return false;
}

/* ---- entity tags ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == ',';
}

enum err api_next_tag(struct bytes *rest, struct tag *tag)
{
    const uint8_t *at = rest->data;
    const uint8_t *end = at ? at + rest->size : at;
    while (at < end && is_blank(*at)) {
        at++;
    }
    if (at == end) {
        return ERR_NOT_FOUND;
    }
    *tag = (struct tag){.weak = end - at > 2 && at[0] == 'W' && at[1] == '/'};
    at += tag->weak ? 2 : 0;
    if (*at != '"') {
        return ERR_INVALID;
    }
    at++;
    const uint8_t *close = memchr(at, '"', (size_t)(end - at));
    if (!close) {
        return ERR_INVALID;
    }
    /* Tags are compared as text: "044" is not "44". */
    if (!json_u64(bytes_of(at, (size_t)(close - at)), &tag->index) ||
        *at == '0') {
        tag->index = UINT64_MAX;
    }
    *rest = bytes_of(close + 1, (size_t)(end - close - 1));
    return ERR_OK;
}

bool api_has_tag(struct bytes tags, uint64_t index)
{
    struct tag tag;
    if (bytes_equal_string(tags, "*")) {
        return true;
    }
    while (api_next_tag(&tags, &tag) == ERR_OK) {
        if (tag.index == index) {
            return true;
        }
    }
    return false;
}

/* ---- conditions ---- */

static void add_condition(struct command_writer *writer, struct bytes key,
                          enum command_field field, uint64_t number)
{
    command_if(writer, &(struct command_condition){
                           .field = field, .key = key, .number = number});
}

/* Comparison is strong: a weak tag matches nothing (RFC 9110 13.1.1). Returns
 * NULL, or a sentence about the fault. */
static const char *add_if_match(struct command_writer *writer, struct bytes key,
                                struct bytes tags)
{
    static const char wrong[] =
        "If-Match is one tag such as \"44\", with its quotes, or *";
    struct tag tag;
    struct tag second;
    if (bytes_equal_string(tags, "*")) {
        add_condition(writer, key, COMMAND_IF_EXISTS, 1);
        return NULL;
    }
    if (api_next_tag(&tags, &tag) != ERR_OK ||
        api_next_tag(&tags, &second) != ERR_NOT_FOUND) {
        return wrong;
    }
    add_condition(writer, key, COMMAND_IF_INDEX,
                  tag.weak ? UINT64_MAX : tag.index);
    return NULL;
}

static const char *add_if_none_match(struct command_writer *writer,
                                     struct bytes key, struct bytes tags)
{
    struct tag tag;
    enum err err = ERR_OK;
    if (bytes_equal_string(tags, "*")) {
        add_condition(writer, key, COMMAND_IF_EXISTS, 0);
        return NULL;
    }
    while ((err = api_next_tag(&tags, &tag)) == ERR_OK) {
        add_condition(writer, key, COMMAND_IF_NOT_INDEX, tag.index);
    }
    return err == ERR_NOT_FOUND
               ? NULL
               : "If-None-Match is a list of tags such as \"44\", or *";
}

static const char *add_cas(struct command_writer *writer, struct bytes key,
                           struct bytes text, bool *creates)
{
    uint64_t index;
    if (!json_u64(text, &index)) {
        return "cas is the index that last changed the key, or 0 for a new key";
    }
    *creates = index == 0;
    if (index == 0) {
        add_condition(writer, key, COMMAND_IF_EXISTS, 0);
    } else {
        add_condition(writer, key, COMMAND_IF_INDEX, index);
    }
    return NULL;
}

bool api_has_conditions(const struct conn *conn,
                        const struct http_request *request)
{
    return http_header(request, "If-Match").data ||
           http_header(request, "If-None-Match").data ||
           api_is_given(conn, PARAM_CAS);
}

bool api_add_conditions(struct conn *conn, const struct http_request *request,
                        struct bytes key, struct command_writer *writer)
{
    struct bytes match = http_header(request, "If-Match");
    struct bytes none = http_header(request, "If-None-Match");
    struct bytes cas;
    bool creates = false;
    const char *wrong = NULL;
    const char *code = "bad-request";
    if (match.data) {
        wrong = add_if_match(writer, key, match);
    }
    if (!wrong && none.data) {
        wrong = add_if_none_match(writer, key, none);
    }
    if (!wrong && api_is_given(conn, PARAM_CAS) &&
        api_get_param(conn, PARAM_CAS, &cas)) {
        code = "bad-param";
        wrong = add_cas(writer, key, cas, &creates);
    }
    if (wrong) {
        api_answer_problem(conn, 400, code, wrong, OUTCOME_NOT_APPLIED);
    }
    conn->state.write.creates = bytes_equal_string(none, "*") || creates;
    return !wrong;
}
