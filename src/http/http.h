/* http.h -- HTTP/1.1 (RFC 9110, 9112): bytes -> requests, responses -> bytes.
 * Pure: no I/O, no clock. The only user of http_parser.h.
 *
 * Requests are parsed strictly, so that two readers of one byte stream cannot
 * disagree about it (request smuggling). Refused are: Content-Length together
 * with Transfer-Encoding; Content-Length repeated, signed, listed or not all
 * digits; any Transfer-Encoding but one "chunked" (501); obs-fold; bare CR;
 * bare LF; NUL; names that are no token (RFC 9110 5.6.2); blanks before the
 * colon; target bytes outside printable ASCII; Host missing or repeated in
 * HTTP/1.1, or anything but host[:port]; versions other than 1.0 and 1.1 (505);
 * targets that are neither a path nor an http:// URL.
 *
 * Chunk extensions and trailers are read and dropped. An Upgrade is ignored,
 * and the connection goes on (RFC 9110 7.8). Methods that are registered but
 * not ours are read (the caller answers 405); others are 501. Where white space
 * is allowed it is blanks and tabs (OWS, RFC 9110 5.6.3). One empty line before
 * a request is ignored (RFC 9112 2.2). http-parser splits the request line;
 * Debian builds it lenient, so the rest is done here.
 *
 * In a target in absolute form (RFC 9112 3.2.2) the authority replaces Host,
 * and the rest is the target. The host is not compared with our names: this is
 * no proxy.
 *
 * Limits: request line 8 KiB (414); one header 8 KiB, all headers 16 KiB, 128
 * headers (431), the same for trailers; the body (413 as soon as Content-Length
 * or the chunks exceed it). */
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
    HTTP_VERB_OTHER, /* A registered method that no path takes: 405. */
};

struct http_header {
    struct bytes name;
    struct bytes value; /* Without the white space around it. */
};

/* Views into the input; valid until the next http_read() or until the input
 * moves. */
struct http_request {
    enum http_verb verb;
    uint8_t minor;        /* HTTP/1.minor */
    bool keep_alive;      /* Derived from version and Connection. */
    bool expect_continue; /* Expect: 100-continue, HTTP/1.1. */
    bool expect_unknown;  /* Another Expect: 417. */
    bool of_server;       /* About the server rather than a path: OPTIONS *, or
                             of a URL without a path; CONNECT. */
    bool connect;         /* The method is CONNECT. */
    struct bytes target;  /* As received, without an authority. */
    struct bytes path;    /* The target up to '?', still percent-encoded. */
    struct bytes query;   /* The target after '?', empty when there is none. */
    uint32_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    uint64_t content_length; /* 0 when there is none, or the body is chunked. */
    bool chunked;
    bool streamed;     /* The body is read in pieces, by http_read_body(). */
    struct bytes body; /* De-chunked; complete with HTTP_READ_DONE, but if
                          streamed, the part from the last http_read_body(). */
};

/* The names do not clash with those of http_parser.h. */
enum http_progress {
    HTTP_READ_MORE,  /* More input is needed. */
    HTTP_READ_HEAD,  /* The head is complete, the body is not: returned once, so
                        that the caller can answer 100, 413, 417 early. Call
                        again. */
    HTTP_READ_DONE,  /* The request is complete: `consumed` bytes. */
    HTTP_READ_ERROR, /* See error_status, error_code and error_text. Close the
                        connection after the answer. */
};

struct http_state; /* PRIVATE, see reader.c. */

struct http_reader {
    size_t body_max; /* READ-ONLY: limit of a body in bytes. */
    /* PUBLIC: decides by verb and path whether the body of a request is
     * streamed; such a body has no limit. NULL: none is. */
    bool (*streams)(const struct http_request *request);
    /* READ-ONLY */
    struct http_request request;
    size_t consumed;
    int error_status;         /* 400, 413, 414, 431, 501, 505 */
    const char *error_code;   /* "bad-request", "too-large", ...; static. */
    const char *error_text;   /* A sentence; static. */
    struct http_state *state; /* PRIVATE */
};

/* `body_max`: limit of a body in bytes. `streams` is NULL then. */
void http_reader_init(struct http_reader *reader, size_t body_max);
void http_reader_free(struct http_reader *reader);

/* Parse the input of a connection. `data` begins with the first byte of the
 * request being read, and holds at least the bytes of the earlier calls for it
 * (they may have moved); only the new bytes are parsed. `data` is writable
 * because chunks are joined in place. After HTTP_READ_DONE the caller uses the
 * views of the request, drops `consumed` bytes, and calls again for the next
 * request. */
enum http_progress http_read(struct http_reader *reader, uint8_t *data,
                             size_t size);

/* After HTTP_READ_HEAD, when nothing has been dropped but the input may have
 * moved: renew the views of the head. */
void http_view_head(struct http_reader *reader, const uint8_t *data);

/* Read the body of a streamed request. After HTTP_READ_HEAD the caller drops
 * the head, `consumed` bytes (its views end with that), and passes the bytes
 * behind it. Each call consumes `consumed` bytes, which the caller drops; the
 * part of them that belongs to the body is request.body, valid until `data`
 * moves. `data` is overwritten. HTTP_READ_DONE: the body is complete, and
 * http_read() reads the next request. */
enum http_progress http_read_body(struct http_reader *reader, uint8_t *data,
                                  size_t size);

/* True when the head of the current request is complete. */
bool http_head_done(const struct http_reader *reader);
/* True when a request has begun and is not complete. */
bool http_in_request(const struct http_reader *reader);

/* The value of the first header with that name (case-insensitive); its data is
 * NULL when there is none. */
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
/* True when they are equal, ignoring the case of ASCII letters. */
bool http_equal_fold(struct bytes a, const char *text);
bool http_equal_fold_bytes(struct bytes a, struct bytes b);
/* Remove blanks and tabs at both ends (OWS, RFC 9110 5.6.3). */
struct bytes http_trim(struct bytes text);
/* Take the next element of a comma-separated list (RFC 9110 5.6.1), without the
 * white space around it; empty elements are skipped. False: there are no more.
 */
bool http_list_next(struct bytes *rest, struct bytes *element);

/* Parse host[:port] (RFC 3986 3.2), as in Host. False: it is malformed; a user,
 * an empty host and a comma are refused. */
struct http_authority {
    struct bytes host; /* As written, without brackets; a view. */
    uint16_t port;     /* 0 when there is none. */
    bool numeric;      /* An IPv4 or IPv6 address. */
};
bool http_authority(struct bytes text, struct http_authority *authority);
/* Parse scheme://host[:port], as in Origin (RFC 6454 7), for http and https.
 * *scheme_port is the default port of the scheme, and the port of the authority
 * if it has none. False: it is malformed, or has another scheme. */
bool http_origin(struct bytes text, struct http_authority *authority,
                 uint16_t *scheme_port);

/* Decode a name or a value of a query, where '+' is a blank, as forms,
 * URLSearchParams, urlencode and curl --data-urlencode write it. `out` and the
 * result are as for http_percent_decode(). */
bool http_form_decode(struct bytes in, uint8_t *out, size_t *out_size);
/* Take the next parameter of a query, still encoded; the value is empty for
 * "name" and "name=". False: there are no more. */
bool http_query_next(struct bytes *rest, struct bytes *name,
                     struct bytes *value);

/* ---- responses ---- */

/* The reason phrase of a status (RFC 9110 15). */
const char *http_reason(int status);

/* Add a date such as "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7); times
 * after the year 9999 count as its end. Independent of locale and time zone. */
void http_add_date(struct buf *out, uint64_t unix_s);

/* Add the status line: "HTTP/1.1 200 OK\r\n". */
void http_add_status(struct buf *out, int status);
/* Add one header; the value must hold no CR or LF. */
void http_add_header(struct buf *out, const char *name, struct bytes value);
void http_add_header_u64(struct buf *out, const char *name, uint64_t value);
/* Add Content-Length, the empty line and the body. With `head_only` the body is
 * left out, and its length stays (RFC 9110 9.3.2). */
void http_add_body(struct buf *out, struct bytes body, bool head_only);

/* ---- answers, as a client reads them: of any length, in pieces ---- */

struct http_answer_state; /* PRIVATE, see answer.c. */

/* The answer on a connection that carries one request. Interim answers (100,
 * 102 to 199) are skipped; 101 is an error, as are versions other than HTTP/1
 * and heads over the limits above. Bytes behind the answer are ignored. */
struct http_answer {
    /* READ-ONLY */
    bool head_done; /* status and headers are valid. */
    int status;
    uint32_t header_count;
    /* Valid until http_answer_free(). */
    struct http_header headers[HTTP_HEADERS_MAX];
    struct bytes body;               /* Part of the body from the last call. */
    const char *error_text;          /* After HTTP_READ_ERROR, a sentence. */
    struct http_answer_state *state; /* PRIVATE */
};

void http_answer_init(struct http_answer *answer);
void http_answer_free(struct http_answer *answer);

/* Parse the bytes that follow those of the earlier calls; `size` 0: the server
 * has closed the connection. `data` is overwritten: the pieces of the body in
 * it are joined at its start, where answer->body views them until `data` moves.
 *
 * HTTP_READ_MORE   more is expected; answer->body may hold a part of the body
 * HTTP_READ_DONE   the answer is complete by its length or its chunks or, when
 *                  it has neither, by the end of the connection
 * HTTP_READ_ERROR  it is malformed or was cut: the body is not complete */
enum http_progress http_answer_read(struct http_answer *answer, uint8_t *data,
                                    size_t size);

#endif
