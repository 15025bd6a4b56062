/* log_format.c -- printf for the fields of a log line. See log_format.h. */
#include "base/log_format.h"

#include <stdio.h>

struct fields {
    char *text;
    size_t size;
    size_t room;
    bool quoted; /* Between two quotes. */
    bool full;   /* The output is cut here: nothing more is added. */
};

/* Adds all of it or nothing, and leaves space for a quote and the final 0. */
static void add(struct fields *fields, const char *text, size_t size)
{
    fields->full = fields->full || size + 2 > fields->room - fields->size;
    if (!fields->full) {
        memcpy(fields->text + fields->size, text, size);
        fields->size += size;
    }
}

static void add_literal(struct fields *fields, char c)
{
    add(fields, &c, 1);
    if (c == '"' && !fields->full) {
        fields->quoted = !fields->quoted;
    }
}

static void add_escaped(struct fields *fields, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char escaped[] = {'\\', text[i]};
        bool plain = text[i] != '"' && text[i] != '\\';
        add(fields, escaped + plain, plain ? 1 : 2);
    }
}

static bool is_awkward(char c)
{
    return c == ' ' || c == '"' || c == '\\';
}

/* `whole`: the text is all of a bare value, from '=' to the end of the
 * field. */
static void add_text(struct fields *fields, const char *text, bool whole)
{
    size_t size = strnlen(text, LOG_VALUE_BYTES);
    bool awkward = size == 0;
    for (size_t i = 0; i < size; i++) {
        awkward = awkward || is_awkward(text[i]);
    }
    if (fields->quoted) {
        add_escaped(fields, text, size);
    } else if (whole && awkward) {
        add_literal(fields, '"');
        add_escaped(fields, text, size);
        add_literal(fields, '"');
    } else {
        for (size_t i = 0; i < size; i++) {
            add(fields, is_awkward(text[i]) ? "?" : text + i, 1);
        }
    }
}

enum length { INT, LONG, LONG_LONG, SIZE };

/* A conversion: %, flags, width, precision, length, letter. */
struct spec {
    char text[16]; /* The conversion alone, for printf(). */
    enum length length;
    char letter;
    size_t size;
};

static struct spec read_spec(const char *format)
{
    struct spec spec = {.size = 1};
    spec.size += strspn(format + spec.size, "-+ #0123456789.");
    for (;; spec.size++) {
        char c = format[spec.size];
        if (c == 'l') {
            spec.length = spec.length == LONG ? LONG_LONG : LONG;
        } else if (c == 'z') {
            spec.length = SIZE;
        } else if (c != 'h') {
            break;
        }
    }
    spec.letter = format[spec.size++];
    must(spec.letter != '\0' && spec.size < sizeof(spec.text));
    memcpy(spec.text, format, spec.size);
    return spec;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

/* The compiler has checked the type of the argument (PRINTF in log.h). */
static void add_number(struct fields *fields, const struct spec *spec,
                       va_list *args)
{
    char text[64];
    int size;
    switch (spec->length) {
    case LONG:
        size = snprintf(text, sizeof(text), spec->text, va_arg(*args, long));
        break;
    case LONG_LONG:
        size =
            snprintf(text, sizeof(text), spec->text, va_arg(*args, long long));
        break;
    case SIZE:
        size = snprintf(text, sizeof(text), spec->text, va_arg(*args, size_t));
        break;
    case INT:
        size = snprintf(text, sizeof(text), spec->text, va_arg(*args, int));
        break;
    default:
        size = 0;
        break;
    }
    add(fields, text, min_size((size_t)size, sizeof(text) - 1));
}

static void add_double(struct fields *fields, const struct spec *spec,
                       va_list *args)
{
    char text[64];
    int size = snprintf(text, sizeof(text), spec->text, va_arg(*args, double));
    add(fields, text, min_size((size_t)size, sizeof(text) - 1));
}

#pragma GCC diagnostic pop

static void add_argument(struct fields *fields, const struct spec *spec,
                         bool whole, va_list *args)
{
    switch (spec->letter) {
    case 's':
        add_text(fields, va_arg(*args, const char *), whole);
        return;
    case 'f':
    case 'g':
    case 'e':
        add_double(fields, spec, args);
        return;
    case '%':
        add_literal(fields, '%');
        return;
    default:
        must(strchr("diuxXoc", spec->letter) != NULL);
        add_number(fields, spec, args);
        return;
    }
}

void log_format(char *out, size_t room, const char *format, va_list args)
{
    must(room >= 8);
    struct fields fields = {.text = out, .room = room};
    va_list left;
    va_copy(left, args);
    for (const char *at = format; *at != '\0';) {
        if (*at != '%') {
            add_literal(&fields, *at++);
            continue;
        }
        struct spec spec = read_spec(at);
        const char *next = at + spec.size;
        bool whole =
            at > format && at[-1] == '=' && (*next == ' ' || *next == '\0');
        add_argument(&fields, &spec, whole, &left);
        at = next;
    }
    va_end(left);
    if (fields.quoted) {
        out[fields.size++] = '"';
    }
    out[fields.size] = '\0';
}
