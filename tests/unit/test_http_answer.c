/* test_http_answer.c -- what a client makes of an answer: the same however it
 * is cut into pieces, and never a part of it for the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/http.h"

struct outcome {
    enum http_progress progress;
    int status;
    bool at_eof; /* It took the end of the connection to know. */
    char body[64];
    char etag[32];
};

/* Feed `text` up to `split`, then the rest, then the end. */
static struct outcome feed(const char *text, size_t size, size_t split)
{
    struct http_answer answer;
    struct outcome outcome = {.progress = HTTP_READ_MORE};
    size_t body_bytes = 0;
    size_t ends[4] = {0, split, size, size};
    http_answer_init(&answer);
    for (int i = 0; i < 3 && outcome.progress == HTTP_READ_MORE; i++) {
        size_t piece = ends[i + 1] - ends[i];
        if (piece == 0 && i < 2) {
            continue;
        }
        uint8_t *copy = mem_alloc(piece + 1);
        memcpy(copy, text + ends[i], piece);
        outcome.progress = http_answer_read(&answer, copy, piece);
        outcome.at_eof = piece == 0;
        assert_true(body_bytes + answer.body.size < sizeof(outcome.body));
        if (answer.body.size > 0) {
            memcpy(outcome.body + body_bytes, answer.body.data,
                   answer.body.size);
            body_bytes += answer.body.size;
        }
        mem_free(copy);
    }
    outcome.status = answer.head_done ? answer.status : 0;
    struct bytes etag =
        http_header_named(answer.headers, answer.header_count, "etag");
    assert_true(etag.size < sizeof(outcome.etag));
    if (etag.size > 0) {
        memcpy(outcome.etag, etag.data, etag.size);
    }
    http_answer_free(&answer);
    return outcome;
}

#define OK "HTTP/1.1 200 OK\r\n"

static void test_whole_and_in_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
        bool at_eof;
        const char *body;
        const char *etag;
    } cases[] = {
        {OK "Content-Length: 4\r\n\r\nbody", 200, false, "body", ""},
        {OK "Content-Length: 0\r\nETag: \"7\" \r\n\r\n", 200, false, "",
         "\"7\""},
        {OK "X:\r\nETAG:  \"42\"\t\r\nContent-Length: 1\r\n\r\nxmore", 200,
         false, "x", "\"42\""},
        {OK "Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n"
            "0\r\nETag: late\r\n\r\n",
         200, false, "body", ""},
        {OK "\r\nuntil the end", 200, true, "until the end", ""},
        {"HTTP/1.0 200 OK\r\n\r\nold", 200, true, "old", ""},
        {"HTTP/1.1 204 No Content\r\nETag: e\r\n\r\n", 204, false, "", "e"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
         "ETag: not yet\r\n\r\n" OK "Content-Length: 2\r\n\r\nok",
         200, false, "ok", ""},
        {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}", 503,
         false, "{}", ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t size = strlen(cases[i].text);
        for (size_t split = 0; split <= size; split++) {
            struct outcome got = feed(cases[i].text, size, split);
            if (got.progress != HTTP_READ_DONE ||
                got.status != cases[i].status ||
                got.at_eof != cases[i].at_eof ||
                strcmp(got.body, cases[i].body) != 0 ||
                strcmp(got.etag, cases[i].etag) != 0) {
                fail_msg("case %zu split %zu: %d status %d body %s etag %s", i,
                         split, (int)got.progress, got.status, got.body,
                         got.etag);
            }
        }
    }
}

static void test_cut_short_is_an_error(void **state)
{
    (void)state;
    static const char *const texts[] = {
        OK "Content-Length: 4\r\n\r\nbody",
        OK "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\nx",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        for (size_t size = 0; size < strlen(texts[i]); size++) {
            struct outcome got = feed(texts[i], size, size / 2);
            if (got.progress != HTTP_READ_ERROR) {
                fail_msg("text %zu cut at %zu: %d", i, size, (int)got.progress);
            }
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
        "Connection: upgrade\r\n\r\n",
        OK "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbodyx",
        OK "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK "Content-Length: -4\r\n\r\nbody",
        OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        size_t size = strlen(texts[i]);
        for (size_t split = 0; split <= size; split++) {
            struct outcome got = feed(texts[i], size, split);
            if (got.progress != HTTP_READ_ERROR) {
                fail_msg("text %zu split %zu: %d", i, split, (int)got.progress);
            }
        }
    }
}

static void feed_headers(unsigned count, size_t value_bytes,
                         enum http_progress expected)
{
    struct buf text = {0};
    buf_add_string(&text, OK);
    for (unsigned i = 0; i < count; i++) {
        buf_printf(&text, "X%u: ", i);
        memset(buf_reserve(&text, value_bytes), 'v', value_bytes);
        text.size += value_bytes;
        buf_add_string(&text, "\r\n");
    }
    buf_add_string(&text, "Content-Length: 0\r\n\r\n");
    struct http_answer answer;
    http_answer_init(&answer);
    assert_int_equal(http_answer_read(&answer, text.data, text.size), expected);
    http_answer_free(&answer);
    buf_free(&text);
}

static void test_limits_of_the_head(void **state)
{
    (void)state;
    feed_headers(HTTP_HEADERS_MAX - 1, 1, HTTP_READ_DONE);
    feed_headers(HTTP_HEADERS_MAX, 1, HTTP_READ_ERROR);
    feed_headers(2, 8000, HTTP_READ_DONE);
    feed_headers(3, 8000, HTTP_READ_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_and_in_pieces),
        cmocka_unit_test(test_cut_short_is_an_error),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits_of_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
