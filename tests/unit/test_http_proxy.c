/* test_http_proxy.c -- addresses that a proxy tells: the PROXY protocol, and
 * X-Forwarded-For. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>

#include "http/proxy.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

/* "192.0.2.1 4711", "" for the proxy's own, "more" or "error". */
static const char *read_header(const char *data, size_t size, size_t *consumed)
{
    static char text[64];
    char ip[INET6_ADDRSTRLEN];
    struct proxy_source source;
    switch (proxy_read(bytes_of(data, size), &source, consumed)) {
    case PROXY_MORE:
        return "more";
    case PROXY_ERROR:
        return "error";
    case PROXY_DONE:
        break;
    }
    if (source.ip_bytes == 0) {
        return "";
    }
    inet_ntop(source.ip_bytes == 4 ? AF_INET : AF_INET6, source.ip, ip,
              sizeof(ip));
    snprintf(text, sizeof(text), "%s %u", ip, (unsigned)source.port);
    return text;
}

struct header {
    const char *data;
    size_t size;
    const char *source;
};
#define HEADER(data, source)                                                   \
    {                                                                          \
        data, sizeof(data) - 1, source                                         \
    }

static void test_headers(void **state)
{
    (void)state;
    static const struct header headers[] = {
        HEADER("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n", "192.0.2.1 4711"),
        HEADER("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", "2001:db8::1 65535"),
        HEADER("PROXY UNKNOWN\r\n", ""),
        HEADER("PROXY UNKNOWN ffff:f...f ffff:f...f 65535 65535\r\n", ""),
        HEADER(V2 "\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x12\x67\0\x50",
               "192.0.2.1 4711"),
        HEADER(V2 "\x21\x21\0\x24"
                  "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x12\x67\0\x50",
               "2001:db8::1 4711"),
        /* With more than addresses: a TLV. */
        HEADER(V2 "\x21\x11\0\x10\xc0\0\2\1\xc0\0\2\2\x12\x67\0\x50\4\0\1x",
               "192.0.2.1 4711"),
        HEADER(V2 "\x20\0\0\0", ""), /* LOCAL */
        HEADER(V2 "\x20\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x12\x67\0\x50", ""),
        HEADER(V2 "\x21\0\0\0", ""),     /* A family that is not told. */
        HEADER(V2 "\x21\x31\0\2ab", ""), /* Unix sockets. */
    };
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
        char data[160];
        size_t size = headers[i].size;
        size_t consumed = 0;
        memcpy(data, headers[i].data, size);
        for (size_t part = 0; part < size; part++) {
            assert_string_equal(read_header(data, part, &consumed), "more");
        }
        memcpy(data + size, "GET", 3);
        assert_string_equal(read_header(data, size, &consumed),
                            headers[i].source);
        assert_int_equal(consumed, size);
        consumed = 0;
        assert_string_equal(read_header(data, size + 3, &consumed),
                            headers[i].source);
        assert_int_equal(consumed, size);
    }
}

static void test_what_is_no_header(void **state)
{
    (void)state;
    static const struct header headers[] = {
        HEADER("GET / HTTP/1.1\r\n", "error"),
        HEADER("PROXX", "error"),
        HEADER("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "error"),
        HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "error"),
        HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "error"),
        HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "error"),
        HEADER("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "error"),
        HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "error"),
        HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1 x\r\n", "error"),
        HEADER("PROXY TCP4 ::1 ::1 1 2\r\n", "error"),
        HEADER("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "error"),
        HEADER("PROXY TCP4 host.test 1.2.3.4 1 2\r\n", "error"),
        HEADER("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "error"),
        HEADER("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", "error"),
        HEADER("PROXY\r\n", "error"),
        HEADER("PROXY \r\n", "error"),
        HEADER("PROXY \n", "error"),
        HEADER("PROXY UNKNOWN 1234567890123456789012345678901234567890123456"
               "789012345678901234567890123456789012345678901234567890\r\n",
               "error"),                        /* Too long. */
        HEADER(V2 "\x11\x11\0\0", "error"),     /* Version 1. */
        HEADER(V2 "\x22\x11\0\x0c", "error"),   /* An unknown command. */
        HEADER(V2 "\x21\x11\0\x0b", "error"),   /* Too short for IPv4, ... */
        HEADER(V2 "\x21\x21\0\x23", "error"),   /* ... for IPv6. */
        HEADER(V2 "\x21\x11\x07\xf1", "error"), /* Over 2048 in all. */
    };
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
        size_t consumed = 0;
        assert_string_equal(
            read_header(headers[i].data, headers[i].size, &consumed),
            headers[i].source);
        assert_int_equal(consumed, 0);
    }
}

static void test_forwarded_for(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *ip; /* NULL: none */
        unsigned port;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", 0},
        {"2001:db8::1", "2001:db8::1", 0},
        {"[2001:db8::1]", "2001:db8::1", 0},
        {"[2001:db8::1]:80", "2001:db8::1", 80},
        {"192.0.2.1:4711", "192.0.2.1", 4711},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1", 0},
        /* Addresses from the client itself come before the last one. */
        {"10.0.0.1, 192.0.2.1", "192.0.2.1", 0},
        {"10.0.0.1,\t192.0.2.1 ", "192.0.2.1", 0},
        {"\"x\", unknown,192.0.2.1", "192.0.2.1", 0},
        {"", NULL, 0},
        {",", NULL, 0},
        {"192.0.2.1,", NULL, 0},
        {"unknown", NULL, 0},
        {"192.0.2.1 10.0.0.1", NULL, 0},
        {"192.0.2.1:", NULL, 0},
        {"192.0.2.1:x", NULL, 0},
        {"192.0.2.256", NULL, 0},
        {"[192.0.2.1]", NULL, 0},
        {"[::1", NULL, 0},
        {"[::1]80", NULL, 0},
        {"[::1]:", NULL, 0},
        {"[]", NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char ip[INET6_ADDRSTRLEN];
        struct proxy_source source = {.port = 1};
        bool found =
            proxy_forwarded_for(bytes_of_string(rows[i].value), &source);
        assert_int_equal(found, rows[i].ip != NULL);
        if (found) {
            inet_ntop(source.ip_bytes == 4 ? AF_INET : AF_INET6, source.ip, ip,
                      sizeof(ip));
            assert_string_equal(ip, rows[i].ip);
            assert_int_equal(source.port, rows[i].port);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_what_is_no_header),
        cmocka_unit_test(test_forwarded_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
