/* dump.c -- reads dumps: dump_internal.h has the formats.
 *
 * A window slides over the file. The brackets of the outermost levels are read
 * here, one by one; a value inside of them is found by its brackets and quotes
 * alone, and then read as JSON. */
#include "client/dump_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "json/json.h"

enum { READ_BYTES = 64 << 10 };

/* The next thing to be read, at the outermost levels. */
enum state {
    STATE_START,
    STATE_FIRST, /* The first item of the list, or its end. */
    STATE_ITEM,  /* An item, which must be there. */
    STATE_COMMA, /* A comma or the end of the list. */
    STATE_REST,  /* The list is over: white space. */
};

static const char *const names[] = {[DUMP_CRAFTD] = "craftd",
                                    [DUMP_ETCD] = "etcd",
                                    [DUMP_CONSUL] = "consul",
                                    [DUMP_REDIS] = "redis"};

bool dump_format_named(const char *name, enum dump_format *format)
{
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *format = (enum dump_format)i;
            return true;
        }
    }
    return false;
}

void dump_init(struct dump *dump, enum dump_format format, int fd)
{
    *dump = (struct dump){.format = format, .fd = fd, .state = STATE_START};
}

void dump_free(struct dump *dump)
{
    buf_free(&dump->window);
    buf_free(&dump->key);
    buf_free(&dump->value);
}

uint64_t dump_offset(const struct dump *dump)
{
    return dump->offset + dump->at;
}

static bool fail(struct dump *dump, const char *why)
{
    dump->why = why;
    return false;
}

/* ---- the window ---- */

/* Drop what was consumed. Views of the window end here. */
static void slide(struct dump *dump)
{
    struct buf *window = &dump->window;
    if (dump->at > 0) {
        memmove(window->data, window->data + dump->at, window->size - dump->at);
        window->size -= dump->at;
        dump->offset += dump->at;
        dump->at = 0;
    }
}

/* Read more. False: it cannot be read; at the end, `eof` is set. */
static bool read_more(struct dump *dump)
{
    struct buf *window = &dump->window;
    if (window->size - dump->at >= DUMP_ITEM_BYTES_MAX) {
        return fail(dump, "an item is over 32 MiB");
    }
    ssize_t got;
    do {
        got = read(dump->fd, buf_reserve(window, READ_BYTES), READ_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return fail(dump, strerror(errno));
    }
    window->size += (size_t)got;
    dump->eof = got == 0;
    return true;
}

/* Set *c to the next byte that is no white space, -1 at the end of the file. */
static bool peek(struct dump *dump, int *c)
{
    for (;;) {
        while (dump->at < dump->window.size) {
            *c = dump->window.data[dump->at];
            if (*c != ' ' && *c != '\t' && *c != '\n' && *c != '\r') {
                return true;
            }
            dump->at++;
        }
        slide(dump);
        *c = -1;
        if (dump->eof) {
            return true;
        }
        if (!read_more(dump)) {
            return false;
        }
    }
}

static const char cut_off[] = "the file ends too early";
static const char wrong_format[] = "it is not in that format";

/* Consume the byte `wanted`, which must be the next one. */
static bool take_byte(struct dump *dump, char wanted)
{
    int c;
    if (!peek(dump, &c)) {
        return false;
    }
    if (c != wanted) {
        return fail(dump, c < 0 ? cut_off : wrong_format);
    }
    dump->at++;
    return true;
}

/* The end of a JSON value, found by quotes and brackets alone. */
struct value_end {
    size_t size; /* Bytes of it so far. */
    size_t depth;
    bool in_string;
    bool is_escaped;
    bool is_scalar; /* A number or a word: the byte behind it ends it. */
};

/* Look at the next byte. True: the value is complete, with this byte, or
 * without it if it is a scalar. */
static bool ends_value(struct value_end *end, uint8_t c)
{
    end->size++;
    if (end->in_string) {
        bool closes = c == '"' && !end->is_escaped;
        end->is_escaped = c == '\\' && !end->is_escaped;
        end->in_string = !closes;
        return closes && end->depth == 0;
    }
    if (end->is_scalar &&
        (c == ',' || c == ']' || c == '}' || c == ':' || c <= ' ')) {
        end->size--;
        return true;
    }
    if (c == '"') {
        end->in_string = true;
    } else if (c == '{' || c == '[') {
        end->depth++;
    } else if (c == '}' || c == ']') {
        end->depth--; /* A value does not begin with these. */
        return end->depth == 0;
    } else if (end->depth == 0) {
        end->is_scalar = true;
    }
    return false;
}

/* Consume a value; `value` is a view of the window, valid until peek(). */
static bool take_value(struct dump *dump, struct bytes *value)
{
    struct value_end end = {0};
    int c;
    if (!peek(dump, &c)) {
        return false;
    }
    if (c < 0 || c == ',' || c == ':' || c == ']' || c == '}') {
        return fail(dump, c < 0 ? cut_off : wrong_format);
    }
    slide(dump);
    for (;;) {
        while (dump->at + end.size < dump->window.size) {
            if (ends_value(&end, dump->window.data[dump->at + end.size])) {
                *value = bytes_of(dump->window.data + dump->at, end.size);
                dump->at += end.size;
                return true;
            }
        }
        if (dump->eof) {
            return fail(dump, cut_off);
        }
        if (!read_more(dump)) {
            return false;
        }
    }
}

/* ---- items ---- */

static bool set_text(struct dump *dump, struct buf *out, struct bytes text,
                     bool base64)
{
    size_t size = text.size;
    out->size = 0;
    if (!base64) {
        buf_add_bytes(out, text);
        return true;
    }
    uint8_t *data = buf_reserve(out, text.size + 1);
    if (!text_base64(text, data, &size)) {
        return fail(dump, "a key or a value is not base64");
    }
    out->size += size;
    return true;
}

/* The members that matter; the rest is ignored. */
struct members {
    bool key;
    bool value;
    bool end;
};

static bool read_member(struct dump *dump, struct json_reader *json,
                        struct members *seen)
{
    bool is_ours = dump->format == DUMP_CRAFTD;
    bool is_etcd = dump->format == DUMP_ETCD;
    struct bytes name = json->text;
    bool key = bytes_equal_string(name, "key");
    bool value = bytes_equal_string(name, "value");
    bool key64 = is_ours && bytes_equal_string(name, "key_base64");
    bool value64 = is_ours && bytes_equal_string(name, "value_base64");
    if (key || key64 || value || value64) {
        bool is_key = key || key64;
        bool *before = is_key ? &seen->key : &seen->value;
        if (*before) {
            return fail(dump, "an item has two keys or two values");
        }
        *before = true;
        enum json_token token = json_next(json);
        if (token == JSON_NULL && value && !is_ours) {
            dump->value.size = 0; /* Consul: an empty value. */
            return true;
        }
        if (token != JSON_STRING) {
            return fail(dump, "a key or a value is no string");
        }
        return set_text(dump, is_key ? &dump->key : &dump->value, json->text,
                        key64 || value64 || is_etcd || (value && !is_ours));
    }
    if (is_ours && bytes_equal_string(name, "end")) {
        seen->end = json_next(json) == JSON_TRUE;
        return seen->end ? true : fail(dump, "\"end\" is not true");
    }
    if (is_ours && bytes_equal_string(name, "keys")) {
        return json_next(json) == JSON_NUMBER &&
                       json_u64(json->text, &dump->keys_total)
                   ? true
                   : fail(dump, "\"keys\" is no number");
    }
    return json_skip(json) != JSON_ERROR ? true : fail(dump, json->why);
}

/* Read the object `item`, which is overwritten. */
static bool read_object(struct dump *dump, struct bytes item,
                        struct members *seen)
{
    struct json_reader json;
    *seen = (struct members){0};
    json_init(&json, (uint8_t *)(uintptr_t)item.data, item.size);
    if (json_next(&json) != JSON_OBJECT_BEGIN) {
        return fail(dump, json.why ? json.why : "an item is no object");
    }
    enum json_token token;
    while ((token = json_next(&json)) == JSON_NAME) {
        if (!read_member(dump, &json, seen)) {
            dump->why = json.why ? json.why : dump->why;
            return false;
        }
    }
    if (token != JSON_OBJECT_END || json_next(&json) != JSON_END) {
        return fail(dump, json.why ? json.why : "an item is no object");
    }
    if (seen->end) {
        return seen->key || seen->value
                   ? fail(dump, "the last line has a key as well")
                   : true;
    }
    if (!seen->key) {
        return fail(dump, "an item has no key");
    }
    /* etcd leaves out an empty value. */
    if (!seen->value && dump->format == DUMP_CRAFTD) {
        return fail(dump, "an item has no value (was it listed with ?keys?)");
    }
    if (!seen->value) {
        dump->value.size = 0;
    }
    return true;
}

/* ---- strings of redis-cli ---- */

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* Decode the string with its quotes. Bytes from 0x80 on are copied, so that
 * values that are no UTF-8 survive. Only the escapes that redis-cli writes are
 * known. */
static bool read_string(struct dump *dump, struct bytes string, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    static const char wrong[] = "a key or a value is no string of redis-cli";
    out->size = 0;
    if (string.size < 2 || string.data[0] != '"') {
        return fail(dump, "a key or a value is no string: only strings can be "
                          "imported");
    }
    for (size_t i = 1; i + 1 < string.size; i++) {
        uint8_t c = string.data[i];
        if (c < ' ') {
            return fail(dump, wrong);
        }
        if (c != '\\') {
            buf_add_u8(out, c);
            continue;
        }
        c = string.data[++i];
        const char *found = c ? strchr(from, c) : NULL;
        if (found) {
            buf_add_u8(out, (uint8_t)to[found - from]);
            continue;
        }
        int high = -1;
        int low = -1;
        if (c == 'u' && i + 5 < string.size && string.data[i + 1] == '0' &&
            string.data[i + 2] == '0') {
            high = hex_digit(string.data[i + 3]);
            low = hex_digit(string.data[i + 4]);
        }
        if (high < 0 || low < 0 || high > 7) {
            return fail(dump, wrong);
        }
        buf_add_u8(out, (uint8_t)(high << 4 | low));
        i += 4;
    }
    return true;
}

static bool read_redis_item(struct dump *dump)
{
    struct bytes text;
    return take_value(dump, &text) && read_string(dump, text, &dump->key) &&
           take_byte(dump, ':') && take_value(dump, &text) &&
           read_string(dump, text, &dump->value);
}

/* ---- lists ---- */

/* etcd: skip the members before "kvs". *empty: there is no such member. */
static bool find_list(struct dump *dump, bool *empty)
{
    struct bytes name;
    struct bytes skipped;
    int c;
    *empty = false;
    if (!take_byte(dump, '{') || !peek(dump, &c)) {
        return false;
    }
    while (c != '}') {
        if (!take_value(dump, &name)) {
            return false;
        }
        bool found = bytes_equal_string(name, "\"kvs\"");
        if (!take_byte(dump, ':')) {
            return false;
        }
        if (found) {
            return take_byte(dump, '[');
        }
        if (!take_value(dump, &skipped) || !peek(dump, &c)) {
            return false;
        }
        if (c != '}' && (!take_byte(dump, ',') || !peek(dump, &c))) {
            return false;
        }
    }
    *empty = true;
    return true;
}

/* etcd: skip the members behind the list, and the end of the object. */
static bool skip_to_end(struct dump *dump)
{
    struct bytes skipped;
    int c;
    if (!peek(dump, &c)) {
        return false;
    }
    while (c == ',') {
        dump->at++;
        if (!take_value(dump, &skipped) || !take_byte(dump, ':') ||
            !take_value(dump, &skipped) || !peek(dump, &c)) {
            return false;
        }
    }
    return take_byte(dump, '}');
}

static bool start_list(struct dump *dump)
{
    bool empty = false;
    int c;
    dump->state = STATE_FIRST;
    switch (dump->format) {
    case DUMP_ETCD:
        if (!find_list(dump, &empty)) {
            return false;
        }
        if (empty) {
            dump->state = STATE_REST;
            return take_byte(dump, '}');
        }
        return true;
    case DUMP_CONSUL:
        return take_byte(dump, '[');
    case DUMP_REDIS:
        if (!peek(dump, &c)) {
            return false;
        }
        dump->is_nested = c == '[';
        if (!dump->is_nested) {
            return take_byte(dump, '{');
        }
        dump->at++;
        if (!peek(dump, &c)) {
            return false;
        }
        if (c == ']') {
            dump->at++;
            dump->state = STATE_REST;
            return true;
        }
        return take_byte(dump, '{');
    case DUMP_CRAFTD:
        break;
    }
    must(false);
    return false;
}

/* The list is over: what follows it, and the next one, if there is one. */
static bool end_list(struct dump *dump)
{
    int c;
    dump->at++;
    dump->state = STATE_REST;
    if (dump->format == DUMP_ETCD) {
        return skip_to_end(dump);
    }
    if (!dump->is_nested) {
        return true;
    }
    if (!peek(dump, &c)) {
        return false;
    }
    if (c == ',') {
        dump->at++;
        dump->state = STATE_FIRST;
        return take_byte(dump, '{');
    }
    return take_byte(dump, ']');
}

static bool read_item(struct dump *dump)
{
    struct members seen;
    struct bytes item;
    return dump->format == DUMP_REDIS
               ? read_redis_item(dump)
               : take_value(dump, &item) && read_object(dump, item, &seen);
}

/* Go to the next item. *more is false when there is none. */
static bool find_item(struct dump *dump, bool *more)
{
    int close = dump->format == DUMP_REDIS ? '}' : ']';
    int c;
    if (dump->state == STATE_START && !start_list(dump)) {
        return false;
    }
    while (dump->state != STATE_REST && dump->state != STATE_ITEM) {
        if (!peek(dump, &c)) {
            return false;
        }
        if (c == close) {
            if (!end_list(dump)) {
                return false;
            }
        } else if (dump->state == STATE_FIRST) {
            dump->state = STATE_ITEM;
        } else if (take_byte(dump, ',')) {
            dump->state = STATE_ITEM;
        } else {
            return false;
        }
    }
    *more = dump->state == STATE_ITEM;
    if (!*more && (!peek(dump, &c) || c >= 0)) {
        return dump->why ? false
                         : fail(dump, "there is something behind its end");
    }
    return true;
}

static enum dump_result next_of_list(struct dump *dump)
{
    bool more;
    if (!find_item(dump, &more)) {
        return DUMP_ERROR;
    }
    if (!more) {
        return DUMP_END;
    }
    dump->state = STATE_COMMA;
    return read_item(dump) ? DUMP_PAIR : DUMP_ERROR;
}

/* ---- exports ---- */

enum dump_result dump_read_line(struct dump *dump, uint8_t *line, size_t size,
                                struct dump_pair *pair)
{
    struct members seen;
    if (!read_object(dump, bytes_of(line, size), &seen)) {
        return DUMP_ERROR;
    }
    pair->key = buf_bytes(&dump->key);
    pair->value = buf_bytes(&dump->value);
    return seen.end ? DUMP_END : DUMP_PAIR;
}

static enum dump_result next_line(struct dump *dump, struct dump_pair *pair)
{
    struct bytes item;
    int c;
    if (!peek(dump, &c)) {
        return DUMP_ERROR;
    }
    if (c < 0) {
        return DUMP_END;
    }
    if (dump->has_end) {
        dump->why = "there is something behind its last line";
        return DUMP_ERROR;
    }
    if (!take_value(dump, &item)) {
        return DUMP_ERROR;
    }
    enum dump_result result =
        dump_read_line(dump, (uint8_t *)(uintptr_t)item.data, item.size, pair);
    if (result == DUMP_END) {
        dump->has_end = true;
        return next_line(dump, pair);
    }
    return result;
}

enum dump_result dump_next(struct dump *dump, struct dump_pair *pair)
{
    enum dump_result result = dump->why ? DUMP_ERROR
                              : dump->format == DUMP_CRAFTD
                                  ? next_line(dump, pair)
                                  : next_of_list(dump);
    if (result == DUMP_PAIR) {
        dump->items++;
        pair->key = buf_bytes(&dump->key);
        pair->value = buf_bytes(&dump->value);
    }
    return result;
}
