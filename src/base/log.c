/* log.c -- formats log lines, as text or JSON, and counts those that are
 * dropped. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/log_format.h"
#include "base/output.h"
#include "base/text.h"

static enum log_level level_min = LOG_INFO;
static bool as_json;
static char node_name[72] = "-";
static uint64_t dropped; /* Dropped lines that were not reported yet. */

static const char *const level_names[] = {"debug", "info", "warn", "error",
                                          "off"};

void log_set_level(enum log_level level)
{
    level_min = level;
}

enum log_level log_level(void)
{
    return level_min;
}

/* Replaces control characters and bytes that are not UTF-8 by '?'. */
static void make_harmless(char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t size = text_utf8_sequence((const uint8_t *)text, left);
        struct bytes one = {(const uint8_t *)text, size};
        bool is_odd = size == 0 || !text_is_printable(one);
        size = size == 0 ? 1 : size;
        if (is_odd) {
            memset(text, '?', size);
        }
        text += size;
        left -= size;
    }
}

void log_set_node(const char *name)
{
    snprintf(node_name, sizeof(node_name), "%s", name);
    make_harmless(node_name);
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_json(bool on)
{
    as_json = on;
}

/* ---- a line ---- */

struct line {
    /* The worst case: a byte and a blank become a JSON member of 8 bytes. */
    char text[4 * LOG_LINE_BYTES + 512];
    size_t size;
};

static void add(struct line *line, const char *text, size_t size)
{
    must(size < sizeof(line->text) - line->size);
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void add_string(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

static void plain_line(struct line *line, const char *time, const char *level,
                       const char *event, const char *fields)
{
    line->size =
        (size_t)snprintf(line->text, sizeof(line->text), "%s %-5s %s %s", time,
                         level, node_name, event);
    if (fields[0] != '\0') {
        add(line, " ", 1);
        add_string(line, fields);
    }
}

static void add_quoted(struct line *line, const char *text, size_t size)
{
    add(line, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"' || text[i] == '\\') {
            add(line, "\\", 1);
        }
        add(line, text + i, 1);
    }
    add(line, "\"", 1);
}

static void add_member(struct line *line, const char *name, const char *value)
{
    add(line, line->size == 0 ? "{" : ",", 1);
    add_quoted(line, name, strlen(name));
    add(line, ":", 1);
    add_quoted(line, value, strlen(value));
}

/* Readers of JSON may round a number of more than 15 digits. */
static bool is_number(const char *text, size_t size)
{
    int64_t number;
    return size <= 15 &&
           text_i64((struct bytes){(const uint8_t *)text, size}, &number);
}

/* Adds a quoted value, from after its first quote on, and returns its end. The
 * escapes of log_format() are those of JSON. */
static const char *add_quoted_value(struct line *line, const char *value)
{
    add(line, "\"", 1);
    while (*value != '\0' && *value != '"') {
        bool pair = value[0] == '\\' && (value[1] == '"' || value[1] == '\\');
        if (value[0] == '\\' && !pair) {
            add(line, "\\", 1);
        }
        add(line, value, pair ? 2 : 1);
        value += pair ? 2 : 1;
    }
    add(line, "\"", 1);
    return value + (*value == '"');
}

/* Adds one `key=value`, and returns its end. A word without '=' becomes a
 * member with an empty value. */
static const char *add_field(struct line *line, const char *field)
{
    size_t name = strcspn(field, "= ");
    const char *value = field + name;
    add(line, ",", 1);
    add_quoted(line, field, name);
    add(line, ":", 1);
    if (value[0] == '=' && value[1] == '"') {
        return add_quoted_value(line, value + 2);
    }
    value += value[0] == '=';
    size_t size = strcspn(value, " ");
    if (is_number(value, size)) {
        add(line, value, size);
    } else {
        add_quoted(line, value, size);
    }
    return value + size;
}

static void json_line(struct line *line, const char *time, const char *level,
                      const char *event, const char *fields)
{
    line->size = 0;
    add_member(line, "time", time);
    add_member(line, "level", level);
    add_member(line, "node", node_name);
    add_member(line, "event", event);
    for (const char *at = fields; *at != '\0';) {
        at = *at == ' ' ? at + 1 : add_field(line, at);
    }
    add(line, "}", 1);
}

/* False: the queue was full, and the line is dropped. */
static bool write_line(enum log_level level, const char *event,
                       const char *fields)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct text_date date =
        text_date(now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec);
    char time[80];
    snprintf(time, sizeof(time), "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             date.year, date.month + 1, date.day, date.hour, date.minute,
             date.second, (unsigned)(now.tv_nsec / 1000000));
    struct line line;
    (as_json ? json_line : plain_line)(&line, time, level_names[level], event,
                                       fields);
    add(&line, "\n", 1);
    return output_write(line.text, line.size);
}

void log_open(void)
{
    output_open();
}

bool log_is_pending(void)
{
    return dropped > 0 || !output_is_empty();
}

void log_flush(void)
{
    if (output_flush() && dropped > 0) {
        char fields[96];
        snprintf(fields, sizeof(fields),
                 "lines=%llu why=\"stderr did not accept them\"",
                 (unsigned long long)dropped);
        if (write_line(LOG_WARN, "log-dropped", fields)) {
            dropped = 0;
        }
    }
}

void log_finish(void)
{
    output_finish(LOG_FINISH_MS);
    log_flush();
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    if (level < level_min) {
        return;
    }
    char fields[LOG_LINE_BYTES];
    va_list args;
    va_start(args, format);
    log_format(fields, sizeof(fields), format, args);
    va_end(args);
    make_harmless(fields);
    if (log_is_pending()) {
        log_flush();
    }
    /* After a gap, the next line is the one that reports it. */
    if (dropped > 0 || !write_line(level, event, fields)) {
        dropped++;
    }
}
