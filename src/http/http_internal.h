/* http_internal.h -- what the files of this room share.
 *
 *     head.c       a request's head: strict lines, then what they mean
 *     reader.c     bodies, and the order in which a request is read
 *     target.c     percent coding, query parameters, host[:port]
 *     response.c   responses -> bytes; the client's view of a short one
 *     answer.c     the client's view of one of any length */
#ifndef CRAFTD_HTTP_HTTP_INTERNAL_H
#define CRAFTD_HTTP_HTTP_INTERNAL_H

#include "http/http.h"

struct span {
    uint32_t at; /* Offset from the first byte of the request. */
    uint32_t size;
};

/* Next part of a body in chunks (RFC 9112 7.1). */
enum chunk_part { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

struct http_state {
    size_t scanned;    /* Bytes searched for the end of the head. */
    size_t line_start; /* Start of the line that `scanned` is in. */
    size_t begin;      /* Start of the request line, behind an empty line. */
    size_t head_bytes; /* 0: not complete. */
    struct span request_line;
    struct span target;
    struct span authority; /* In a target in absolute form. */
    uint32_t header_count;
    struct span names[HTTP_HEADERS_MAX];
    struct span values[HTTP_HEADERS_MAX]; /* Without white space around. */
    /* The body. */
    size_t parsed;   /* Start of the next part of a chunked body. */
    size_t searched; /* Bytes behind it that hold no end of a line. */
    enum chunk_part part;
    size_t chunk_left;
    size_t body_bytes; /* Joined behind the head. */
    uint32_t trailer_count;
    size_t trailer_bytes;
    uint64_t body_left; /* Left of a streamed body with a length. */
    bool head_told;
};

/* Set the reader's error; always HTTP_READ_ERROR. `code` and `text` are
 * static. */
enum http_progress http_fail(struct http_reader *reader, int status,
                             const char *code, const char *text);
enum http_progress http_bad(struct http_reader *reader, const char *text);

/* head.c. Look for the end of the head in `data`, line by line; DONE: it is
 * there, state->head_bytes long, and each line is well-formed. */
enum http_progress http_scan_head(struct http_reader *reader,
                                  const uint8_t *data, size_t size);
/* Fill in the request from a head that was scanned. */
enum http_progress http_read_head(struct http_reader *reader, uint8_t *data);
/* The request's views into `data`, made anew: the input may have moved. */
void http_set_views(struct http_reader *reader, const uint8_t *data);
/* A header or trailer line without its CRLF, token ":" value (RFC 9112 5):
 * the size of its name, or 0 and what is wrong. */
size_t http_header_name(const uint8_t *line, size_t size, const char **wrong);

#endif
