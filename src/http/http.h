/* http.h -- HTTP/1.1 (RFC 9110, 9112): bytes -> requests, responses -> bytes.
 * Pure: no I/O, no clock. The only user of http_parser.h.
 *
 * http-parser does the splitting; this room adds the rules that keep two
 * readers of one byte stream from disagreeing (request smuggling). Refused:
 * Content-Length together with Transfer-Encoding; Content-Length repeated,
 * signed, listed or not all digits; any Transfer-Encoding but one "chunked"
 * (501); obs-fold; bare CR; NUL; names that are no token (RFC 9110 5.6.2),
 * blanks before the colon; target bytes outside printable ASCII; Host missing
 * or repeated in HTTP/1.1, or anything but host[:port]; versions other than 1.0
 * and 1.1 (505); targets that are neither a path nor an http:// URL; bare LF.
 * Chunk extensions and trailers are read and dropped. An Upgrade is ignored,
 * and the connection goes on (7.8). Methods that are registered but not ours
 * are read (the caller answers 405); others are 501. White space is blanks and
 * tabs wherever it may be (OWS, RFC 9110 5.6.3). One empty line before a
 * request is as good as none (RFC 9112 2.2).
 *
 * In a target in absolute form (RFC 9112 3.2.2) the authority takes the place
 * of Host, and what is behind it is the target: we are no proxy, whatever the
 * host is called.
 *
 * Limits (API: request line 8 KiB -> 414, one header 8 KiB or all headers
 * 16 KiB or more than 128 -> 431, the same for trailers, body -> 413 as soon as
 * Content-Length or the chunks say so). */
#ifndef CRAFTD_HTTP_HTTP_H
#define CRAFTD_HTTP_HTTP_H

#include "base/base.h"
#include "base/bytes.h"

enum {
    HTTP_LINE_BYTES_MAX = 8192,
    HTTP_HEAD_BYTES_MAX = 16384 + 8192,
    HTTP_HEADERS_BYTES_MAX = 16384,
    HTTP_HEADERS_MAX = 128,
};

enum http_verb {
    HTTP_VERB_GET,
    HTTP_VERB_HEAD,
    HTTP_VERB_POST,
    HTTP_VERB_PUT,
    HTTP_VERB_DELETE,
    HTTP_VERB_OPTIONS,
    HTTP_VERB_OTHER, /* Registered, but nothing here takes it: 405. */
};

struct http_header {
    struct bytes name;
    struct bytes value; /* White space around it removed. */
};

/* Views into the input; valid until the next http_read() or until the input
 * moves. */
struct http_request {
    enum http_verb verb;
    uint8_t minor;        /* HTTP/1.minor */
    bool keep_alive;      /* By version and Connection. */
    bool expect_continue; /* Expect: 100-continue, HTTP/1.1. */
    bool expect_unknown;  /* Another Expect: 417. */
    bool of_server;       /* OPTIONS * or of a URL without a path; CONNECT. */
    bool connect;
    struct bytes target; /* As received, behind the authority. */
    struct bytes path;   /* Up to '?': still percent-encoded. */
    struct bytes query;  /* After '?', empty when there is none. */
    uint32_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    uint64_t content_length; /* 0 when none or chunked. */
    bool chunked;
    bool streamed;     /* The body is taken piece by piece: http_read_body(). */
    struct bytes body; /* Complete and de-chunked with HTTP_READ_DONE. */
};

/* Named so that http_parser.h can be included beside it. */
enum http_progress {
    HTTP_READ_MORE, /* Not all there yet. */
    HTTP_READ_HEAD, /* Head complete, body not: returned once, so that the
                       caller can answer 100, 413, 417 early. Call again. */
    HTTP_READ_DONE, /* One whole request; `consumed` bytes of input are done. */
    HTTP_READ_ERROR, /* error_status, error_code, error_text; close after. */
};

struct http_state; /* PRIVATE, see reader.c. */

struct http_reader {
    size_t body_max; /* Limit of a body, set by http_reader_init(). */
    /* PUBLIC: which requests have a body without that limit, that is streamed:
     * by their verb and path. NULL: none. */
    bool (*streams)(const struct http_request *request);
    /* READ-ONLY */
    struct http_request request;
    size_t consumed;
    int error_status;         /* 400, 413, 414, 431, 501, 505 */
    const char *error_code;   /* "bad-request", "too-large", ... (API 1) */
    const char *error_text;   /* A sentence. */
    struct http_state *state; /* PRIVATE */
};

void http_reader_init(struct http_reader *reader, size_t body_max);
void http_reader_free(struct http_reader *reader);

/* Go on with a connection's input. `data` always begins with the first byte
 * of the request being read and holds at least all that earlier calls for it
 * were given (it may have moved); only the new bytes are parsed. Chunked
 * bodies are joined in place, hence writable. After HTTP_READ_DONE the caller
 * drops `consumed` bytes, when it is done with the request's views, and
 * starts the next one by calling again. */
enum http_progress http_read(struct http_reader *reader, uint8_t *data,
                             size_t size);

/* The body of a streamed request. After HTTP_READ_HEAD the caller drops the
 * head, `consumed` bytes (the views end with it), and gives what follows, each
 * byte once: those that were `consumed` are dropped, those of the body among
 * them are request.body, until `data` moves. `data` is overwritten.
 * HTTP_READ_DONE: that was all, the next request comes. */
enum http_progress http_read_body(struct http_reader *reader, uint8_t *data,
                                  size_t size);

/* True once the head of the current request is complete (for time-outs). */
bool http_head_done(const struct http_reader *reader);
/* True when bytes of a request have been seen and it is not complete. */
bool http_in_request(const struct http_reader *reader);

/* The value of the header `name` (case-insensitive); data NULL when it is
 * not there. Repeated headers: the first. */
struct bytes http_header(const struct http_request *request, const char *name);
struct bytes http_header_named(const struct http_header *headers,
                               uint32_t count, const char *name);

/* ---- targets ---- */

/* Percent-decode `in` into `out` (room for in.size bytes); '+' stays '+'.
 * False on a bad escape. */
bool http_percent_decode(struct bytes in, uint8_t *out, size_t *out_size);
/* Percent-encode for a path or query value: unreserved characters (RFC 3986
 * 2.3) stay, and '/' when `keep_slash`. */
void http_percent_encode(struct buf *out, struct bytes in, bool keep_slash);
/* Equal but for the case of ASCII letters. */
bool http_equal_fold(struct bytes a, const char *text);
/* Without blanks and tabs at both ends (OWS, RFC 9110 5.6.3). */
struct bytes http_trim(struct bytes text);
/* The next element of a comma-separated list (RFC 9110 5.6.1), without white
 * space around it; empty ones are skipped. False: that was all. */
bool http_list_next(struct bytes *rest, struct bytes *element);

/* host[:port] (RFC 3986 3.2), as in Host; a user, an empty host and a comma
 * are refused. False: it is none. */
struct http_authority {
    struct bytes host; /* As written, without brackets; a view. */
    uint16_t port;     /* 0 when there is none. */
    bool numeric;      /* An IPv4 or IPv6 address. */
};
bool http_authority(struct bytes text, struct http_authority *authority);
/* scheme://host[:port] as in Origin (RFC 6454 7), for http and https; the port
 * is the scheme's, also in *scheme_port, when there is none. */
bool http_origin(struct bytes text, struct http_authority *authority,
                 uint16_t *scheme_port);

/* The same for names and values in a query, where '+' is a blank: what forms,
 * URLSearchParams, urlencode and curl --data-urlencode write. */
bool http_form_decode(struct bytes in, uint8_t *out, size_t *out_size);
/* The next parameter of a query, still encoded; the value is empty for "name"
 * and "name=". False: that was all. */
bool http_query_next(struct bytes *rest, struct bytes *name,
                     struct bytes *value);

/* ---- responses ---- */

const char *http_reason(int status);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7), of years up to 9999;
 * whatever the locale and the time zone are. */
void http_add_date(struct buf *out, uint64_t unix_s);

/* "HTTP/1.1 200 OK\r\n". */
void http_add_status(struct buf *out, int status);
void http_add_header(struct buf *out, const char *name, struct bytes value);
void http_add_header_u64(struct buf *out, const char *name, uint64_t value);
/* Content-Length, blank line, body (left out when `head_only`; the length is
 * that of the body all the same, RFC 9110 9.3.2). */
void http_add_body(struct buf *out, struct bytes body, bool head_only);

/* ---- the client's side: one answer of any length, piece by piece ---- */

struct http_answer_state; /* PRIVATE, see answer.c. */

/* The response on a connection that carries one request. Answers 100 and 102
 * to 199 are passed over; 101 is an error, as are versions other than HTTP/1
 * and heads over the limits above. What comes behind the answer is ignored. */
struct http_answer {
    /* READ-ONLY */
    bool head_done; /* status and headers are there. */
    int status;
    uint32_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX]; /* Good until the free. */
    struct bytes body;               /* The part that the last call found. */
    const char *error_text;          /* After HTTP_READ_ERROR, a sentence. */
    struct http_answer_state *state; /* PRIVATE */
};

void http_answer_init(struct http_answer *answer);
void http_answer_free(struct http_answer *answer);

/* Go on with the bytes that follow those of the earlier calls; `size` 0: the
 * server has closed. `data` is overwritten: the pieces of body in it are
 * joined at its beginning, where answer->body views them until `data` moves.
 *
 * HTTP_READ_MORE   so far so good; answer->body may hold something
 * HTTP_READ_DONE   that was all of it, as its own length or chunks (or, when
 *                  it has neither, the end of the connection) say
 * HTTP_READ_ERROR  it is malformed, or ended early: what was found of the
 *                  body is not all of it */
enum http_progress http_answer_read(struct http_answer *answer, uint8_t *data,
                                    size_t size);

#endif
