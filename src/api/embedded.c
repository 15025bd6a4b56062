/* embedded.c -- files that are in the binary, compressed. A client that accepts
 * gzip is sent them as they are there, every other one decompressed. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/routes_internal.h"
#include "api/write_internal.h"
#include "base/crc32c.h"
#include "base/inflate.h"
#include "http/http.h"

/* The two forms have tags of their own (RFC 9110 8.8.3.3): different seeds give
 * different checksums. */
void api_answer_embedded(struct conn *conn, const struct http_request *request,
                         const char *type, struct bytes file)
{
    struct buf *headers = &conn->api->headers;
    bool compressed = api_accepts_gzip(request);
    uint32_t tag = crc32c(compressed, file.data, file.size);
    buf_printf(headers, "ETag: \"%u\"\r\nVary: Accept-Encoding\r\n",
               (unsigned)tag);
    if (api_has_tag(http_header(request, "If-None-Match"), tag)) {
        api_answer(conn, 304, NULL, (struct bytes){0});
    } else if (compressed) {
        buf_add_string(headers, "Content-Encoding: gzip\r\n");
        api_answer(conn, 200, type, file);
    } else if (api_has_output_room(conn, gunzip_size(file))) {
        struct buf text = {0};
        must(gunzip(file, SIZE_MAX, &text) == ERR_OK);
        api_answer(conn, 200, type, buf_bytes(&text));
        buf_free(&text);
    }
}
