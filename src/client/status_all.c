/* status_all.c -- status --all: one line for each node. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "client/progress_internal.h"
#include "client/survey_internal.h"
#include "client/table_internal.h"

enum { WATCH_PAUSE_MS = 2000 };

static const char *const heads[] = {"ID",     "ROLE",    "TERM", "INDEX",
                                    "LAG",    "VERSION", "SIZE", "KEYS",
                                    "HEALTH", "HINT",    "FREE"};

/* ---- the table ---- */

static void add_text(struct client_table *table, struct buf *text)
{
    buf_add_u8(text, '\0');
    client_table_add(table, (const char *)text->data);
    text->size = 0;
}

/* The reason why the node is silent, else its most urgent hint, and the number
 * of those behind it. */
static void add_hint(struct client_table *table, const struct survey_node *node)
{
    struct buf text = {0};
    unsigned more = 0;
    if (node->code) {
        buf_add_string(&text, node->why);
    } else if (!node->suffrage[0]) {
        buf_add_string(&text, "it is no member of this cluster");
    } else {
        buf_add_bytes(&text, survey_hint(node, 0));
        while (text.size > 0 && survey_hint(node, more + 1).size > 0) {
            more++;
        }
    }
    if (more > 0) {
        buf_printf(&text, " (and %u more)", more);
    }
    add_text(table, &text);
    buf_free(&text);
}

/* For people a size has a unit, for programs it is a number of bytes. 0: that
 * is not known. */
static void add_size(struct client_table *table, uint64_t bytes,
                     bool for_people)
{
    struct buf text = {0};
    if (bytes > 0 && for_people) {
        client_add_size(&text, bytes);
    } else if (bytes > 0) {
        buf_printf(&text, "%llu", (unsigned long long)bytes);
    }
    add_text(table, &text);
    buf_free(&text);
}

static void add_row(struct client_table *table, const struct survey_node *node,
                    bool for_people)
{
    static const enum survey_field columns[] = {SURVEY_ROLE, SURVEY_TERM,
                                                SURVEY_APPLIED};
    struct buf text = {0};
    client_table_add(table, node->id);
    for (size_t i = 0; i < ARRAY_COUNT(columns); i++) {
        client_table_add(table, node->fields[columns[i]]);
    }
    if (!node->code) {
        buf_printf(&text, "%llu", (unsigned long long)node->lag);
    }
    add_text(table, &text);
    client_table_add(table, node->fields[SURVEY_VERSION]);
    add_size(table, survey_number(node, SURVEY_DB_BYTES), for_people);
    client_table_add(table, node->fields[SURVEY_KEYS]);
    client_table_add(table, survey_health(node));
    add_hint(table, node);
    add_size(table, node->code ? 0 : node->disk_free_bytes, for_people);
    buf_free(&text);
}

/* ---- as JSON ---- */

/* An array of objects; "status" is the answer of the node. */
static void add_json(struct buf *out, const struct survey *survey)
{
    buf_add_u8(out, '[');
    for (unsigned i = 0; i < survey->count; i++) {
        const struct survey_node *node = &survey->nodes[i];
        buf_add_string(out, i > 0 ? ",{\"id\":" : "{\"id\":");
        json_add_string(out, bytes_of_string(node->id));
        buf_add_string(out, ",\"http\":");
        json_add_string(out, bytes_of_string(node->http));
        buf_printf(out, ",\"health\":\"%s\"", survey_health(node));
        if (node->code) {
            buf_add_string(out, ",\"error\":");
            json_add_string(out, bytes_of_string(node->why));
        } else {
            size_t size = node->json.size; /* Without the end of its line. */
            while (size > 0 && node->json.data[size - 1] <= ' ') {
                size--;
            }
            if (node->disk_free_bytes > 0) {
                buf_printf(out, ",\"disk_free_bytes\":%llu",
                           (unsigned long long)node->disk_free_bytes);
            }
            buf_printf(out, ",\"lag\":%llu,\"status\":",
                       (unsigned long long)node->lag);
            buf_add(out, node->json.data, size);
        }
        buf_add_u8(out, '}');
    }
    buf_add_string(out, "]\n");
}

/* ---- once, or again and again ---- */

/* From the upper left corner, and nothing of before below it. */
static const char home[] = "\033[H\033[J";

static bool redraws(const struct options *options)
{
    return options->watch && !options->json && isatty(STDOUT_FILENO);
}

static int show(const struct options *options, struct survey *survey,
                struct buf *out)
{
    struct buf why = {0};
    struct client_table table;
    bool terminal = isatty(STDOUT_FILENO);
    int code = survey_take(survey, options, &why);
    if (code) {
        /* The table of before would look as if it were true now. */
        if (redraws(options)) {
            (void)client_print_bytes(options, bytes_of_string(home));
        }
        client_say(options, "%s", (const char *)why.data);
    } else if (options->json) {
        add_json(out, survey);
    } else {
        client_table_init(&table, heads, ARRAY_COUNT(heads));
        for (unsigned i = 0; i < survey->count; i++) {
            add_row(&table, &survey->nodes[i], terminal);
        }
        client_table_write(&table, terminal ? client_columns(STDOUT_FILENO) : 0,
                           out);
        client_table_free(&table);
    }
    survey_free(survey);
    buf_free(&why);
    return code;
}

static void pause_between(void)
{
    const struct timespec pause = {.tv_sec = WATCH_PAUSE_MS / 1000};
    (void)nanosleep(&pause, NULL);
}

int client_status_all(const struct options *options)
{
    struct survey *survey = mem_zalloc(sizeof(*survey));
    struct buf out = {0};
    int code;
    for (;;) {
        out.size = 0;
        buf_add_string(&out, redraws(options) ? home : "");
        code = show(options, survey, &out);
        /* A cluster that is away for a while is worth watching. */
        bool again = options->watch && (!code || code == EXIT_AWAY);
        if (!code) {
            /* In a pipe, an empty line separates two tables. */
            bool apart = again && !redraws(options) && !options->json;
            buf_add_string(&out, apart ? "\n" : "");
            code = client_print_bytes(options, buf_bytes(&out));
            again = again && !code;
        }
        if (!again) {
            break;
        }
        pause_between();
    }
    buf_free(&out);
    mem_free(survey);
    return code;
}
