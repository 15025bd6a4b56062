/* response.c -- responses -> bytes. */
#include <http_parser.h>

#include "base/text.h"
#include "http/http.h"

/* A switch would become a table from the first number to the last. */
static const struct {
    int status;
    const char *reason;
} reasons[] = {
#define XX(number, name, text) {number, #text},
    HTTP_STATUS_MAP(XX)
#undef XX
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

void http_add_date(struct buf *out, uint64_t unix_s)
{
    static const char days[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct text_date date = text_date(unix_s);
    buf_printf(out, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
               days + 3 * (size_t)date.weekday, date.day,
               months + 3 * (size_t)date.month, date.year, date.hour,
               date.minute, date.second);
}

void http_add_status(struct buf *out, int status)
{
    /* The most frequent answers need no printf. */
    if (status == 200) {
        buf_add(out, "HTTP/1.1 200 OK\r\n", 17);
        return;
    }
    buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
}

void http_add_header(struct buf *out, const char *name, struct bytes value)
{
    must(value.size == 0 || (!memchr(value.data, '\r', value.size) &&
                             !memchr(value.data, '\n', value.size)));
    buf_add_string(out, name);
    buf_add(out, ": ", 2);
    buf_add_bytes(out, value);
    buf_add(out, "\r\n", 2);
}

void http_add_header_u64(struct buf *out, const char *name, uint64_t value)
{
    buf_add_string(out, name);
    buf_add(out, ": ", 2);
    buf_add_decimal(out, value);
    buf_add(out, "\r\n", 2);
}

void http_add_body(struct buf *out, struct bytes body, bool head_only)
{
    http_add_header_u64(out, "Content-Length", body.size);
    buf_add(out, "\r\n", 2);
    if (!head_only) {
        buf_add_bytes(out, body);
    }
}
