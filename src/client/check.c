/* check.c -- check: is the cluster well? For monitoring: its exit codes and the
 * form of its output are those of a plug-in for Nagios and its successors.
 *
 * Every finding is a sentence on a line of its own, the worst first. The last
 * line says what was seen, and is the only one when all is well. */
#include <stdarg.h>
#include <stdio.h>

#include "client/survey_internal.h"

enum {
    QUOTA_WARNING_PERCENT = 90,
    /* Nodes that are further behind than this have no hash in common with the
     * leader: half of what a node remembers. */
    LAG_COMPARED_MAX = 8192,
};

struct check {
    const struct options *options;
    struct survey *survey;
    /* Lines by exit code. */
    struct buf lines[CHECK_UNKNOWN + 1];
    bool compared;
    uint64_t compared_at; /* Index of the content that was compared. */
};

static const char *const severities[] = {
    [CHECK_OK] = "OK",
    [CHECK_WARNING] = "WARNING",
    [CHECK_CRITICAL] = "CRITICAL",
    [CHECK_UNKNOWN] = "UNKNOWN",
};

static void find(struct check *check, int severity, const char *format, ...)
    PRINTF(3, 4);

static void find(struct check *check, int severity, const char *format, ...)
{
    char text[640];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *at = text; *at; at++) {
        *at = (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
    }
    buf_printf(&check->lines[severity], "%s: %s\n", severities[severity], text);
}

/* ---- members ---- */

static bool is_voter(const struct survey_node *node)
{
    return strcmp(node->suffrage, "voter") == 0;
}

static bool is_down(const struct survey_node *node)
{
    return strcmp(survey_health(node), "down") == 0;
}

static void check_members(struct check *check)
{
    const struct survey *survey = check->survey;
    unsigned voters = 0;
    unsigned up = 0;
    for (unsigned i = 0; i < survey->count; i++) {
        voters += is_voter(&survey->nodes[i]);
        up += is_voter(&survey->nodes[i]) && !is_down(&survey->nodes[i]);
    }
    unsigned majority = voters / 2 + 1;
    for (unsigned i = 0; i < survey->count; i++) {
        const struct survey_node *node = &survey->nodes[i];
        if (is_down(node)) {
            bool fatal = is_voter(node) && up < majority;
            find(check, fatal ? CHECK_CRITICAL : CHECK_WARNING,
                 "%s does not answer: %s", node->id, node->why);
        } else if (node->code) {
            find(check, CHECK_UNKNOWN,
                 "%s does not say how it is: %s (credentials go to the servers "
                 "of --addr alone)",
                 node->id, node->why);
        } else if (!node->suffrage[0]) {
            find(check, CHECK_WARNING, "%s at %s is no member of this cluster",
                 node->id, node->http);
        }
    }
    if (voters > 0 && up < majority) {
        find(check, CHECK_CRITICAL,
             "%u of %u voters answer: without %u the cluster takes no writes",
             up, voters, majority);
    } else if (up < voters && up == majority) {
        find(check, CHECK_WARNING,
             "%u of %u voters answer: if another one fails, the cluster takes "
             "no writes",
             up, voters);
    }
}

static void check_leader(struct check *check)
{
    const struct survey *survey = check->survey;
    for (unsigned i = 0; i < survey->count && !survey->leader; i++) {
        struct bytes leader = survey_fact(&survey->nodes[i], "leader.id");
        if (leader.size > 0) {
            find(check, CHECK_WARNING, "%.*s leads, and was not seen here",
                 (int)min_size(leader.size, 64), (const char *)leader.data);
            return;
        }
    }
    if (!survey->leader) {
        find(check, CHECK_CRITICAL,
             "there is no leader: the cluster takes no writes");
    }
}

/* The first node that answered; NULL: none has. */
static const struct survey_node *first_answer(const struct survey *survey)
{
    for (unsigned i = 0; i < survey->count; i++) {
        if (!survey->nodes[i].code) {
            return &survey->nodes[i];
        }
    }
    return NULL;
}

/* Find those whose `field` differs from that of the leader. */
static void check_equal(struct check *check, enum survey_field field,
                        int severity, const char *what)
{
    const struct survey *survey = check->survey;
    const struct survey_node *first =
        survey->leader ? survey->leader : first_answer(survey);
    for (unsigned i = 0; first && i < survey->count; i++) {
        const struct survey_node *node = &survey->nodes[i];
        if (!node->code &&
            strcmp(node->fields[field], first->fields[field]) != 0) {
            find(check, severity, "%s has %s %s, and %s has %s", node->id, what,
                 node->fields[field][0] ? node->fields[field] : "-", first->id,
                 first->fields[field][0] ? first->fields[field] : "-");
        }
    }
}

/* ---- each node ---- */

/* Hints of others about a node that is down only repeat that it is. */
static bool is_about_down(const struct survey *survey, struct bytes hint)
{
    for (unsigned i = 0; i < survey->count; i++) {
        size_t size = strlen(survey->nodes[i].id);
        if (is_down(&survey->nodes[i]) && hint.size > size &&
            hint.data[size] == ' ' &&
            memcmp(hint.data, survey->nodes[i].id, size) == 0) {
            return true;
        }
    }
    return false;
}

static void check_hints(struct check *check, const struct survey_node *node)
{
    bool full = strcmp(survey_health(node), "full") == 0;
    bool ready = strcmp(survey_health(node), "not-ready") != 0;
    unsigned shown = 0;
    struct bytes hint;
    for (unsigned at = 0; (hint = survey_hint(node, at)).size > 0; at++) {
        if (!is_about_down(check->survey, hint)) {
            find(check, full && shown == 0 ? CHECK_CRITICAL : CHECK_WARNING,
                 "%s: %.*s", node->id, (int)min_size(hint.size, 512),
                 (const char *)hint.data);
            shown++;
        }
    }
    if (full && shown == 0) {
        find(check, CHECK_CRITICAL,
             "%s: its disk is full, or --max-db is reached", node->id);
    }
    if (!ready && shown == 0) {
        find(check, CHECK_WARNING, "%s is not ready", node->id);
    }
}

static void check_quota(struct check *check, const struct survey_node *node)
{
    uint64_t used = survey_number(node, SURVEY_DB_BYTES);
    uint64_t quota = survey_number(node, SURVEY_QUOTA_BYTES);
    bool full = strcmp(survey_health(node), "full") == 0;
    if (quota > 0 && used / QUOTA_WARNING_PERCENT >= quota / 100 && !full) {
        find(check, CHECK_WARNING,
             "%s: the database has %llu%% of --max-db (%llu of %llu bytes)",
             node->id, (unsigned long long)((double)used * 100 / (double)quota),
             (unsigned long long)used, (unsigned long long)quota);
    }
}

/* ---- content ---- */

/* Get the hash of a node's content at `index`. False: `why` has the reason. */
static bool ask_hash(struct check *check, const struct survey_node *node,
                     uint64_t index, struct field *hash,
                     char why[REQUEST_WHY_BYTES])
{
    struct request request;
    struct json_reader reader;
    struct options options = *check->options;
    char addr[SERVER_BYTES];
    char number[24];
    options.timeout_ms = min_u64(options.timeout_ms, SURVEY_NODE_MS);
    memcpy(addr, node->http, sizeof(addr));
    (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)index);
    request_init(&request, "GET", "/hash");
    request_add_query(&request, "index", bytes_of_string(number));
    bool ok = !request_ask(&request, &options, addr, why);
    struct buf *body = &request.answer_body;
    if (ok) {
        json_init(&reader, body->data, body->size);
        ok = body->size > 0 && json_next(&reader) == JSON_OBJECT_BEGIN &&
             client_read_fields(&reader, hash, 1) && hash->text[0];
        if (!ok) {
            (void)snprintf(why, REQUEST_WHY_BYTES,
                           "the answer has an unexpected form");
        }
    }
    request_free(&request);
    return ok;
}

static bool is_compared(const struct survey_node *node)
{
    return !node->code && node->suffrage[0] && node->lag <= LAG_COMPARED_MAX;
}

/* The newest index that all have reached. False: they are all at that one. */
static bool find_common_index(const struct survey *survey, uint64_t *index)
{
    uint64_t most = 0;
    *index = UINT64_MAX;
    for (unsigned i = 0; i < survey->count; i++) {
        if (is_compared(&survey->nodes[i])) {
            uint64_t applied = survey_number(&survey->nodes[i], SURVEY_APPLIED);
            *index = min_u64(*index, applied);
            most = max_u64(most, applied);
        }
    }
    return most > *index;
}

static void check_content(struct check *check)
{
    struct survey *survey = check->survey;
    char first_hash[sizeof(survey->nodes[0].fields[0])] = "";
    const struct survey_node *first = NULL;
    uint64_t index;
    unsigned count = 0;
    bool apart = find_common_index(survey, &index);
    for (unsigned i = 0; i < survey->count; i++) {
        const struct survey_node *node = &survey->nodes[i];
        char why[REQUEST_WHY_BYTES] = "";
        struct field hash = {.name = "hash"};
        if (!is_compared(node)) {
            if (!node->code && node->suffrage[0]) {
                find(check, CHECK_WARNING,
                     "%s is %llu entries behind: its content was not compared",
                     node->id, (unsigned long long)node->lag);
            }
            continue;
        }
        if (!apart) {
            memcpy(hash.text, node->fields[SURVEY_HASH],
                   sizeof(node->fields[SURVEY_HASH]));
        } else if (!ask_hash(check, node, index, &hash, why)) {
            find(check, CHECK_UNKNOWN,
                 "the content of %s at index %llu was not compared: %s",
                 node->id, (unsigned long long)index, why);
            continue;
        }
        count++;
        if (!first) {
            first = node;
            (void)snprintf(first_hash, sizeof(first_hash), "%.47s", hash.text);
        } else if (strcmp(first_hash, hash.text) != 0) {
            find(check, CHECK_CRITICAL,
                 "%s has other content than %s at index %llu (hash %.47s, not "
                 "%s): find out which of them is wrong, remove it, and let it "
                 "join again with an empty directory",
                 node->id, first->id, (unsigned long long)index, hash.text,
                 first_hash);
        }
    }
    check->compared = count > 1;
    check->compared_at = index;
}

/* ---- the report ---- */

static void add_summary(const struct check *check, struct buf *out)
{
    const struct survey *survey = check->survey;
    unsigned answers = 0;
    for (unsigned i = 0; i < survey->count; i++) {
        answers += !survey->nodes[i].code;
    }
    buf_printf(out, "%u of %u nodes answer", answers, survey->count);
    if (survey->leader) {
        buf_printf(out, ", %s leads", survey->leader->id);
    }
    if (check->compared) {
        buf_printf(out, ", content was compared at index %llu",
                   (unsigned long long)check->compared_at);
    }
    buf_add_u8(out, '\n');
}

/* Print the lines, the worst first. Returns the exit code. */
static int report(struct check *check)
{
    static const int order[] = {CHECK_CRITICAL, CHECK_WARNING, CHECK_UNKNOWN};
    struct buf out = {0};
    int code = CHECK_OK;
    for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
        struct buf *lines = &check->lines[order[i]];
        code = code == CHECK_OK && lines->size > 0 ? order[i] : code;
        buf_add_bytes(&out, buf_bytes(lines));
        buf_free(lines);
    }
    if (code == CHECK_OK) {
        buf_add_string(&out, "OK: ");
    }
    if (check->survey->count > 0) {
        add_summary(check, &out);
    }
    if (client_print_bytes(check->options, buf_bytes(&out))) {
        code = CHECK_UNKNOWN;
    }
    buf_free(&out);
    return code;
}

int client_run_check(const struct options *options)
{
    struct survey *survey = mem_zalloc(sizeof(*survey));
    struct check check = {.options = options, .survey = survey};
    struct buf why = {0};
    int code = survey_take(survey, options, &why);
    if (code) {
        /* Nobody answers; or what answers says no, and is well perhaps. */
        find(&check, code == EXIT_AWAY ? CHECK_CRITICAL : CHECK_UNKNOWN,
             "no node says how it is: %s", (const char *)why.data);
    } else {
        check_members(&check);
        check_leader(&check);
        check_equal(&check, SURVEY_CLUSTER, CHECK_CRITICAL, "the cluster id");
        check_equal(&check, SURVEY_VERSION, CHECK_WARNING, "version");
        for (unsigned i = 0; i < survey->count; i++) {
            if (!survey->nodes[i].code) {
                check_hints(&check, &survey->nodes[i]);
                check_quota(&check, &survey->nodes[i]);
            }
        }
        check_content(&check);
    }
    code = report(&check);
    survey_free(survey);
    mem_free(survey);
    buf_free(&why);
    return code;
}
