/* accept.c -- the forms that a client prefers: of a value, JSON or its bytes;
 * of a file of the binary, as it is or compressed.
 *
 * Accept (RFC 9110 12.5.1) is a list of ranges with weights; the range that
 * names a type most exactly gives its weight. With equal weights the form that
 * is named wins, the first when both are, and JSON when none is. A client that
 * accepts neither gets JSON: that is more useful than an error. */
#include "api/write_internal.h"
#include "http/http.h"

enum { FORM_JSON, FORM_RAW, FORM_COUNT };
enum { WEIGHT_ONE = 1000 };
/* Exactness with which a range names a type. */
enum { NOT, ANY, ANY_SUBTYPE, EXACT };

struct wish {
    unsigned weight;
    unsigned exactness;
    unsigned place; /* Position of the range in the list. */
};

static unsigned exactness_of(struct bytes range, int form)
{
    static const char *const types[FORM_COUNT] = {
        [FORM_JSON] = "application/json",
        [FORM_RAW] = "application/octet-stream"};
    return http_equal_fold(range, types[form])       ? EXACT
           : http_equal_fold(range, "application/*") ? ANY_SUBTYPE
           : bytes_equal_string(range, "*/*")        ? ANY
                                                     : NOT;
}

/* A weight is 1, or "0." and up to three digits. A malformed one counts as 1,
 * as if it were absent. */
static unsigned weight_of(struct bytes text)
{
    unsigned weight = 0;
    unsigned unit = 100;
    if (text.size == 0 || text.size > 5 || text.data[0] != '0' ||
        (text.size > 1 && text.data[1] != '.')) {
        return WEIGHT_ONE;
    }
    for (size_t i = 2; i < text.size; i++, unit /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return WEIGHT_ONE;
        }
        weight += unit * (unsigned)(text.data[i] - '0');
    }
    return weight;
}

/* Take the next part, up to ';', without white space around it. False: there is
 * none. */
static bool next_part(struct bytes *rest, struct bytes *part)
{
    if (rest->size == 0) {
        return false;
    }
    const uint8_t *stop = memchr(rest->data, ';', rest->size);
    size_t size = stop ? (size_t)(stop - rest->data) : rest->size;
    size_t skip = stop ? size + 1 : size;
    *part = http_trim(bytes_of(rest->data, size));
    *rest = bytes_of(rest->data + skip, rest->size - skip);
    return true;
}

/* A range of Accept or a coding of Accept-Encoding, and its weight. */
static unsigned read_element(struct bytes element, struct bytes *name)
{
    struct bytes part;
    unsigned weight = WEIGHT_ONE;
    *name = (struct bytes){0};
    (void)next_part(&element, name);
    while (next_part(&element, &part)) {
        if (part.size > 2 && (part.data[0] | 0x20) == 'q' &&
            part.data[1] == '=') {
            weight = weight_of(bytes_of(part.data + 2, part.size - 2));
        }
    }
    return weight;
}

static void read_range(struct bytes element, unsigned place,
                       struct wish wishes[FORM_COUNT])
{
    struct bytes range;
    unsigned weight = read_element(element, &range);
    for (int form = 0; form < FORM_COUNT; form++) {
        unsigned exactness = exactness_of(range, form);
        if (exactness > wishes[form].exactness) {
            wishes[form] = (struct wish){weight, exactness, place};
        }
    }
}

bool api_accepts_raw(const struct http_request *request)
{
    struct wish wishes[FORM_COUNT] = {0};
    unsigned place = 0;
    for (uint32_t i = 0; i < request->header_count; i++) {
        struct bytes list =
            http_header_named(&request->headers[i], 1, "Accept");
        struct bytes element;
        while (http_list_next(&list, &element)) {
            read_range(element, place++, wishes);
        }
    }
    const struct wish *json = &wishes[FORM_JSON];
    const struct wish *raw = &wishes[FORM_RAW];
    if (raw->weight != json->weight) {
        return raw->weight > json->weight;
    }
    return raw->weight > 0 && raw->exactness == EXACT &&
           (json->exactness != EXACT || raw->place < json->place);
}

/* RFC 9110 12.5.3. A client that does not say what it accepts may be one that
 * cannot decompress. */
bool api_accepts_gzip(const struct http_request *request)
{
    unsigned gzip = 0;
    unsigned plain = 0;
    unsigned any = 0;
    bool names_gzip = false;
    for (uint32_t i = 0; i < request->header_count; i++) {
        struct bytes list =
            http_header_named(&request->headers[i], 1, "Accept-Encoding");
        struct bytes element;
        while (http_list_next(&list, &element)) {
            struct bytes coding;
            unsigned weight = read_element(element, &coding);
            if (http_equal_fold(coding, "gzip") ||
                http_equal_fold(coding, "x-gzip")) {
                names_gzip = true;
                gzip = weight;
            } else if (http_equal_fold(coding, "identity")) {
                plain = weight;
            } else if (bytes_equal_string(coding, "*")) {
                any = weight;
            }
        }
    }
    gzip = names_gzip ? gzip : any;
    return gzip > 0 && gzip >= plain;
}
