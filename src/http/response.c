/* response.c -- responses -> bytes. */
#include <http_parser.h>

#include "http/http.h"

const char *http_reason(int status)
{
    switch (status) {
#define XX(number, name, text)                                                 \
    case number:                                                               \
        return #text;
        HTTP_STATUS_MAP(XX)
#undef XX
    default:
        return "Unknown";
    }
}

void http_add_date(struct buf *out, uint64_t unix_s)
{
    static const char days[] = "ThuFriSatSunMonTueWed"; /* From 1970-01-01. */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const uint64_t last_s = 253402300799; /* The end of the year 9999. */
    uint64_t s = min_u64(unix_s, last_s);
    uint64_t day = s / 86400;
    /* Years begin in March here, so that a leap day is the last of its year:
     * 1970-01-01 is day 719468 of such a calendar. Each era of 400 years has
     * 146097 days. */
    uint64_t shifted = day + 719468;
    uint64_t of_era = shifted % 146097;
    uint64_t year_of_era =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year =
        of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t march_month = (5 * of_year + 2) / 153;
    uint64_t month = march_month < 10 ? march_month + 2 : march_month - 10;
    uint64_t year =
        year_of_era + shifted / 146097 * 400 + (march_month >= 10 ? 1 : 0);
    buf_printf(out, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
               days + day % 7 * 3,
               (unsigned)(of_year - (153 * march_month + 2) / 5 + 1),
               months + month * 3, (unsigned)year, (unsigned)(s / 3600 % 24),
               (unsigned)(s / 60 % 60), (unsigned)(s % 60));
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
