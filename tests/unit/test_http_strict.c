/* test_http_strict.c -- two readers of one byte stream must agree where a
 * request ends: what could make them differ is refused; and however a request
 * is cut into pieces, it is the same request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "http/http.h"

enum { BODY_MAX = 64 };

struct outcome {
    enum http_progress progress;
    int status;
    size_t consumed;
    char body[BODY_MAX + 1];
};

/* Feed `text`, first up to `split`, then all of it. */
static struct outcome feed(const char *text, size_t size, size_t split)
{
    struct http_reader reader;
    struct outcome outcome = {.progress = HTTP_READ_MORE};
    size_t upto[2] = {split, size};
    uint8_t *data = mem_alloc(size);
    memcpy(data, text, size);
    http_reader_init(&reader, BODY_MAX);
    for (int i = 0; i < 2 && outcome.progress == HTTP_READ_MORE; i++) {
        do {
            outcome.progress = http_read(&reader, data, upto[i]);
        } while (outcome.progress == HTTP_READ_HEAD);
    }
    if (outcome.progress == HTTP_READ_ERROR) {
        outcome.status = reader.error_status;
    } else if (outcome.progress == HTTP_READ_DONE) {
        outcome.consumed = reader.consumed;
        must(reader.request.body.size <= BODY_MAX);
        memcpy(outcome.body, reader.request.body.data,
               reader.request.body.size);
    }
    http_reader_free(&reader);
    mem_free(data);
    return outcome;
}

#define H "Host: h\r\n"
#define POST "POST /key HTTP/1.1\r\n" H

static void test_accepted_whole_and_in_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *body;
        size_t more; /* Bytes of the next request behind it. */
    } cases[] = {
        {"GET /key/a HTTP/1.1\r\n" H "\r\n", "", 0},
        {"GET / HTTP/1.0\r\n\r\n", "", 0},
        {"OPTIONS * HTTP/1.1\r\n" H "\r\n", "", 0},
        {"OPTIONS http://g HTTP/1.1\r\n" H "\r\n", "", 0},
        {"CONNECT g:80 HTTP/1.1\r\n" H "\r\n", "", 0},
        {"GET http://g:80/a?b HTTP/1.1\r\n" H "\r\n", "", 0},
        {"GET HTTP://[::1]:80?b HTTP/1.1\r\n" H "\r\n", "", 0},
        {"GET http://g/ HTTP/1.0\r\n\r\n", "", 0},
        {"\r\nGET / HTTP/1.1\r\n" H "\r\n", "", 0},
        {"\r\n" POST "Content-Length: 4\r\n\r\nbody\r\nGET", "body", 5},
        {"\r\n" POST "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
         "body", 0},
        {POST "Content-Length: 4\r\n\r\nbody", "body", 0},
        {POST "content-length:4\r\nX: \t a b\t\r\n\r\nbodyGET ", "body", 4},
        {POST "Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n"
              "0\r\nTrailer: t\r\n\r\n",
         "body", 0},
        {POST "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\nGET /",
         "body", 5},
        {POST "Upgrade: websocket\r\nConnection: upgrade\r\n"
              "Content-Length: 4\r\n\r\nbody",
         "body", 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t size = strlen(cases[i].text);
        for (size_t split = 0; split <= size; split++) {
            struct outcome outcome = feed(cases[i].text, size, split);
            if (outcome.progress != HTTP_READ_DONE ||
                outcome.consumed != size - cases[i].more ||
                strcmp(outcome.body, cases[i].body) != 0) {
                fail_msg("case %zu split %zu: %d %d consumed %zu body %s", i,
                         split, (int)outcome.progress, outcome.status,
                         outcome.consumed, outcome.body);
            }
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400},
        {POST "Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody", 400},
        {POST "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody", 400},
        {POST "Content-Length: +4\r\n\r\nbody", 400},
        {POST "Content-Length: 4,4\r\n\r\nbody", 400},
        {POST "Content-Length: 0x4\r\n\r\nbody", 400},
        {POST "Content-Length: -4\r\n\r\nbody", 400},
        {POST "Content-Length: 4 4\r\n\r\nbody", 400},
        {POST "Content-Length:\r\n\r\n", 400},
        {POST "Content-Length: 99999999999999999999\r\n\r\n", 400},
        {POST "Content-Length: 65\r\n\r\n", 413},
        {POST "Transfer-Encoding: gzip\r\n\r\n", 501},
        {POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
        {POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
              "\r\n",
         501},
        {POST "Transfer-Encoding: xchunked\r\n\r\n", 501},
        {POST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n\xcd\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n2 \r\nab\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n;a\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n2;\x01\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n2\nab\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n2;\nab\r\n0\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n2\r\nabX\n0\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n0\r\nA b: c\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n0000000000000001\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\n41\r\n", 413},
        {POST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3f\r\n", 413},
        {POST "X: a\r\n folded\r\n\r\n", 400},
        {POST "Ho st: x\r\n\r\n", 400},
        {POST "Content-Length : 4\r\n\r\nbody", 400},
        {POST ": empty\r\n\r\n", 400},
        {POST "X: a\rb\r\n\r\n", 400},
        {POST "X: a\x01\r\n\r\n", 400},
        {POST "X: a\n\r\n", 400},
        {"GET /\ta HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /key/pub#/../secret HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /#a HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /\x80 HTTP/1.1\r\n" H "\r\n", 400},
        {"GET  / HTTP/1.1\r\n" H "\r\n", 400},
        {"GET / HTTP/1.1\n" H "\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H H "\r\n", 400},
        {"\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 400},
        {"\r\n \r\n", 400},
        {"GET ftp://h/ HTTP/1.1\r\n" H "\r\n", 400},
        {"GET https://h/ HTTP/1.1\r\n" H "\r\n", 400},
        {"GET http:///a HTTP/1.1\r\n" H "\r\n", 400},
        {"GET http://:80/a HTTP/1.1\r\n" H "\r\n", 400},
        {"GET http:// HTTP/1.1\r\n" H "\r\n", 400},
        {"GET http://u@h/ HTTP/1.1\r\n" H "\r\n", 400},
        {"GET http://h/ HTTP/1.1\r\n\r\n", 400},
        {"GET http://h/ HTTP/1.1\r\n" H H "\r\n", 400},
        {"GET a HTTP/1.1\r\n" H "\r\n", 400},
        {"GET * HTTP/1.1\r\n" H "\r\n", 400},
        {"GET / HTTP/2.0\r\n" H "\r\n", 505},
        {"GET / HTTP/1.2\r\n" H "\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\n", 505},
        {"GET / HTDP/1.1\r\n" H "\r\n", 400},
        {"GET / HTTP/1.10\r\n" H "\r\n", 400},
        {"GET / HTTP/1\r\n" H "\r\n", 400},
        {"GET  HTTP/1.1\r\n" H "\r\n", 400},
        {"BREW / HTTP/1.1\r\n" H "\r\n", 501},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t size = strlen(cases[i].text);
        for (size_t split = 0; split <= size; split++) {
            struct outcome outcome = feed(cases[i].text, size, split);
            if (outcome.progress != HTTP_READ_ERROR ||
                outcome.status != cases[i].status) {
                fail_msg("case %zu split %zu: %d %d", i, split,
                         (int)outcome.progress, outcome.status);
            }
        }
    }
}

static int status_of(struct buf *text)
{
    struct outcome outcome =
        feed((const char *)text->data, text->size, text->size);
    buf_free(text);
    return outcome.progress == HTTP_READ_DONE ? 200 : outcome.status;
}

static void add_many(struct buf *text, char c, size_t count)
{
    memset(buf_reserve(text, count), c, count);
    text->size += count;
}

static void test_limits(void **state)
{
    (void)state;
    struct buf text = {0};
    buf_add_string(&text, "GET /");
    add_many(&text, 'a', 8300);
    buf_add_string(&text, " HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(status_of(&text), 414);

    buf_add_string(&text, "GET / HTTP/1.1\r\n" H "X: ");
    add_many(&text, 'a', 8300);
    buf_add_string(&text, "\r\n\r\n");
    assert_int_equal(status_of(&text), 431);

    for (int i = 0; i < 3; i++) {
        if (i == 0) {
            buf_add_string(&text, "GET / HTTP/1.1\r\n" H);
        }
        buf_add_string(&text, "X: ");
        add_many(&text, 'a', 7000);
        buf_add_string(&text, "\r\n");
    }
    buf_add_string(&text, "\r\n");
    assert_int_equal(status_of(&text), 431);

    for (int headers = 127; headers <= 128; headers++) {
        buf_add_string(&text, "GET / HTTP/1.1\r\n" H);
        for (int i = 0; i < headers; i++) {
            buf_add_string(&text, "X: y\r\n");
        }
        buf_add_string(&text, "\r\n");
        assert_int_equal(status_of(&text), headers == 127 ? 200 : 431);
    }

    buf_add_string(&text, POST "Transfer-Encoding: chunked\r\n\r\n41\r\n");
    add_many(&text, 'b', 65);
    buf_add_string(&text, "\r\n0\r\n\r\n");
    assert_int_equal(status_of(&text), 413);
}

static void add_trailers(struct buf *text, const char *line, size_t count,
                         size_t value_bytes)
{
    buf_add_string(text, line);
    buf_add_string(text, "Transfer-Encoding: chunked\r\n\r\n0\r\n");
    for (size_t i = 0; i < count; i++) {
        buf_add_string(text, "X: ");
        add_many(text, 'a', value_bytes);
        buf_add_string(text, "\r\n");
    }
    buf_add_string(text, "\r\n");
}

/* Trailers are dropped, but not without end: as many, and as large, as
 * headers may be (and BODY_MAX is no help: it is for the body). */
static void test_trailers_are_bounded_like_headers(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        size_t value_bytes;
        int status;
    } cases[] = {{1, 1, 200},    {128, 1, 200},  {129, 1, 431}, {2, 8000, 200},
                 {3, 8000, 431}, {1, 8300, 431}, {0, 0, 200}};
    struct buf text = {0};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        add_trailers(&text, POST, cases[i].count, cases[i].value_bytes);
        assert_int_equal(status_of(&text), cases[i].status);
    }
}

static struct outcome feed_parts(const char *before, const char *part,
                                 const char *behind)
{
    struct buf text = {0};
    buf_printf(&text, "%s%s%s", before, part, behind);
    struct outcome outcome =
        feed((const char *)text.data, text.size, text.size);
    buf_free(&text);
    return outcome;
}

static struct outcome feed_host(const char *host)
{
    return feed_parts("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n");
}

static struct outcome feed_authority(const char *host)
{
    return feed_parts("GET http://", host, "/ HTTP/1.1\r\n" H "\r\n");
}

/* RFC 9110 7.2, RFC 3986 3.2.2; a comma would be two hosts joined by a proxy.
 * The authority of a URL obeys the same rules, but has a host. */
static void test_a_host_obeys_its_grammar(void **state)
{
    (void)state;
    static const char *const good[] = {
        "h",         "h:80",          "h:",          "a_b.c-d~e:65535",
        "127.0.0.1", "[::1]",         "[::1]:80",    "[::ffff:1.2.3.4]:1",
        "%41.x",     "xn--bcher-kva", "a!$&'()*+;=", "10.0.0.1:0"};
    static const char *const bad[] = {"a b",
                                      "a\tb",
                                      "a,b",
                                      "a/b",
                                      "a?b",
                                      "a#b",
                                      "u@h",
                                      "http://h",
                                      "[::1",
                                      "::1",
                                      "[::1]x",
                                      "[zz]",
                                      "[]",
                                      "[1.2.3.4]",
                                      "h:x",
                                      "h:1:2",
                                      "h:65536",
                                      "h:-1",
                                      "h:999999999999999999999",
                                      "%zz",
                                      "%4",
                                      "a%",
                                      "\x80",
                                      ":x",
                                      ":65536",
                                      "[::1]:x",
                                      "a[b]",
                                      "<a>",
                                      "a\\b",
                                      "\"a\"",
                                      "[fe80::1%25eth0]"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        if (feed_host(good[i]).progress != HTTP_READ_DONE ||
            feed_authority(good[i]).progress != HTTP_READ_DONE) {
            fail_msg("%s is refused", good[i]);
        }
    }
    /* No host is no wrong one, as in "Host:"; in a URL it is (RFC 9110 4.2.1).
     * Nodes of the build before ask POST /join so. */
    assert_int_equal(feed_host(":80").progress, HTTP_READ_DONE);
    assert_int_equal(feed_authority(":80").status, 400);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        if (feed_host(bad[i]).status != 400) {
            fail_msg("Host: %s is accepted", bad[i]);
        }
        /* These end the authority instead. */
        bool ends = strpbrk(bad[i], "/?") != NULL;
        if (!ends && feed_authority(bad[i]).status != 400) {
            fail_msg("http://%s/ is accepted", bad[i]);
        }
    }
    /* No host is known: said so, in Host only. */
    assert_int_equal(
        feed_parts("GET / HTTP/1.1\r\nHost:", "", "\r\n\r\n").progress,
        HTTP_READ_DONE);
    /* HTTP/1.0 may leave Host out, but not send a bad one. */
    assert_int_equal(
        feed_parts("GET / HTTP/1.0\r\nHost: ", "a b", "\r\n\r\n").status, 400);
}

/* RFC 9110 5.6.3: OWS is blanks and tabs, wherever blanks may be. */
static void test_tabs_are_white_space(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        bool keep_alive;
        uint64_t length;
        bool chunked;
        bool expects;
    } cases[] = {
        {"Content-Length:\t4\t\r\n", true, 4, false, false},
        {"Content-Length: \t 4 \t\r\n", true, 4, false, false},
        {"Transfer-Encoding:\tchunked\t\r\n", true, 0, true, false},
        {"Transfer-Encoding: \tChunked \r\n", true, 0, true, false},
        {"Connection: keep-alive,\tclose\r\n", false, 0, false, false},
        {"Connection:\tclose\t\r\n", false, 0, false, false},
        {"Connection: close\t,keep-alive\r\n", false, 0, false, false},
        {"Connection: a\r\nConnection:\tClose\r\n", false, 0, false, false},
        {"Connection: ,,\t,close,\r\n", false, 0, false, false},
        {"Connection: closed, xclose\r\n", true, 0, false, false},
        {"Connection: close;q=1\r\n", true, 0, false, false},
        {"Expect:\t100-continue\t\r\n", true, 0, false, true},
        {"Expect: 100-Continue\r\n", true, 0, false, true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct http_reader reader;
        struct buf text = {0};
        buf_printf(&text, POST "%s\r\n", cases[i].headers);
        http_reader_init(&reader, BODY_MAX);
        enum http_progress progress = http_read(&reader, text.data, text.size);
        const struct http_request *request = &reader.request;
        if ((progress != HTTP_READ_HEAD && progress != HTTP_READ_DONE) ||
            request->keep_alive != cases[i].keep_alive ||
            request->content_length != cases[i].length ||
            request->chunked != cases[i].chunked ||
            request->expect_continue != cases[i].expects) {
            fail_msg("case %zu: %d", i, (int)progress);
        }
        http_reader_free(&reader);
        buf_free(&text);
    }
}

/* A name that only resembles a framing header has no effect and is accepted. */
static void test_names_that_resemble_framing_headers(void **state)
{
    (void)state;
    static const char *const names[] = {"Content-Lengt",
                                        "Content-Length2",
                                        "Content-Length-",
                                        "Content",
                                        "Transfer-Encodin",
                                        "Transfer-Encodings",
                                        "Transfer-Encoding1",
                                        "Transfer",
                                        "T",
                                        "C",
                                        "Connectio",
                                        "Connections",
                                        "Upgrad",
                                        "Upgrade2",
                                        "Proxy-Connection",
                                        "Hos",
                                        "Host2",
                                        "Expec",
                                        "Expect2",
                                        "Te",
                                        "X-Content-Length"};
    static const char *const values[] = {"4",     "chunked", "gzip",
                                         "close", "x y",     "websocket"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        for (size_t k = 0; k < ARRAY_COUNT(values); k++) {
            struct http_reader reader;
            struct buf text = {0};
            buf_printf(&text, POST "%s: %s\r\n\r\nGET", names[i], values[k]);
            http_reader_init(&reader, BODY_MAX);
            if (http_read(&reader, text.data, text.size) != HTTP_READ_DONE ||
                reader.consumed != text.size - 3 ||
                !reader.request.keep_alive) {
                fail_msg("%s: %s", names[i], values[k]);
            }
            http_reader_free(&reader);
            buf_free(&text);
        }
    }
}

static void test_known_methods_are_read_and_unknown_are_not(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool of_server;
        bool keep_alive;
    } known[] = {
        {"PATCH /key/x", false, true},    {"TRACE /", false, true},
        {"PROPFIND /x", false, true},     {"CONNECT h:80", true, false},
        {"CONNECT [::1]:1", true, false}, {"PURGE http://h/x", false, true},
    };
    static const struct {
        const char *line;
        int status;
    } refused[] = {
        {"BREW /x", 501},    {"get /x", 501},    {"GETX /x", 501},
        {"CONNECT /x", 400}, {"CONNECT h", 400}, {"CONNECT u@h:1", 400},
        {"PATCH x", 400},    {"PATCH *", 400},   {"TRACE ftp://h/", 400},
        {"CONNECT h:", 400},
    };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        struct http_reader reader;
        struct buf text = {0};
        buf_printf(&text, "%s HTTP/1.1\r\n" H "\r\n", known[i].line);
        http_reader_init(&reader, BODY_MAX);
        if (http_read(&reader, text.data, text.size) != HTTP_READ_DONE ||
            reader.request.verb != HTTP_VERB_OTHER ||
            reader.request.of_server != known[i].of_server ||
            reader.request.keep_alive != known[i].keep_alive) {
            fail_msg("%s: %s", known[i].line, reader.error_text);
        }
        http_reader_free(&reader);
        buf_free(&text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct outcome outcome =
            feed_parts("", refused[i].line, " HTTP/1.1\r\n" H "\r\n");
        if (outcome.status != refused[i].status) {
            fail_msg("%s: %d", refused[i].line, outcome.status);
        }
    }
}

/* No other protocol is spoken here: the request is answered as if it had not
 * asked, and the connection goes on (RFC 9110 7.8). */
static void test_an_upgrade_is_ignored_and_the_connection_goes_on(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAMAAABk\r\n",
        "Upgrade: TLS/1.0\r\n"};
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
        struct http_reader reader;
        struct buf text = {0};
        buf_printf(&text, POST "%sContent-Length: 4\r\n\r\nbodyGET /",
                   headers[i]);
        http_reader_init(&reader, BODY_MAX);
        assert_int_equal(http_read(&reader, text.data, text.size),
                         HTTP_READ_DONE);
        assert_true(reader.request.keep_alive);
        assert_int_equal(reader.consumed, text.size - 5);
        http_reader_free(&reader);
        buf_free(&text);
    }
}

static void test_expectations_and_keep_alive(void **state)
{
    (void)state;
    struct http_reader reader;
    char text[] = POST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody";
    http_reader_init(&reader, BODY_MAX);
    assert_int_equal(http_read(&reader, (uint8_t *)text, strlen(text) - 4),
                     HTTP_READ_HEAD);
    assert_true(reader.request.expect_continue);
    assert_int_equal(http_read(&reader, (uint8_t *)text, strlen(text)),
                     HTTP_READ_DONE);
    assert_true(reader.request.keep_alive);
    char close[] = "GET / HTTP/1.1\r\nConnection: close\r\n" H "\r\n";
    assert_int_equal(http_read(&reader, (uint8_t *)close, strlen(close)),
                     HTTP_READ_DONE);
    assert_false(reader.request.keep_alive);
    char old[] = "GET /a?b=c&d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_int_equal(http_read(&reader, (uint8_t *)old, strlen(old)),
                     HTTP_READ_DONE);
    assert_true(reader.request.keep_alive);
    assert_true(bytes_equal_string(reader.request.path, "/a"));
    http_reader_free(&reader);
}

/* Against the C library, at every day of two eras and at odd seconds. */
static void test_dates(void **state)
{
    (void)state;
    static const uint64_t times[] = {0,           784111777,  951782400,
                                     951868800,   4107542399, 4107542400,
                                     253402300799};
    struct buf out = {0};
    char expected[64];
    http_add_date(&out, 784111777);
    assert_true(
        bytes_equal_string(buf_bytes(&out), "Sun, 06 Nov 1994 08:49:37 GMT"));
    for (uint64_t i = 0; i < 800 * 366 + ARRAY_COUNT(times); i++) {
        uint64_t s = i < ARRAY_COUNT(times) ? times[i] : i * 86399;
        time_t at = (time_t)s;
        struct tm tm;
        assert_non_null(gmtime_r(&at, &tm));
        assert_true(strftime(expected, sizeof(expected),
                             "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
        out.size = 0;
        http_add_date(&out, s);
        if (!bytes_equal_string(buf_bytes(&out), expected)) {
            fail_msg("%s", expected);
        }
    }
    out.size = 0;
    http_add_date(&out, UINT64_MAX);
    assert_true(
        bytes_equal_string(buf_bytes(&out), "Fri, 31 Dec 9999 23:59:59 GMT"));
    buf_free(&out);
}

static void test_parameters_of_a_query(void **state)
{
    (void)state;
    static const char *const expected[][2] = {
        {"b", "c"}, {"d", ""}, {"e", ""}, {"f", "g=h"}, {"", "i"}};
    struct bytes rest = bytes_of_string("b=c&d&&e=&f=g=h&=i&");
    struct bytes name;
    struct bytes value;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        assert_true(http_query_next(&rest, &name, &value));
        assert_true(bytes_equal_string(name, expected[i][0]));
        assert_true(bytes_equal_string(value, expected[i][1]));
    }
    assert_false(http_query_next(&rest, &name, &value));
}

/* A plus sign is a blank in a query, and itself in a path. */
static void test_a_plus_sign_in_paths_and_queries(void **state)
{
    (void)state;
    struct bytes text = bytes_of_string("a+b%20c%2Bd");
    uint8_t out[16];
    size_t size = 0;
    assert_true(http_percent_decode(text, out, &size));
    assert_true(bytes_equal_string(bytes_of(out, size), "a+b c+d"));
    assert_true(http_form_decode(text, out, &size));
    assert_true(bytes_equal_string(bytes_of(out, size), "a b c+d"));
    static const char *const bad[] = {"%", "%4", "%zz", "a%2", "%%41"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_false(http_percent_decode(bytes_of_string(bad[i]), out, &size));
        assert_false(http_form_decode(bytes_of_string(bad[i]), out, &size));
    }
}

/* ---- bodies that are streamed ---- */

static bool is_streamed(const struct http_request *request)
{
    return request->verb == HTTP_VERB_POST &&
           bytes_equal_string(request->path, "/stream");
}

/* Two requests, `split` bytes first: what of the body comes, and whether the
 * second one is found behind it. */
static void stream(const char *text, size_t split, struct buf *body,
                   int *status)
{
    struct http_reader reader;
    size_t size = strlen(text);
    uint8_t *data = mem_alloc(size);
    size_t at = 0;
    size_t have = split;
    memcpy(data, text, size);
    http_reader_init(&reader, BODY_MAX);
    reader.streams = is_streamed;
    enum http_progress progress = HTTP_READ_MORE;
    bool in_body = false;
    *status = 0;
    body->size = 0;
    for (;;) {
        progress = in_body ? http_read_body(&reader, data + at, have - at)
                           : http_read(&reader, data + at, have - at);
        if (in_body) {
            buf_add_bytes(body, reader.request.body);
            at += reader.consumed;
            in_body = progress == HTTP_READ_MORE;
            if (progress == HTTP_READ_DONE) {
                continue;
            }
        } else if (progress == HTTP_READ_HEAD && reader.request.streamed) {
            at += reader.consumed;
            in_body = true;
            continue;
        }
        if (progress != HTTP_READ_MORE || have == size) {
            break;
        }
        have = size;
    }
    if (progress == HTTP_READ_DONE) {
        assert_true(bytes_equal_string(reader.request.path, "/next"));
        assert_int_equal(at + reader.consumed, size);
        *status = 200;
    } else if (progress == HTTP_READ_ERROR) {
        *status = reader.error_status;
    }
    http_reader_free(&reader);
    mem_free(data);
}

#define STREAM "POST /stream HTTP/1.1\r\n" H
#define NEXT "GET /next HTTP/1.1\r\n" H "\r\n"
#define LONG                                                                   \
    "0123456789012345678901234567890123456789012345678901234567890123456789"

static void test_a_body_is_streamed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *body;
        int status; /* Status of the request behind it; 0: it is incomplete. */
    } cases[] = {
        /* Longer than any body that is held. */
        {STREAM "Content-Length: 70\r\n\r\n" LONG NEXT, LONG, 200},
        {STREAM "Transfer-Encoding: chunked\r\n\r\n46\r\n" LONG
                "\r\n3\r\nabc\r\n0\r\n\r\n" NEXT,
         LONG "abc", 200},
        {STREAM "Transfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n"
                "Trailer: dropped\r\n\r\n" NEXT,
         "a", 200},
        {STREAM "Content-Length: 0\r\n\r\n" NEXT, "", 200},
        {STREAM "\r\n" NEXT, "", 200},
        {STREAM "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT, "", 200},
        {STREAM "Content-Length: 9\r\n\r\nabc", "abc", 0},
        {STREAM "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "abc", 0},
        {STREAM "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
         "abc", 400},
        {STREAM "Transfer-Encoding: chunked\r\n\r\nx\r\n", "", 400},
        {STREAM "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "",
         400},
        /* Others keep their limit. */
        {POST "Content-Length: 70\r\n\r\n" LONG, "", 413},
    };
    struct buf body = {0};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (size_t split = 0; split <= strlen(cases[i].text); split++) {
            int status;
            stream(cases[i].text, split, &body, &status);
            if (status != cases[i].status ||
                !bytes_equal_string(buf_bytes(&body), cases[i].body)) {
                fail_msg("case %zu, split %zu: %d", i, split, status);
            }
        }
    }
    buf_free(&body);
}

/* Target and host of a request in absolute form. */
static void test_absolute_form(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *host;
        const char *target;
        const char *path;
        const char *query;
        bool of_server;
    } cases[] = {
        {"GET /a?b", "h", "/a?b", "/a", "b", false},
        {"GET //a", "h", "//a", "//a", "", false},
        {"GET http://g:80/a/b?c=/", "g:80", "/a/b?c=/", "/a/b", "c=/", false},
        {"GET HTTP://g", "g", "", "/", "", false},
        {"GET http://g?b=http://c/", "g", "?b=http://c/", "/", "b=http://c/",
         false},
        {"GET http://[::1]:80/", "[::1]:80", "/", "/", "", false},
        {"GET http://g//a", "g", "//a", "//a", "", false},
        {"OPTIONS *", "h", "*", "*", "", true},
        {"OPTIONS http://g:80", "g:80", "", "/", "", true},
        {"OPTIONS http://g/", "g", "/", "/", "", false},
        {"OPTIONS /", "h", "/", "/", "", false},
    };
    struct http_reader reader;
    http_reader_init(&reader, BODY_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct http_request *request = &reader.request;
        struct buf text = {0};
        buf_printf(&text, "%s%s HTTP/1.1\r\nX: y\r\n" H "\r\n",
                   i % 2 ? "\r\n" : "", cases[i].line);
        assert_int_equal(http_read(&reader, text.data, text.size),
                         HTTP_READ_DONE);
        assert_int_equal(reader.consumed, text.size);
        assert_true(bytes_equal_string(request->target, cases[i].target));
        assert_true(bytes_equal_string(request->path, cases[i].path));
        assert_true(bytes_equal_string(request->query, cases[i].query));
        assert_int_equal(request->of_server, cases[i].of_server);
        assert_true(
            bytes_equal_string(http_header(request, "host"), cases[i].host));
        assert_true(bytes_equal_string(http_header(request, "X"), "y"));
        buf_free(&text);
    }
    http_reader_free(&reader);
}

/* An empty line is no request: who has sent one is idle. */
static void test_an_empty_line_is_no_request(void **state)
{
    (void)state;
    char text[] = "\r\nGET / HTTP/1.1\r\n" H "\r\n";
    struct http_reader reader;
    http_reader_init(&reader, BODY_MAX);
    assert_int_equal(http_read(&reader, (uint8_t *)text, 2), HTTP_READ_MORE);
    assert_false(http_in_request(&reader));
    assert_int_equal(http_read(&reader, (uint8_t *)text, 3), HTTP_READ_MORE);
    assert_true(http_in_request(&reader));
    assert_int_equal(http_read(&reader, (uint8_t *)text, strlen(text)),
                     HTTP_READ_DONE);
    assert_false(http_in_request(&reader));
    http_reader_free(&reader);
}

static void test_percent_coding(void **state)
{
    (void)state;
    uint8_t out[32];
    size_t size;
    assert_true(
        http_percent_decode(bytes_of_string("a%2Fb+%C3%bc"), out, &size));
    assert_true(bytes_equal_string(bytes_of(out, size), "a/b+\xc3\xbc"));
    assert_false(http_percent_decode(bytes_of_string("%zz"), out, &size));
    assert_false(http_percent_decode(bytes_of_string("%2"), out, &size));
    assert_false(http_percent_decode(bytes_of_string("%"), out, &size));
    struct buf text = {0};
    http_percent_encode(&text, bytes_of_string("a/b c\xff"), true);
    assert_true(bytes_equal_string(buf_bytes(&text), "a/b%20c%FF"));
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted_whole_and_in_pieces),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_expectations_and_keep_alive),
        cmocka_unit_test(test_a_body_is_streamed),
        cmocka_unit_test(test_absolute_form),
        cmocka_unit_test(test_an_empty_line_is_no_request),
        cmocka_unit_test(test_percent_coding),
        cmocka_unit_test(test_trailers_are_bounded_like_headers),
        cmocka_unit_test(test_a_host_obeys_its_grammar),
        cmocka_unit_test(test_tabs_are_white_space),
        cmocka_unit_test(test_names_that_resemble_framing_headers),
        cmocka_unit_test(test_known_methods_are_read_and_unknown_are_not),
        cmocka_unit_test(test_an_upgrade_is_ignored_and_the_connection_goes_on),
        cmocka_unit_test(test_parameters_of_a_query),
        cmocka_unit_test(test_a_plus_sign_in_paths_and_queries),
        cmocka_unit_test(test_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
