/* options.c -- the words behind a command. Flags have one dash or two, and '='
 * or a blank, as those of the daemon; "-" alone and everything behind "--" are
 * words. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "client/client_internal.h"
#include "client/lock_internal.h"
#include "reactor/reactor.h"

enum kind { FLAG, TEXT, NUMBER, DURATION, DURATION_OR_0 };

struct flag {
    const char *name;
    enum kind kind;
    size_t at;       /* Offset in struct options. */
    size_t given_at; /* Offset of the bool that says it was given; 0: none. */
};

#define AT(field) offsetof(struct options, field)

static const struct flag flags[] = {
    {"addr", TEXT, AT(addr), 0},
    {"timeout", DURATION, AT(timeout_ms), 0},
    {"help", FLAG, AT(help), 0},
    {"meta", FLAG, AT(meta), 0},
    {"stale", FLAG, AT(stale), 0},
    {"level", TEXT, AT(level), 0},
    {"create", FLAG, AT(create), 0},
    {"if-index", NUMBER, AT(if_index), AT(has_if_index)},
    {"print-index", FLAG, AT(print_index), 0},
    {"keys", FLAG, AT(keys), 0},
    {"limit", NUMBER, AT(limit), AT(has_limit)},
    {"json", FLAG, AT(json), 0},
    {"time", DURATION, AT(time_ms), 0},
    {"netrc", FLAG, AT(netrc), 0},
    {"rounds", NUMBER, AT(rounds), AT(has_rounds)},
    {"join", FLAG, AT(join), 0},
    {"key", TEXT, AT(key), 0},
    {"since", NUMBER, AT(since), AT(has_since)},
    {"initial", FLAG, AT(initial), 0},
    {"exec", TEXT, AT(exec), 0},
    {"ttl", DURATION, AT(ttl_ms), 0},
    {"wait", DURATION_OR_0, AT(wait_ms), AT(has_wait)},
    {"quiet", FLAG, AT(quiet), 0},
    {"all", FLAG, AT(all), 0},
    {"watch", FLAG, AT(watch), 0},
    {"prefix", FLAG, AT(prefix), 0},
    {"yes", FLAG, AT(yes), 0},
    {"from", TEXT, AT(from), 0},
    {"dry-run", FLAG, AT(dry_run), 0},
    {"conns", NUMBER, AT(conns), AT(has_conns)},
    {"size", NUMBER, AT(size), AT(has_size)},
    {"show", FLAG, AT(show), 0},
};

static const struct flag *find(const struct command *command, const char *name,
                               size_t size)
{
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        if (strlen(flags[i].name) == size &&
            memcmp(flags[i].name, name, size) == 0 &&
            (flags[i].at == AT(help) ||
             text_lists_word(command->flags, bytes_of_string(flags[i].name)))) {
            return &flags[i];
        }
    }
    return NULL;
}

static void unknown_flag(const struct command *command, const char *word,
                         struct bytes name, char *why, size_t why_size)
{
    struct text_nearest nearest = text_nearest_to(name);
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        if (text_lists_word(command->flags, bytes_of_string(flags[i].name))) {
            text_nearest_offer(&nearest, bytes_of_string(flags[i].name));
        }
    }
    if (nearest.best.size > 0) {
        (void)snprintf(why, why_size, "unknown flag %.80s; did you mean --%s?",
                       word, (const char *)nearest.best.data);
    } else {
        (void)snprintf(why, why_size,
                       "unknown flag %.80s; see craftd help %s (\"--\" goes "
                       "before a word that begins with a dash)",
                       word, command->name);
    }
}

/* Returns NULL, or a description of the value that is expected. */
static const char *take(const struct flag *flag, const char *value,
                        struct options *options)
{
    void *field = (char *)options + flag->at;
    if (flag->given_at) {
        *(bool *)((char *)options + flag->given_at) = true;
    }
    switch (flag->kind) {
    case FLAG:
        *(bool *)field = true;
        return NULL;
    case TEXT:
        *(const char **)field = value;
        return value[0] ? NULL : "must not be empty";
    case NUMBER:
        return json_u64(bytes_of_string(value), field) ? NULL : "is no number";
    case DURATION:
    case DURATION_OR_0:
        return text_duration_ms(bytes_of_string(value), field) &&
                       (*(uint64_t *)field > 0 ||
                        flag->kind == DURATION_OR_0) &&
                       *(uint64_t *)field <= 3600 * 1000
                   ? NULL
                   : "is no duration such as 250ms or 5s, up to 1h";
    }
    return NULL;
}

/* Read the flag at argv[*at]; *at is moved to its value, if it has one. */
static bool read_flag(struct options *options, int argc, char **argv, int *at,
                      char *why, size_t why_size)
{
    const char *word = argv[*at];
    const char *name = word + (word[1] == '-' ? 2 : 1);
    size_t size = strcspn(name, "=");
    bool is_h = strcmp(word, "-h") == 0;
    const struct flag *flag = is_h ? find(options->command, "help", 4)
                                   : find(options->command, name, size);
    const char *value = name[size] == '=' ? name + size + 1 : NULL;
    if (!flag) {
        unknown_flag(options->command, word, bytes_of(name, size), why,
                     why_size);
        return false;
    }
    if (flag->kind != FLAG && !value && *at + 1 < argc) {
        value = argv[++*at];
    }
    if ((flag->kind == FLAG) != !value) {
        (void)snprintf(why, why_size,
                       value ? "%s takes no value" : "%s needs a value", word);
        return false;
    }
    const char *wanted = take(flag, value, options);
    if (wanted) {
        (void)snprintf(why, why_size, "%s: \"%s\" %s", word, value, wanted);
    }
    return !wanted;
}

bool client_next_server(const char **list, char addr[SERVER_BYTES])
{
    while (**list == ',' || **list == ' ') {
        (*list)++;
    }
    const char *at = *list;
    size_t size = strcspn(at, ", ");
    *list += size;
    if (size > 7 && memcmp(at, "http://", 7) == 0) {
        at += 7;
        size -= 7;
    }
    if (size > 0 && at[size - 1] == '/') {
        size--;
    }
    if (size >= SERVER_BYTES) {
        size =
            SERVER_BYTES - 1; /* Longer than any name: it does not resolve. */
    }
    memcpy(addr, at, size);
    addr[size] = '\0';
    return size > 0;
}

static bool servers_ok(const char *list, char *why, size_t why_size)
{
    char addr[SERVER_BYTES];
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    bool any = false;
    while (client_next_server(&list, addr)) {
        bool is_unix = strncmp(addr, UNIX_SCHEME, strlen(UNIX_SCHEME)) == 0;
        if (!is_unix && (!addr_split(addr, host, &port) || port == 0)) {
            (void)snprintf(why, why_size,
                           "%.100s is not host:port or unix:PATH", addr);
            return false;
        }
        any = true;
    }
    if (!any) {
        (void)snprintf(why, why_size, "no server to ask: see --addr");
    }
    return any;
}

/* Returns NULL, or what is wrong with the name of a lock, and what goes with
 * it.
 */
static const char *check_lock(const struct options *options)
{
    const char *name = options->words[0];
    size_t size = strlen(name);
    if (size > LOCK_NAME_MAX || name[size - 1] == '/' ||
        !text_is_printable(bytes_of_string(name))) {
        return "NAME has at most 200 bytes, no control characters, and no "
               "slash "
               "at its end";
    }
    if (options->word_count > 1 &&
        (strlen(options->words[1]) > LOCK_VALUE_MAX ||
         !text_is_printable(bytes_of_string(options->words[1])))) {
        return "VALUE has at most 300 bytes, and no control characters";
    }
    if (options->ttl_ms < LOCK_TTL_MIN_MS) {
        return "--ttl is at least 1s";
    }
    return options->command->words_max < 0 && !options->rest
               ? "there is no command to run"
               : NULL;
}

static bool check(const struct options *options, char *why, size_t why_size)
{
    const struct command *command = options->command;
    const char *wrong = NULL;
    if (options->word_count < command->words_min) {
        wrong = "too few words";
    } else if (options->word_count > 0 && options->words[0][0] == '\0' &&
               command->words_min > 0) {
        wrong = "the first word must not be empty";
    } else if (options->create && options->has_if_index) {
        wrong = "--create and --if-index exclude each other";
    } else if (options->watch && !options->all) {
        wrong = "--watch is for --all";
    } else if (options->prefix && options->has_if_index) {
        wrong = "--if-index is for one key, not for --prefix";
    } else if (options->key && options->word_count > 0) {
        wrong = "a PREFIX and --key exclude each other";
    } else if (options->stale && options->level) {
        wrong = "--stale is --level none: use one of them";
    } else if (options->join && options->word_count > 0) {
        wrong = "a token for one join has no other permissions";
    } else if (text_lists_word(command->flags, bytes_of_string("ttl"))) {
        wrong = check_lock(options);
    }
    if (wrong) {
        (void)snprintf(why, why_size, "%s; see craftd help %s", wrong,
                       command->name);
    }
    return !wrong &&
           (!text_lists_word(command->flags, bytes_of_string("addr")) ||
            servers_ok(options->addr, why, why_size));
}

static bool add_word(struct options *options, const char *word, char *why,
                     size_t why_size)
{
    if (options->word_count == options->command->words_max) {
        (void)snprintf(why, why_size, "one word too many: %s", word);
        return false;
    }
    options->words[options->word_count++] = word;
    return true;
}

bool options_parse(struct options *options, int argc, char **argv, char *why,
                   size_t why_size)
{
    const char *addr = getenv("CRAFTD_ADDR");
    options->addr = addr && addr[0] ? addr : "localhost:11000";
    options->timeout_ms = 10000;
    options->ttl_ms = 10000;
    options->time_ms = 3000;
    int words_max = options->command->words_max;
    must(words_max <= WORDS_MAX);
    bool words_only = false;
    for (int at = 0; at < argc; at++) {
        bool dashes = strcmp(argv[at], "--") == 0;
        bool is_word = words_only || argv[at][0] != '-' || !argv[at][1];
        if (options->word_count == -words_max && words_max < 0 &&
            (is_word || dashes)) {
            at += dashes;
            options->rest = at < argc ? argv + at : NULL;
            break;
        }
        if (!is_word && dashes) {
            words_only = true;
        } else if (is_word
                       ? !add_word(options, argv[at], why, why_size)
                       : !read_flag(options, argc, argv, &at, why, why_size)) {
            return false;
        }
    }
    return options->help || check(options, why, why_size);
}
