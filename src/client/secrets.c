/* secrets.c -- craftd passwd, craftd token: an object for the file of --auth,
 * or a token that a server has made. */
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/text.h"
#include "client/client_internal.h"
#include "crypto/crypto.h"
#include "sys/sys.h"

enum {
    /* About a tenth of a second of a desktop's processor, a few seconds of a
     * small router's, once for each user and start of the server. */
    ROUNDS = 100000,
    SALT_BYTES = 16,
    TOKEN_BYTES = 32,
};

/* ---- reading a password ---- */

static struct termios terminal; /* As it was. */

static void restore_terminal(void)
{
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
}

/* Without it, a terminal would stay silent after Ctrl-C. */
static void on_interrupt(int signal_number)
{
    restore_terminal();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static bool read_line(char *line, size_t size)
{
    if (!fgets(line, (int)size, stdin)) {
        return false;
    }
    size_t end = strcspn(line, "\n");
    bool whole = line[end] == '\n' || feof(stdin);
    line[end] = '\0';
    return whole;
}

/* Without showing it. */
static bool ask(const char *prompt, char *line, size_t size)
{
    (void)fputs(prompt, stderr);
    bool good = read_line(line, size);
    (void)fputc('\n', stderr);
    return good;
}

static const char *ask_twice(char *line, size_t size)
{
    char again[AUTH_SECRET_BYTES_MAX];
    if (tcgetattr(STDIN_FILENO, &terminal) != 0) {
        return "the terminal cannot be read";
    }
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
    struct termios silent = terminal;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    bool good = ask("Password: ", line, size) &&
                ask("Once more: ", again, sizeof(again));
    restore_terminal();
    bool same = good && strcmp(line, again) == 0;
    crypto_zero(again, sizeof(again));
    return !good   ? "no password, or one that is too long"
           : !same ? "these are two different passwords"
                   : NULL;
}

/* NULL, or what is wrong. */
static const char *read_password(char *line, size_t size)
{
    const char *wrong = NULL;
    if (isatty(STDIN_FILENO)) {
        wrong = ask_twice(line, size);
    } else if (!read_line(line, size)) {
        wrong = "no password on stdin, or one that is too long";
    }
    if (!wrong && line[0] == '\0') {
        wrong = "the password must not be empty";
    }
    /* RFC 7617 section 2 allows none, and lines of some systems end in CR. */
    for (const char *at = line; !wrong && *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            wrong = "the password has a control character";
        }
    }
    return wrong;
}

/* ---- the object ---- */

static void add_perms(struct buf *out, const struct options *options, int first)
{
    buf_add_string(out, ",\"perms\":[");
    for (int i = first; i < options->word_count; i++) {
        buf_add_string(out, i > first ? "," : "");
        json_add_string(out, bytes_of_string(options->words[i]));
    }
    buf_add_string(out, "]}");
}

/* Print the object if the server will take it. */
static int print_object(const struct options *options, const struct buf *object)
{
    static const uint8_t key[AUTH_KEY_BYTES];
    char why[AUTH_WHY_BYTES];
    struct buf text = {0};
    struct auth *auth = auth_new(key, 0);
    buf_add_u8(&text, '[');
    buf_add_bytes(&text, buf_bytes(object));
    buf_add_u8(&text, ']');
    enum err err = auth_set_rules(auth, buf_bytes(&text), why);
    auth_free(auth);
    if (err) {
        /* The place would be one in what is not printed. */
        const char *colon = strchr(why, ':');
        client_say(options, "%s", colon ? colon + 2 : why);
        buf_free(&text);
        return EXIT_USAGE;
    }
    text.size = 0;
    buf_add_bytes(&text, buf_bytes(object));
    buf_add_u8(&text, '\n');
    int code = client_print_bytes(options, buf_bytes(&text));
    buf_free(&text);
    return code;
}

static bool words_are_utf8(const struct options *options)
{
    for (int i = 0; i < options->word_count; i++) {
        if (!json_is_utf8(bytes_of_string(options->words[i]))) {
            client_say(options, "word %d is not UTF-8", i + 1);
            return false;
        }
    }
    return true;
}

static void hash_password(const char *password, uint32_t rounds,
                          struct buf *out)
{
    uint8_t salt[SALT_BYTES];
    uint8_t hash[SHA256_BYTES];
    struct pbkdf2 pbkdf2;
    sys_entropy(salt, sizeof(salt));
    pbkdf2_init(&pbkdf2, bytes_of_string(password),
                bytes_of(salt, sizeof(salt)), rounds);
    bool done = pbkdf2_step(&pbkdf2, rounds);
    must(done);
    pbkdf2_finish(&pbkdf2, hash);
    buf_printf(out, "pbkdf2-sha256:%u:", rounds);
    text_add_hex(out, salt, sizeof(salt));
    buf_add_u8(out, ':');
    text_add_hex(out, hash, sizeof(hash));
}

int client_run_passwd(const struct options *options)
{
    const char *name = options->words[0];
    /* A client sends name:password. */
    char password[AUTH_SECRET_BYTES_MAX - AUTH_NAME_BYTES_MAX];
    uint64_t rounds = options->has_rounds ? options->rounds : ROUNDS;
    if (!words_are_utf8(options)) {
        return EXIT_USAGE;
    }
    if (rounds < AUTH_ROUNDS_MIN || rounds > AUTH_ROUNDS_MAX) {
        client_say(options, "--rounds is %d to %d", AUTH_ROUNDS_MIN,
                   AUTH_ROUNDS_MAX);
        return EXIT_USAGE;
    }
    const char *wrong = read_password(password, sizeof(password));
    if (wrong) {
        client_say(options, "%s", wrong);
        return EXIT_FAILED;
    }
    struct buf object = {0};
    buf_add_string(&object, "{\"username\":");
    json_add_string(&object, bytes_of_string(name));
    buf_add_string(&object, ",\"password\":\"");
    hash_password(password, (uint32_t)rounds, &object);
    crypto_zero(password, sizeof(password));
    buf_add_u8(&object, '"');
    add_perms(&object, options, 1);
    int code = print_object(options, &object);
    buf_free(&object);
    return code;
}

/* A token for one join, which the server makes and keeps. */
static int run_join_token(const struct options *options)
{
    struct request request;
    struct json_reader reader;
    struct field fields[] = {{.name = "token"}, {.name = "node"}};
    request_init(&request, "POST", "/join/token");
    int code = request_run(&request, options);
    struct buf *answer = &request.answer_body;
    json_init(&reader, answer->data, answer->size);
    if (!code &&
        (answer->size == 0 || json_next(&reader) != JSON_OBJECT_BEGIN ||
         !client_read_fields(&reader, fields, ARRAY_COUNT(fields)))) {
        client_say(options, "the answer has an unexpected form");
        code = EXIT_FAILED;
    }
    if (!code) {
        struct buf line = {0};
        client_say(options,
                   "this token is for one new node, which must --join %s, and "
                   "for ten minutes",
                   fields[1].text);
        buf_printf(&line, "%s\n", fields[0].text);
        code = client_print_bytes(options, buf_bytes(&line));
        crypto_zero(line.data, line.capacity);
        buf_free(&line);
    }
    crypto_zero(fields, sizeof(fields));
    crypto_zero(answer->data, answer->capacity);
    request_free(&request);
    return code;
}

int client_run_token(const struct options *options)
{
    if (options->join) {
        return run_join_token(options);
    }
    uint8_t random[TOKEN_BYTES];
    uint8_t hash[SHA256_BYTES];
    struct buf token = {0};
    struct buf object = {0};
    if (!words_are_utf8(options)) {
        return EXIT_USAGE;
    }
    sys_entropy(random, sizeof(random));
    text_add_hex(&token, random, sizeof(random));
    sha256(buf_bytes(&token), hash);
    buf_add_u8(&token, '\n');
    buf_add_string(&object, "{\"token\":\"sha256:");
    text_add_hex(&object, hash, sizeof(hash));
    buf_add_u8(&object, '"');
    add_perms(&object, options, 0);
    int code = print_object(options, &object);
    if (!code) {
        code = client_print_bytes(options, buf_bytes(&token));
    }
    crypto_zero(random, sizeof(random));
    crypto_zero(token.data, token.capacity);
    buf_free(&token);
    buf_free(&object);
    return code;
}
