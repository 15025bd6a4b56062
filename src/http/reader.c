/* reader.c -- bytes -> requests.
 *
 * The head is looked at twice: once here, byte by byte, for what http-parser
 * (Debian builds it lenient) would let pass, then by http-parser, which
 * splits it. Bodies in chunks are read here alone: it would take a byte above
 * 0x7f for the digit 0, and other things for the end of a line. */
#include <http_parser.h>

#include "http/http.h"

static const char no_target[] =
    "the target is neither a path nor an http:// URL";

struct span {
    size_t at; /* Offset from the first byte of the request. */
    size_t size;
};

/* What comes next of a body in chunks (RFC 9112 7.1). */
enum chunk_part { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

struct http_state {
    http_parser parser;
    size_t scanned;    /* Bytes looked at in search of the end of the head. */
    size_t line_start; /* Of the line `scanned` is in. */
    size_t begin;      /* Of the request line, behind an empty line. */
    size_t head_bytes; /* 0: not complete. */
    size_t parsed;     /* Where the next part of a chunked body begins. */
    size_t searched;   /* Of it, for the end of a line. */
    enum chunk_part part;
    size_t chunk_left;
    size_t body_bytes;  /* Of the chunks, joined behind the head. */
    uint64_t body_left; /* Of a streamed body with a length. */
    bool head_told;
    /* While http-parser runs: */
    uint8_t *data;
    struct span target;
    struct span authority; /* Of a target in absolute form, in it. */
    uint32_t header_count;
    struct span names[HTTP_HEADERS_MAX];
    struct span values[HTTP_HEADERS_MAX];
    bool in_value;
    bool too_many;
};

void http_reader_init(struct http_reader *reader, size_t body_max)
{
    *reader = (struct http_reader){
        .body_max = body_max,
        .state = mem_zalloc(sizeof(struct http_state)),
    };
}

void http_reader_free(struct http_reader *reader)
{
    mem_free(reader->state);
    reader->state = NULL;
}

bool http_head_done(const struct http_reader *reader)
{
    return reader->state->head_bytes > 0;
}

bool http_in_request(const struct http_reader *reader)
{
    return reader->state->scanned > reader->state->begin;
}

static enum http_progress fail(struct http_reader *reader, int status,
                               const char *code, const char *text)
{
    reader->error_status = status;
    reader->error_code = code;
    reader->error_text = text;
    return HTTP_READ_ERROR;
}

static enum http_progress bad(struct http_reader *reader, const char *text)
{
    return fail(reader, 400, "bad-request", text);
}

/* ---- http-parser's callbacks ------------------------------------------------
 */

static struct http_state *state_of(http_parser *parser)
{
    return parser->data;
}

/* Called once a span, or several times for adjoining pieces. */
static void extend(struct http_state *state, struct span *span, const char *at,
                   size_t size)
{
    if (span->size == 0) {
        span->at = (size_t)((const uint8_t *)at - state->data);
    }
    span->size += size;
}

static int on_url(http_parser *parser, const char *at, size_t size)
{
    struct http_state *state = state_of(parser);
    extend(state, &state->target, at, size);
    return 0;
}

static int on_field(http_parser *parser, const char *at, size_t size)
{
    struct http_state *state = state_of(parser);
    if (state->header_count == 0 || state->in_value) {
        if (state->header_count == HTTP_HEADERS_MAX) {
            state->too_many = true;
            return 1;
        }
        state->header_count++;
        state->in_value = false;
    }
    extend(state, &state->names[state->header_count - 1], at, size);
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t size)
{
    struct http_state *state = state_of(parser);
    state->in_value = true;
    extend(state, &state->values[state->header_count - 1], at, size);
    return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
};

/* ---- the head, strictly
 * ------------------------------------------------------- */

static bool is_token(uint8_t c)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr(marks, c) != NULL);
}

/* A header line without its CRLF: token ":" value (RFC 9112 5). */
static const char *header_wrong(const uint8_t *line, size_t size)
{
    size_t name = 0;
    while (name < size && is_token(line[name])) {
        name++;
    }
    if (name == 0 || name == size || line[name] != ':') {
        return name == 0 && size > 0 && (line[0] == ' ' || line[0] == '\t')
                   ? "a folded header line"
                   : "a header name that is no token";
    }
    for (size_t i = name + 1; i < size; i++) {
        if ((line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f) {
            return "a control character in a header value";
        }
    }
    return NULL;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* method SP target SP version: printable ASCII, two blanks (RFC 9112 3). */
static enum http_progress check_request_line(struct http_reader *reader,
                                             const uint8_t *line, size_t size)
{
    enum { VERSION_BYTES = 8 }; /* "HTTP/1.1" */
    unsigned blanks = 0;
    for (size_t i = 0; i < size; i++) {
        if (line[i] < 0x20 || line[i] >= 0x7f) {
            return bad(reader,
                       "a byte outside printable ASCII in the request line");
        }
        blanks += line[i] == ' ';
    }
    const uint8_t *version = line + size - min_size(size, VERSION_BYTES);
    if (blanks != 2 || size <= VERSION_BYTES || version[-1] != ' ' ||
        memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7])) {
        return bad(reader, "a malformed request line");
    }
    if (version[5] != '1' || version[7] > '1') {
        return fail(reader, 505, "http-version",
                    "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    return HTTP_READ_DONE;
}

/* Look at whole lines only; DONE when the blank line has been seen. One empty
 * line before the request line is ignored (RFC 9112 2.2): some clients end a
 * body with one. */
static enum http_progress scan_head(struct http_reader *reader,
                                    const uint8_t *data, size_t size)
{
    struct http_state *state = reader->state;
    while (state->scanned < size) {
        const uint8_t *lf =
            memchr(data + state->scanned, '\n', size - state->scanned);
        size_t end = lf ? (size_t)(lf - data) : size;
        bool first = state->line_start == state->begin;
        size_t line = end - state->line_start;
        if (line > HTTP_LINE_BYTES_MAX + 1) {
            return first ? fail(reader, 414, "uri-too-long",
                                "the request line is over 8192 bytes")
                         : fail(reader, 431, "headers-too-large",
                                "a header is over 8192 bytes");
        }
        if (end > HTTP_HEAD_BYTES_MAX) {
            return fail(reader, 431, "headers-too-large",
                        "the headers are over 16384 bytes");
        }
        state->scanned = end;
        if (!lf) {
            return HTTP_READ_MORE;
        }
        if (line == 0 || data[end - 1] != '\r') {
            return bad(reader, "a line that does not end in CRLF");
        }
        const uint8_t *text = data + state->line_start;
        size_t text_size = line - 1;
        state->scanned = end + 1;
        state->line_start = end + 1;
        if (text_size == 0 && !first) {
            state->head_bytes = end + 1;
            return HTTP_READ_DONE;
        }
        if (text_size == 0 && state->begin == 0) {
            state->begin = end + 1;
            continue;
        }
        const char *wrong = first ? NULL : header_wrong(text, text_size);
        if (wrong) {
            return bad(reader, wrong);
        }
        if (first &&
            check_request_line(reader, text, text_size) == HTTP_READ_ERROR) {
            return HTTP_READ_ERROR;
        }
    }
    return HTTP_READ_MORE;
}

/* ---- what the head means
 * -------------------------------------------------------- */

static enum http_verb verb_of(unsigned method)
{
    switch (method) {
    case HTTP_GET:
        return HTTP_VERB_GET;
    case HTTP_HEAD:
        return HTTP_VERB_HEAD;
    case HTTP_POST:
        return HTTP_VERB_POST;
    case HTTP_PUT:
        return HTTP_VERB_PUT;
    case HTTP_DELETE:
        return HTTP_VERB_DELETE;
    case HTTP_OPTIONS:
        return HTTP_VERB_OPTIONS;
    default:
        return HTTP_VERB_OTHER;
    }
}

static struct bytes view(const uint8_t *data, struct span span)
{
    return bytes_of(data + span.at, span.size);
}

static bool equal_fold(struct bytes a, const char *text)
{
    size_t size = strlen(text);
    if (a.size != size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t c = a.data[i];
        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }
        uint8_t d = (uint8_t)text[i];
        if (d >= 'A' && d <= 'Z') {
            d |= 0x20;
        }
        if (c != d) {
            return false;
        }
    }
    return true;
}

/* Views are made anew on each call: the input may have moved. */
static void set_views(struct http_reader *reader, const uint8_t *data)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    struct bytes authority = view(data, state->authority);
    request->target = view(data, state->target);
    const uint8_t *mark =
        memchr(request->target.data, '?', request->target.size);
    size_t path =
        mark ? (size_t)(mark - request->target.data) : request->target.size;
    /* No path is "/" (RFC 9110 4.2.3): there is one before the authority. */
    bool empty = path == 0 && authority.size > 0;
    request->path = empty ? bytes_of(authority.data - 1, 1)
                          : bytes_of(request->target.data, path);
    request->query = mark ? bytes_of(mark + 1, request->target.size - path - 1)
                          : (struct bytes){0};
    request->header_count = state->header_count;
    for (uint32_t i = 0; i < state->header_count; i++) {
        struct bytes value = view(data, state->values[i]);
        while (value.size > 0 && (value.data[value.size - 1] == ' ' ||
                                  value.data[value.size - 1] == '\t')) {
            value.size--;
        }
        struct bytes name = view(data, state->names[i]);
        if (authority.size > 0 && equal_fold(name, "host")) {
            value = authority; /* RFC 9112 3.2.2: Host is ignored. */
        }
        request->headers[i] =
            (struct http_header){.name = name, .value = value};
    }
}

/* The target of the request line -> path and query. In absolute form (RFC 9112
 * 3.2.2) the authority is kept aside; a user in it is an error (RFC 9110
 * 4.2.4), and so is none at all (4.2.1). NULL, or what is wrong. */
static const char *split_target(struct http_reader *reader, const uint8_t *data)
{
    static const char scheme[] = "http://";
    const size_t skip = sizeof(scheme) - 1;
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    struct bytes target = view(data, state->target);
    bool asks_server = request->verb == HTTP_VERB_OPTIONS;
    request->of_server = asks_server && bytes_equal_string(target, "*");
    if (request->of_server || request->verb == HTTP_VERB_OTHER ||
        (target.size > 0 && target.data[0] == '/')) {
        return NULL; /* Others are 501 whatever they name, such as CONNECT. */
    }
    if (target.size < skip ||
        !equal_fold(bytes_of(target.data, skip), scheme)) {
        return no_target;
    }
    size_t end = skip;
    while (end < target.size && target.data[end] != '/' &&
           target.data[end] != '?') {
        end++;
    }
    state->authority = (struct span){state->target.at + skip, end - skip};
    if (end == skip || target.data[skip] == ':' ||
        memchr(target.data + skip, '@', end - skip)) {
        return "the URL has no host, or a user";
    }
    request->of_server = asks_server && end == target.size; /* 3.2.4 */
    state->target.at += end;
    state->target.size -= end;
    return NULL;
}

struct framing {
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    struct bytes length;
    struct bytes coding;
};

static void note_header(struct http_request *request, struct framing *framing,
                        const struct http_header *header)
{
    if (equal_fold(header->name, "host")) {
        framing->hosts++;
    } else if (equal_fold(header->name, "content-length")) {
        framing->lengths++;
        framing->length = header->value;
    } else if (equal_fold(header->name, "transfer-encoding")) {
        framing->codings++;
        framing->coding = header->value;
    } else if (equal_fold(header->name, "expect") && request->minor == 1) {
        request->expect_continue = equal_fold(header->value, "100-continue");
        request->expect_unknown = !request->expect_continue;
    }
}

/* RFC 9112 6.3: whoever disagrees about where a body ends can be fed a
 * second request in the first one's body. */
static enum http_progress check_framing(struct http_reader *reader,
                                        const struct framing *framing)
{
    struct http_request *request = &reader->request;
    if (framing->hosts > 1 || (framing->hosts == 0 && request->minor == 1)) {
        return bad(reader, "exactly one Host header is needed");
    }
    if (framing->codings > 0) {
        if (framing->lengths > 0) {
            return bad(reader, "Content-Length beside Transfer-Encoding");
        }
        if (framing->codings > 1 || request->minor == 0 ||
            !equal_fold(framing->coding, "chunked")) {
            return fail(reader, 501, "transfer-coding",
                        "the only transfer coding is chunked, once");
        }
        request->chunked = true;
        return HTTP_READ_DONE;
    }
    if (framing->lengths > 1) {
        return bad(reader, "more than one Content-Length");
    }
    if (framing->lengths == 1) {
        uint64_t length = 0;
        struct bytes text = framing->length;
        if (text.size == 0 || text.size > 18) {
            return bad(reader, "a Content-Length that is no number");
        }
        for (size_t i = 0; i < text.size; i++) {
            uint8_t digit = (uint8_t)(text.data[i] - '0');
            if (digit > 9) {
                return bad(reader, "a Content-Length that is no number");
            }
            length = length * 10 + digit;
        }
        request->content_length = length;
    }
    return HTTP_READ_DONE;
}

static bool has_upgrade_or_connect(const http_parser *parser)
{
    return parser->upgrade || parser->method == HTTP_CONNECT;
}

static enum http_progress split_head(struct http_reader *reader, uint8_t *data)
{
    struct http_state *state = reader->state;
    http_parser *parser = &state->parser;
    http_parser_init(parser, HTTP_REQUEST);
    parser->data = state;
    state->data = data;
    http_parser_execute(parser, &settings, (const char *)data + state->begin,
                        state->head_bytes - state->begin);
    enum http_errno error = HTTP_PARSER_ERRNO(parser);
    if (state->too_many) {
        return fail(reader, 431, "headers-too-large", "more than 64 headers");
    }
    bool upgrade = has_upgrade_or_connect(parser);
    if (error != HPE_OK && !upgrade) {
        if (error == HPE_INVALID_METHOD) {
            return fail(reader, 501, "unsupported-method",
                        "the method is not known here");
        }
        if (error == HPE_INVALID_TRANSFER_ENCODING) {
            return fail(reader, 501, "transfer-coding",
                        "the only transfer coding is chunked, once");
        }
        return bad(reader, error == HPE_INVALID_URL
                               ? no_target
                               : http_errno_description(error));
    }
    must(upgrade || parser->http_major == 1);
    return HTTP_READ_DONE;
}

static enum http_progress read_head(struct http_reader *reader, uint8_t *data)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    enum http_progress status = split_head(reader, data);
    if (status == HTTP_READ_ERROR) {
        return status;
    }
    request->verb = verb_of(state->parser.method);
    request->minor = (uint8_t)state->parser.http_minor;
    request->keep_alive = http_should_keep_alive(&state->parser) != 0 &&
                          !has_upgrade_or_connect(&state->parser);
    request->expect_continue = false;
    request->expect_unknown = false;
    request->content_length = 0;
    request->chunked = false;
    request->body = (struct bytes){0};
    if (state->head_bytes - state->target.at - state->target.size >
        HTTP_HEADERS_BYTES_MAX + 32) {
        return fail(reader, 431, "headers-too-large",
                    "the headers are over 16384 bytes");
    }
    const char *wrong = split_target(reader, data);
    if (wrong) {
        return bad(reader, wrong);
    }
    set_views(reader, data);
    struct framing framing = {0};
    for (uint32_t i = 0; i < request->header_count; i++) {
        note_header(request, &framing, &request->headers[i]);
    }
    status = check_framing(reader, &framing);
    request->streamed = reader->streams && reader->streams(request);
    if (status == HTTP_READ_DONE && !request->streamed &&
        request->content_length > reader->body_max) {
        return fail(reader, 413, "too-large", "the body is over the limit");
    }
    return status;
}

/* ---- the body
 * ---------------------------------------------------------------------- */

/* The next line of what is around the chunks, without its CRLF. */
static enum http_progress next_line(struct http_reader *reader,
                                    const uint8_t *data, size_t size,
                                    struct bytes *line)
{
    struct http_state *state = reader->state;
    size_t from = state->parsed + state->searched;
    const uint8_t *lf =
        size > from ? memchr(data + from, '\n', size - from) : NULL;
    size_t end = lf ? (size_t)(lf - data) : size;
    if (end - state->parsed > HTTP_LINE_BYTES_MAX + 1) {
        return bad(reader, "a line of a chunk or trailer is over 8192 bytes");
    }
    state->searched = end - state->parsed;
    if (!lf) {
        return HTTP_READ_MORE;
    }
    if (end == state->parsed || data[end - 1] != '\r') {
        return bad(reader, "a line that does not end in CRLF");
    }
    *line = bytes_of(data + state->parsed, end - 1 - state->parsed);
    state->parsed = end + 1;
    state->searched = 0;
    return HTTP_READ_DONE;
}

static int hex_digit(uint8_t c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 1*HEXDIG [";" extension], which is dropped. */
static enum http_progress take_chunk_size(struct http_reader *reader,
                                          struct bytes line)
{
    enum { DIGITS_MAX = 15 };
    struct http_state *state = reader->state;
    uint64_t value = 0;
    size_t at = 0;
    while (at < line.size && hex_digit(line.data[at]) >= 0) {
        if (at == DIGITS_MAX) {
            return bad(reader, "a chunk size of more than 15 digits");
        }
        value = value << 4 | (uint64_t)hex_digit(line.data[at]);
        at++;
    }
    if (at == 0 || (at < line.size && line.data[at] != ';')) {
        return bad(reader, "a chunk size that is no hexadecimal number");
    }
    for (; at < line.size; at++) {
        if ((line.data[at] < 0x20 && line.data[at] != '\t') ||
            line.data[at] == 0x7f) {
            return bad(reader, "a control character in a chunk extension");
        }
    }
    if (!reader->request.streamed &&
        value > reader->body_max - state->body_bytes) {
        return fail(reader, 413, "too-large", "the body is over the limit");
    }
    state->chunk_left = (size_t)value;
    state->part = value > 0 ? CHUNK_DATA : CHUNK_TRAILER;
    return HTTP_READ_MORE;
}

/* DONE: that was the last line of the body. */
static enum http_progress take_line(struct http_reader *reader,
                                    struct bytes line)
{
    struct http_state *state = reader->state;
    if (state->part == CHUNK_SIZE) {
        return take_chunk_size(reader, line);
    }
    if (state->part == CHUNK_END) {
        state->part = CHUNK_SIZE;
        return line.size == 0 ? HTTP_READ_MORE
                              : bad(reader, "more in a chunk than its size");
    }
    if (line.size == 0) {
        return HTTP_READ_DONE;
    }
    const char *wrong = header_wrong(line.data, line.size);
    return wrong ? bad(reader, wrong) : HTTP_READ_MORE; /* Dropped. */
}

static void take_data(struct http_state *state, uint8_t *data, size_t size)
{
    size_t count = min_size(state->chunk_left, size - state->parsed);
    memmove(data + state->head_bytes + state->body_bytes, data + state->parsed,
            count);
    state->body_bytes += count;
    state->parsed += count;
    state->chunk_left -= count;
    if (state->chunk_left == 0) {
        state->part = CHUNK_END;
    }
}

static enum http_progress take_chunks(struct http_reader *reader, uint8_t *data,
                                      size_t size)
{
    struct http_state *state = reader->state;
    while (state->parsed < size) {
        if (state->part == CHUNK_DATA) {
            take_data(state, data, size);
            continue;
        }
        struct bytes line;
        enum http_progress status = next_line(reader, data, size, &line);
        if (status == HTTP_READ_DONE) {
            status = take_line(reader, line);
        } else if (status == HTTP_READ_MORE) {
            break;
        }
        if (status != HTTP_READ_MORE) {
            return status;
        }
    }
    return HTTP_READ_MORE;
}

static enum http_progress read_chunks(struct http_reader *reader, uint8_t *data,
                                      size_t size)
{
    struct http_state *state = reader->state;
    if (state->parsed == 0) {
        state->parsed = state->head_bytes;
    }
    enum http_progress status = take_chunks(reader, data, size);
    if (status != HTTP_READ_MORE) {
        return status;
    }
    /* Framing and trailers cost memory too. */
    if (state->parsed - state->head_bytes >
        2 * reader->body_max + HTTP_HEADERS_BYTES_MAX) {
        return fail(reader, 413, "too-large", "the chunks are over the limit");
    }
    return HTTP_READ_MORE;
}

/* Ready for the next request; the views stay. */
static void start_anew(struct http_state *state)
{
    state->scanned = 0;
    state->line_start = 0;
    state->head_bytes = 0;
    state->parsed = 0;
    state->searched = 0;
    state->part = CHUNK_SIZE;
    state->chunk_left = 0;
    state->body_bytes = 0;
    state->head_told = false;
    state->begin = 0;
    state->target = (struct span){0};
    state->authority = (struct span){0};
    for (uint32_t i = 0; i < state->header_count; i++) {
        state->names[i] = (struct span){0};
        state->values[i] = (struct span){0};
    }
    state->header_count = 0;
    state->in_value = false;
}

static enum http_progress finish(struct http_reader *reader, size_t body_bytes,
                                 size_t consumed, const uint8_t *data)
{
    struct http_state *state = reader->state;
    reader->request.body = bytes_of(data + state->head_bytes, body_bytes);
    reader->consumed = consumed;
    start_anew(state);
    return HTTP_READ_DONE;
}

/* ---- a body that is streamed ----------------------------------------------
 */

static enum http_progress stream_length(struct http_reader *reader,
                                        const uint8_t *data, size_t size)
{
    struct http_state *state = reader->state;
    size_t take = (size_t)min_u64(size, state->body_left);
    state->body_left -= take;
    reader->request.body = bytes_of(data, take);
    reader->consumed = take;
    return state->body_left == 0 ? HTTP_READ_DONE : HTTP_READ_MORE;
}

/* The chunks that are here are joined at the beginning of `data`, as if there
 * were no head; a line that is not whole stays for the next call. */
static enum http_progress stream_chunks(struct http_reader *reader,
                                        uint8_t *data, size_t size)
{
    struct http_state *state = reader->state;
    size_t head_bytes = state->head_bytes;
    state->head_bytes = 0;
    state->body_bytes = 0;
    state->parsed = 0;
    enum http_progress progress = take_chunks(reader, data, size);
    state->head_bytes = head_bytes;
    reader->request.body = bytes_of(data, state->body_bytes);
    reader->consumed = state->parsed;
    return progress;
}

enum http_progress http_read_body(struct http_reader *reader, uint8_t *data,
                                  size_t size)
{
    struct http_state *state = reader->state;
    must(reader->request.streamed && state->head_told);
    enum http_progress progress = reader->request.chunked
                                      ? stream_chunks(reader, data, size)
                                      : stream_length(reader, data, size);
    if (progress == HTTP_READ_DONE) {
        start_anew(state);
    }
    return progress;
}

enum http_progress http_read(struct http_reader *reader, uint8_t *data,
                             size_t size)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    bool fresh = state->head_bytes == 0;
    if (fresh) {
        enum http_progress status = scan_head(reader, data, size);
        if (status != HTTP_READ_DONE) {
            return status;
        }
        status = read_head(reader, data);
        if (status == HTTP_READ_ERROR) {
            return status;
        }
    }
    if (request->streamed) {
        must(fresh);
        state->head_told = true;
        state->body_left = request->content_length;
        reader->consumed = state->head_bytes;
        return HTTP_READ_HEAD;
    }
    if (!request->chunked &&
        size - state->head_bytes >= request->content_length) {
        set_views(reader, data);
        size_t body = (size_t)request->content_length;
        return finish(reader, body, state->head_bytes + body, data);
    }
    if (fresh) {
        state->head_told = true;
        set_views(reader, data);
        /* Chunks that are here already are looked at on the next call. */
        return HTTP_READ_HEAD;
    }
    if (request->chunked) {
        enum http_progress status = read_chunks(reader, data, size);
        if (status != HTTP_READ_DONE) {
            return status;
        }
        set_views(reader, data);
        return finish(reader, state->body_bytes, state->parsed, data);
    }
    return HTTP_READ_MORE;
}

struct bytes http_header_named(const struct http_header *headers,
                               uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (equal_fold(headers[i].name, name)) {
            return headers[i].value;
        }
    }
    return (struct bytes){0};
}

struct bytes http_header(const struct http_request *request, const char *name)
{
    return http_header_named(request->headers, request->header_count, name);
}
