/* http_internal.h -- types and functions that the files of this room share.
 *
 *     head.c       the head of a request: strict lines, then their meaning
 *     reader.c     bodies, and the steps of reading a request
 *     target.c     percent-encoding, query parameters, lists, host[:port]
 *     response.c   responses -> bytes
 *     answer.c     answers as a client reads them */
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
    size_t begin;      /* Start of the request line, after an empty line. */
    size_t head_bytes; /* 0: not complete. */
    struct span request_line;
    struct span target;
    struct span authority; /* Of a target in absolute form. */
    uint32_t header_count;
    struct span names[HTTP_HEADERS_MAX];
    struct span values[HTTP_HEADERS_MAX]; /* Without surrounding white space. */
    /* The body. */
    size_t parsed;   /* Start of the next part of a chunked body. */
    size_t searched; /* Bytes behind it that hold no end of a line. */
    enum chunk_part part;
    size_t chunk_left;
    size_t body_bytes; /* Bytes joined behind the head. */
    uint32_t trailer_count;
    size_t trailer_bytes;
    uint64_t body_left; /* Rest of a streamed body with a length. */
    bool head_reported; /* HTTP_READ_HEAD has been returned. */
};

/* Set the reader's error, and return HTTP_READ_ERROR. `code` and `text` are
 * static; http_bad() is the same with 400 bad-request. */
enum http_progress http_fail(struct http_reader *reader, int status,
                             const char *code, const char *text);
enum http_progress http_bad(struct http_reader *reader, const char *text);

/* head.c: look for the end of the head in `data`, line by line. HTTP_READ_DONE:
 * it is complete, state->head_bytes long, and each line is well-formed. */
enum http_progress http_scan_head(struct http_reader *reader,
                                  const uint8_t *data, size_t size);
/* Fill in the request from a head that was scanned. */
enum http_progress http_read_head(struct http_reader *reader, uint8_t *data);
/* Set the request's views into `data`, which may have moved. */
void http_set_views(struct http_reader *reader, const uint8_t *data);
/* Check a header or trailer line without its CRLF: token ":" value (RFC 9112
 * 5). Returns the size of its name, or 0 and a sentence in *wrong. */
size_t http_header_name(const uint8_t *line, size_t size, const char **wrong);

#endif
