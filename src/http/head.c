/* head.c -- the head of a request.
 *
 * The lines are split here, strictly. http-parser (Debian builds it lenient)
 * would accept bytes that other readers interpret differently, takes a blank
 * but no tab for white space in places, and recognizes a framing header by a
 * prefix of its name. It is given only the request line, since it knows the
 * methods and the characters of a target. */
#include <http_parser.h>

#include "http/http_internal.h"

static const char no_target[] =
    "the target is neither a path nor an http:// URL";

/* ---- lines ---- */

static bool is_token(uint8_t c)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr(marks, c) != NULL);
}

size_t http_header_name(const uint8_t *line, size_t size, const char **wrong)
{
    size_t name = 0;
    while (name < size && is_token(line[name])) {
        name++;
    }
    if (name == 0 || name == size || line[name] != ':') {
        *wrong = name == 0 && size > 0 && (line[0] == ' ' || line[0] == '\t')
                     ? "a header line is folded"
                     : "a header name is no token";
        return 0;
    }
    for (size_t i = name + 1; i < size; i++) {
        if ((line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f) {
            *wrong = "a header value has a control character";
            return 0;
        }
    }
    return name;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Check method SP target SP version: printable ASCII, two blanks (RFC 9112 3).
 * The target has no fragment (3.2): a proxy that ends the path at a "#" would
 * allow another one than is used here. */
static enum http_progress check_request_line(struct http_reader *reader,
                                             const uint8_t *line, size_t size)
{
    enum { VERSION_BYTES = 8 }; /* "HTTP/1.1" */
    unsigned blanks = 0;
    for (size_t i = 0; i < size; i++) {
        if (line[i] < 0x20 || line[i] >= 0x7f) {
            return http_bad(
                reader, "the request line has a byte outside printable ASCII");
        }
        if (line[i] == '#') {
            return http_bad(reader, "a # in the URL is to be written as %23");
        }
        blanks += line[i] == ' ';
    }
    const uint8_t *version = line + size - min_size(size, VERSION_BYTES);
    if (blanks != 2 || size <= VERSION_BYTES || version[-1] != ' ' ||
        memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7])) {
        return http_bad(reader, "the request line is malformed");
    }
    if (version[5] != '1' || version[7] > '1') {
        return http_fail(reader, 505, "http-version",
                         "only HTTP/1.0 and HTTP/1.1 are supported");
    }
    return HTTP_READ_DONE;
}

static struct span span_of(size_t at, size_t size)
{
    return (struct span){(uint32_t)at, (uint32_t)size};
}

static struct bytes view(const uint8_t *data, struct span span)
{
    return bytes_of(data + span.at, span.size);
}

/* Add the header line that begins at `at`. */
static enum http_progress add_header(struct http_reader *reader,
                                     const uint8_t *data, size_t at,
                                     size_t size)
{
    struct http_state *state = reader->state;
    const char *wrong = NULL;
    size_t name = http_header_name(data + at, size, &wrong);
    if (name == 0) {
        return http_bad(reader, wrong);
    }
    if (state->header_count == HTTP_HEADERS_MAX) {
        return http_fail(reader, 431, "headers-too-large",
                         "there are more than 128 headers");
    }
    struct bytes value =
        http_trim(bytes_of(data + at + name + 1, size - name - 1));
    state->names[state->header_count] = span_of(at, name);
    state->values[state->header_count] =
        span_of((size_t)(value.data - data), value.size);
    state->header_count++;
    return HTTP_READ_DONE;
}

/* One line of the head without its CRLF. DONE: well, MORE: the head ends. */
static enum http_progress take_line(struct http_reader *reader,
                                    const uint8_t *data, size_t at, size_t size)
{
    struct http_state *state = reader->state;
    bool first = at == state->begin;
    if (!first && size == 0) {
        state->head_bytes = state->scanned;
        return HTTP_READ_MORE;
    }
    if (!first) {
        return add_header(reader, data, at, size);
    }
    /* One empty line before a request is ignored (RFC 9112 2.2): some clients
     * end a body with one. */
    if (size == 0 && state->begin == 0) {
        state->begin = state->scanned;
        return HTTP_READ_DONE;
    }
    state->request_line = span_of(at, size);
    return check_request_line(reader, data + at, size);
}

/* Only complete lines are taken. */
enum http_progress http_scan_head(struct http_reader *reader,
                                  const uint8_t *data, size_t size)
{
    struct http_state *state = reader->state;
    while (state->scanned < size) {
        const uint8_t *lf =
            memchr(data + state->scanned, '\n', size - state->scanned);
        size_t end = lf ? (size_t)(lf - data) : size;
        size_t line = end - state->line_start;
        if (line > HTTP_LINE_BYTES_MAX + 1) {
            return state->line_start == state->begin
                       ? http_fail(reader, 414, "uri-too-long",
                                   "the request line is over 8192 bytes")
                       : http_fail(reader, 431, "headers-too-large",
                                   "a header is over 8192 bytes");
        }
        if (end > HTTP_HEAD_BYTES_MAX) {
            return http_fail(reader, 431, "headers-too-large",
                             "the headers are over 16384 bytes");
        }
        state->scanned = end;
        if (!lf) {
            return HTTP_READ_MORE;
        }
        if (line == 0 || data[end - 1] != '\r') {
            return http_bad(reader, "a line does not end in CRLF");
        }
        size_t at = state->line_start;
        state->scanned = end + 1;
        state->line_start = end + 1;
        enum http_progress progress = take_line(reader, data, at, line - 1);
        if (state->head_bytes > 0) {
            return HTTP_READ_DONE;
        }
        if (progress == HTTP_READ_ERROR) {
            return progress;
        }
    }
    return HTTP_READ_MORE;
}

/* ---- the request line ---- */

static int on_url(http_parser *parser, const char *at, size_t size)
{
    struct bytes *target = parser->data;
    if (!target->data) {
        target->data = (const uint8_t *)at;
    }
    target->size += size;
    return 0;
}

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

/* Split method and target of a line that check_request_line() has accepted. */
static enum http_progress split_request_line(struct http_reader *reader,
                                             const uint8_t *data)
{
    static const http_parser_settings settings = {.on_url = on_url};
    struct http_state *state = reader->state;
    struct bytes line = view(data, state->request_line);
    struct bytes target = {0};
    http_parser parser;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &target;
    http_parser_execute(&parser, &settings, (const char *)line.data,
                        line.size + 2); /* With its CRLF. */
    enum http_errno error = HTTP_PARSER_ERRNO(&parser);
    if (error == HPE_INVALID_METHOD) {
        return http_fail(reader, 501, "unsupported-method",
                         "the method is not supported");
    }
    if (error != HPE_OK) {
        return http_bad(reader, error == HPE_INVALID_URL
                                    ? no_target
                                    : http_errno_description(error));
    }
    must(target.data >= line.data &&
         target.data + target.size <= line.data + line.size);
    state->target = span_of((size_t)(target.data - data), target.size);
    reader->request.verb = verb_of(parser.method);
    reader->request.connect = parser.method == HTTP_CONNECT;
    reader->request.minor = (uint8_t)(line.data[line.size - 1] - '0');
    return HTTP_READ_DONE;
}

/* Split the target of the request line into path and query. In absolute form
 * (RFC 9112 3.2.2) the authority is kept apart; a user in it is an error (RFC
 * 9110 4.2.4), and so is a missing host (4.2.1). Returns NULL, or the error. */
static const char *split_target(struct http_reader *reader, const uint8_t *data)
{
    static const char scheme[] = "http://";
    const size_t skip = sizeof(scheme) - 1;
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    struct bytes target = view(data, state->target);
    struct http_authority authority;
    if (request->connect) { /* Authority-form (3.2.3): a port is needed. */
        request->of_server = true;
        return http_authority(target, &authority) && authority.port > 0
                   ? NULL
                   : "the target of CONNECT is not host:port";
    }
    bool asks_server = request->verb == HTTP_VERB_OPTIONS;
    request->of_server = asks_server && bytes_equal_string(target, "*");
    if (request->of_server || (target.size > 0 && target.data[0] == '/')) {
        return NULL;
    }
    if (target.size < skip ||
        !http_equal_fold(bytes_of(target.data, skip), scheme)) {
        return no_target;
    }
    size_t end = skip;
    while (end < target.size && target.data[end] != '/' &&
           target.data[end] != '?') {
        end++;
    }
    if (!http_authority(bytes_of(target.data + skip, end - skip), &authority)) {
        return "the URL has no host, a malformed one, or a user";
    }
    state->authority = span_of(state->target.at + skip, end - skip);
    request->of_server = asks_server && end == target.size; /* 3.2.4 */
    state->target = span_of(state->target.at + end, target.size - end);
    return NULL;
}

/* ---- the meaning of the headers ---- */

void http_set_views(struct http_reader *reader, const uint8_t *data)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    struct bytes authority = view(data, state->authority);
    request->target = view(data, state->target);
    const uint8_t *mark =
        memchr(request->target.data, '?', request->target.size);
    size_t path =
        mark ? (size_t)(mark - request->target.data) : request->target.size;
    /* A missing path is "/" (RFC 9110 4.2.3); the byte before the authority is
     * one. */
    bool empty = path == 0 && authority.size > 0;
    request->path = empty ? bytes_of(authority.data - 1, 1)
                          : bytes_of(request->target.data, path);
    request->query = mark ? bytes_of(mark + 1, request->target.size - path - 1)
                          : (struct bytes){0};
    request->header_count = state->header_count;
    for (uint32_t i = 0; i < state->header_count; i++) {
        struct bytes name = view(data, state->names[i]);
        struct bytes value = view(data, state->values[i]);
        if (authority.size > 0 && http_equal_fold(name, "host")) {
            value = authority; /* RFC 9112 3.2.2: Host is ignored. */
        }
        request->headers[i] =
            (struct http_header){.name = name, .value = value};
    }
}

struct framing {
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    bool close;
    bool keep_alive;
    bool bad_host;
    struct bytes length;
    struct bytes coding;
};

/* Read the list of connection options (RFC 9110 7.6.1). */
static void read_connection(struct framing *framing, struct bytes list)
{
    struct bytes option;
    while (http_list_next(&list, &option)) {
        framing->close |= http_equal_fold(option, "close");
        framing->keep_alive |= http_equal_fold(option, "keep-alive");
    }
}

/* Returns whether the authority has no host; it may have a port. */
static bool is_empty_host(struct bytes value)
{
    struct http_authority authority;
    char text[16] = "h";
    if (value.size == 0) {
        return true;
    }
    if (value.data[0] != ':' || value.size > sizeof(text) - 1) {
        return false;
    }
    memcpy(text + 1, value.data, value.size);
    return http_authority(bytes_of(text, 1 + value.size), &authority);
}

static void read_header(struct http_request *request, struct framing *framing,
                        const struct http_header *header)
{
    struct http_authority authority;
    if (http_equal_fold(header->name, "host")) {
        framing->hosts++;
        /* An empty Host is that of a client without a host name (RFC 9110
         * 7.2). Nodes of the build before send ":port" in POST /join if their
         * --join is written so. */
        framing->bad_host |= !is_empty_host(header->value) &&
                             !http_authority(header->value, &authority);
    } else if (http_equal_fold(header->name, "content-length")) {
        framing->lengths++;
        framing->length = header->value;
    } else if (http_equal_fold(header->name, "transfer-encoding")) {
        framing->codings++;
        framing->coding = header->value;
    } else if (http_equal_fold(header->name, "connection")) {
        read_connection(framing, header->value);
    } else if (http_equal_fold(header->name, "expect") && request->minor == 1) {
        bool known = http_equal_fold(header->value, "100-continue");
        request->expect_continue |= known;
        request->expect_unknown |= !known;
    }
}

static enum http_progress read_length(struct http_reader *reader,
                                      struct bytes text)
{
    uint64_t length = 0;
    bool good = text.size > 0 && text.size <= 18;
    for (size_t i = 0; good && i < text.size; i++) {
        good = is_digit(text.data[i]);
        length = length * 10 + (uint8_t)(text.data[i] - '0');
    }
    if (!good) {
        return http_bad(reader, "Content-Length is no number");
    }
    reader->request.content_length = length;
    return HTTP_READ_DONE;
}

/* RFC 9112 6.3: if two readers disagree about the end of a body, a second
 * request can be smuggled in the body of the first. */
static enum http_progress check_framing(struct http_reader *reader,
                                        const struct framing *framing)
{
    struct http_request *request = &reader->request;
    if (framing->hosts > 1 || (framing->hosts == 0 && request->minor == 1)) {
        return http_bad(reader, "exactly one Host header is needed");
    }
    if (framing->bad_host) {
        return http_bad(reader, "Host is not host or host:port");
    }
    if (framing->codings > 0 && framing->lengths > 0) {
        return http_bad(reader,
                        "both Content-Length and Transfer-Encoding are given");
    }
    if (framing->codings > 1 || (framing->codings > 0 && request->minor == 0) ||
        (framing->codings > 0 &&
         !http_equal_fold(framing->coding, "chunked"))) {
        return http_fail(
            reader, 501, "transfer-coding",
            "the only transfer coding that is supported is chunked, once");
    }
    request->chunked = framing->codings > 0;
    if (framing->lengths > 1) {
        return http_bad(reader, "there is more than one Content-Length");
    }
    return framing->lengths == 1 ? read_length(reader, framing->length)
                                 : HTTP_READ_DONE;
}

enum http_progress http_read_head(struct http_reader *reader, uint8_t *data)
{
    struct http_state *state = reader->state;
    struct http_request *request = &reader->request;
    request->expect_continue = false;
    request->expect_unknown = false;
    request->of_server = false;
    request->content_length = 0;
    request->chunked = false;
    request->streamed = false;
    request->body = (struct bytes){0};
    if (state->head_bytes - state->request_line.at - state->request_line.size >
        HTTP_HEADERS_BYTES_MAX + 32) {
        return http_fail(reader, 431, "headers-too-large",
                         "the headers are over 16384 bytes");
    }
    enum http_progress status = split_request_line(reader, data);
    if (status == HTTP_READ_ERROR) {
        return status;
    }
    const char *wrong = split_target(reader, data);
    if (wrong) {
        return http_bad(reader, wrong);
    }
    http_set_views(reader, data);
    struct framing framing = {0};
    for (uint32_t i = 0; i < request->header_count; i++) {
        read_header(request, &framing, &request->headers[i]);
    }
    /* Bytes after a CONNECT may belong to the tunnel, which is refused. */
    request->keep_alive = (request->minor == 1 || framing.keep_alive) &&
                          !framing.close && !request->connect;
    status = check_framing(reader, &framing);
    if (status == HTTP_READ_ERROR) {
        return status;
    }
    request->streamed = reader->streams && reader->streams(request);
    if (!request->streamed && request->content_length > reader->body_max) {
        return http_fail(reader, 413, "too-large",
                         "the body is over the limit");
    }
    return HTTP_READ_DONE;
}

/* ---- finding headers ---- */

struct bytes http_header_named(const struct http_header *headers,
                               uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (http_equal_fold(headers[i].name, name)) {
            return headers[i].value;
        }
    }
    return (struct bytes){0};
}

struct bytes http_header(const struct http_request *request, const char *name)
{
    return http_header_named(request->headers, request->header_count, name);
}
