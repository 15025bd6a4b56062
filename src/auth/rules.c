/* rules.c -- the file of users and tokens, and what each may do. */
#include <stdio.h>

#include "auth/auth_internal.h"
#include "base/text.h"
#include "json/json.h"

/* ---- permissions ---- */

static const char *const perm_names[AUTH_PERM_COUNT] = {[AUTH_PERM_NONE] =
                                                            "none",
#define X(name, text) [AUTH_##name] = text,
                                                        AUTH_PERM_LIST(X)
#undef X
};

_Static_assert(AUTH_PERM_COUNT <= 32, "a permission is a bit of 32");

const char *auth_perm_name(enum auth_perm perm)
{
    must(perm > AUTH_PERM_NONE && perm < AUTH_PERM_COUNT);
    return perm_names[perm];
}

static uint32_t bit(enum auth_perm perm)
{
    return UINT32_C(1) << perm;
}

static bool starts_with(struct bytes text, struct bytes prefix)
{
    return text.size >= prefix.size &&
           (prefix.size == 0 ||
            memcmp(text.data, prefix.data, prefix.size) == 0);
}

/* `below`: one of the keys that begin with `key` is enough. */
static bool grants(const struct auth_rules *rules, const struct auth_user *user,
                   enum auth_perm perm, struct bytes key, bool below)
{
    if (!user) {
        return false;
    }
    if (user->perms & bit(perm)) {
        return true;
    }
    for (uint32_t i = 0; i < user->prefix_count; i++) {
        const struct auth_prefix *prefix =
            &rules->prefixes[user->prefix_first + i];
        if (prefix->perm == perm &&
            (starts_with(key, prefix->text) ||
             (below && starts_with(prefix->text, key)))) {
            return true;
        }
    }
    return false;
}

static bool may(const struct auth_identity *identity, enum auth_perm perm,
                struct bytes key, bool below)
{
    const struct auth_rules *rules = identity->rules;
    if (identity->unrestricted) {
        return true;
    }
    if (!rules || perm == AUTH_PERM_NONE) {
        return false;
    }
    return (rules->perms_of_all & bit(perm)) ||
           grants(rules, identity->user, perm, key, below) ||
           grants(rules, rules->everybody, perm, key, below);
}

bool auth_may(const struct auth_identity *identity, enum auth_perm perm,
              struct bytes key)
{
    return may(identity, perm, key, false);
}

bool auth_may_below(const struct auth_identity *identity, enum auth_perm perm,
                    struct bytes key)
{
    return may(identity, perm, key, true);
}

static bool is_less(struct bytes a, struct bytes b)
{
    size_t size = min_size(a.size, b.size);
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return order < 0 || (order == 0 && a.size < b.size);
}

/* The nearest prefix of `user` on the other side of `key`, if it is nearer than
 * the one in *nearest (data NULL: none yet). */
static void find_nearest(const struct auth_rules *rules,
                         const struct auth_user *user, enum auth_perm perm,
                         struct bytes key, bool reverse, struct bytes *nearest)
{
    for (uint32_t i = 0; user && i < user->prefix_count; i++) {
        const struct auth_prefix *prefix =
            &rules->prefixes[user->prefix_first + i];
        struct bytes text = prefix->text;
        if (prefix->perm == perm &&
            (reverse ? is_less(text, key) : is_less(key, text)) &&
            (!nearest->data ||
             (reverse ? is_less(*nearest, text) : is_less(text, *nearest)))) {
            *nearest = text;
        }
    }
}

bool auth_next_prefix(const struct auth_identity *identity, enum auth_perm perm,
                      struct bytes key, bool reverse, struct bytes *prefix)
{
    const struct auth_rules *rules = identity->rules;
    *prefix = (struct bytes){0};
    if (rules) {
        find_nearest(rules, identity->user, perm, key, reverse, prefix);
        find_nearest(rules, rules->everybody, perm, key, reverse, prefix);
    }
    return prefix->data != NULL;
}

bool auth_is_known(const struct auth_identity *identity)
{
    return identity->unrestricted ||
           (identity->rules && (identity->user || identity->rules->everybody));
}

static bool has_more_than_ready(const struct auth_user *user)
{
    return user && (user->prefix_count > 0 || user->perms & ~bit(AUTH_READY));
}

bool auth_is_trusted(const struct auth_identity *identity)
{
    return identity->unrestricted ||
           (identity->rules &&
            (has_more_than_ready(identity->user) ||
             has_more_than_ready(identity->rules->everybody)));
}

struct bytes auth_name(const struct auth_identity *identity)
{
    return identity->user && identity->user->kind != AUTH_USER_TOKEN
               ? identity->user->name
               : (struct bytes){0};
}

static void add_perm(struct buf *out, enum auth_perm perm, struct bytes prefix)
{
    struct buf text = {0};
    buf_add_string(&text, auth_perm_name(perm));
    if (prefix.size > 0) {
        buf_add_u8(&text, ':');
        buf_add_bytes(&text, prefix);
    }
    if (out->data[out->size - 1] != '[') {
        buf_add_u8(out, ',');
    }
    json_add_string(out, buf_bytes(&text));
    buf_free(&text);
}

void auth_add_perms(const struct auth_identity *identity, struct buf *out)
{
    const struct auth_rules *rules = identity->rules;
    const struct auth_user *const users[] = {identity->user,
                                             rules ? rules->everybody : NULL};
    for (int perm = AUTH_PERM_NONE + 1; perm < AUTH_PERM_COUNT; perm++) {
        if (auth_may(identity, (enum auth_perm)perm, (struct bytes){0})) {
            add_perm(out, (enum auth_perm)perm, (struct bytes){0});
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(users); i++) {
        for (uint32_t k = 0; users[i] && k < users[i]->prefix_count; k++) {
            const struct auth_prefix *prefix =
                &rules->prefixes[users[i]->prefix_first + k];
            add_perm(out, prefix->perm, prefix->text);
        }
    }
}

/* A token has no name, but its hash is not another's. */
uint64_t auth_bind(const struct auth_identity *identity, uint64_t digest)
{
    const struct auth_user *user = identity->user;
    struct sha256 hash;
    uint8_t number[8];
    uint8_t bound[SHA256_BYTES];
    if (identity->unrestricted) {
        return digest;
    }
    store_u64(number, digest);
    sha256_init(&hash);
    sha256_add(&hash, bytes_of(number, sizeof(number)));
    if (user && user->kind == AUTH_USER_TOKEN) {
        sha256_add(&hash, bytes_of(user->hash, sizeof(user->hash)));
    } else if (user) {
        sha256_add(&hash, bytes_of_string("user "));
        sha256_add(&hash, user->name);
    }
    sha256_finish(&hash, bound);
    return load_u64(bound);
}

/* ---- users ---- */

/* Names are no secret that is kept, but their list need not be had by measuring
 * times: all users are compared, and each name to its end. */
const struct auth_user *auth_rules_find(const struct auth_rules *rules,
                                        enum auth_kind kind, struct bytes name)
{
    const struct auth_user *found = NULL;
    for (uint32_t i = 0; i < rules->user_count; i++) {
        const struct auth_user *user = &rules->users[i];
        if (user->kind == kind && user->name.size == name.size &&
            crypto_equal(user->name.data, name.data, name.size)) {
            found = user;
        }
    }
    return found;
}

const struct auth_user *auth_rules_find_token(const struct auth_rules *rules,
                                              const uint8_t hash[SHA256_BYTES])
{
    const struct auth_user *found = NULL;
    for (uint32_t i = 0; i < rules->user_count; i++) {
        const struct auth_user *user = &rules->users[i];
        if (user->kind == AUTH_USER_TOKEN &&
            crypto_equal(user->hash, hash, SHA256_BYTES)) {
            found = user;
        }
    }
    return found;
}

void auth_rules_release(struct auth_rules *rules)
{
    if (rules && --rules->references == 0) {
        mem_free(rules->users);
        mem_free(rules->prefixes);
        mem_free(rules->text);
        mem_free(rules);
    }
}

/* ---- reading the file ---- */

enum { MESSAGE_BYTES = 160, SHOWN_BYTES_MAX = 40 };

/* The members of an object. */
enum { MEMBER_NAME, MEMBER_PASSWORD, MEMBER_TOKEN, MEMBER_PERMS, MEMBERS };

struct parse {
    struct json_reader json;
    struct auth_rules *rules;
    struct auth_user *user; /* The one being read. */
    bool has[MEMBERS];      /* It has this one. */
    bool names_ready;       /* Some object names "ready". */
    size_t token_at;        /* Offset of the last token. */
    char message[MESSAGE_BYTES];
};

/* The reader has decoded its copy of the file, `data`, up to the offset; what
 * is behind it is as it was. */
static enum json_token next(struct parse *parse)
{
    struct json_reader *json = &parse->json;
    size_t at = json->offset;
    while (at < json->size && memchr(" \t\r\n,:", json->data[at], 6)) {
        at++;
    }
    parse->token_at = at;
    enum json_token token = json_next(json);
    if (token == JSON_ERROR) {
        parse->token_at = json->offset;
        snprintf(parse->message, MESSAGE_BYTES, "%s", json->why);
    }
    return token;
}

static bool wrong(struct parse *parse, const char *message)
{
    if (parse->message[0] == '\0') {
        snprintf(parse->message, MESSAGE_BYTES, "%s", message);
    }
    return false;
}

/* With the word that is wrong, if it can be shown. */
static bool wrong_word(struct parse *parse, const char *what, struct bytes word,
                       struct bytes like)
{
    bool shown = text_is_printable(word) && word.size <= SHOWN_BYTES_MAX;
    int used =
        snprintf(parse->message, MESSAGE_BYTES, "%s%s%.*s%s", what,
                 shown ? " \"" : "", shown ? (int)word.size : 0,
                 shown ? (const char *)word.data : "", shown ? "\"" : "");
    must(used >= 0 && used < MESSAGE_BYTES);
    if (like.size > 0) {
        snprintf(parse->message + used, (size_t)(MESSAGE_BYTES - used),
                 "; did you mean %.*s?", (int)like.size,
                 (const char *)like.data);
    }
    return false;
}

/* Other names of permissions; NONE stands for all of them. */
static const struct {
    const char *name;
    enum auth_perm perm;
} aliases[] = {
    {"all", AUTH_PERM_NONE},
    {"watch", AUTH_READ},
    {"query", AUTH_READ},
    {"execute", AUTH_WRITE},
};

static bool find_perm(struct bytes word, enum auth_perm *perm,
                      struct bytes *like)
{
    struct text_nearest nearest = text_nearest_to(word);
    for (enum auth_perm at = AUTH_PERM_NONE + 1; at < AUTH_PERM_COUNT; at++) {
        if (bytes_equal_string(word, perm_names[at])) {
            *perm = at;
            return true;
        }
        text_nearest_offer(&nearest, bytes_of_string(perm_names[at]));
    }
    for (size_t i = 0; i < ARRAY_COUNT(aliases); i++) {
        if (bytes_equal_string(word, aliases[i].name)) {
            *perm = aliases[i].perm;
            return true;
        }
        text_nearest_offer(&nearest, bytes_of_string(aliases[i].name));
    }
    *like = nearest.best;
    return false;
}

/* "read", or "read:svc/". */
static bool take_perm(struct parse *parse, struct bytes text)
{
    struct auth_rules *rules = parse->rules;
    struct auth_user *user = parse->user;
    const uint8_t *colon = memchr(text.data, ':', text.size);
    size_t size = colon ? (size_t)(colon - text.data) : text.size;
    struct bytes word = bytes_of(text.data, size);
    struct bytes like = {0};
    enum auth_perm perm;
    if (!find_perm(word, &perm, &like)) {
        return wrong_word(parse, "there is no permission", word, like);
    }
    parse->names_ready |= perm == AUTH_READY;
    if (!colon) {
        user->perms |= perm == AUTH_PERM_NONE ? UINT32_MAX : bit(perm);
        return true;
    }
    struct bytes prefix = bytes_of(colon + 1, text.size - size - 1);
    if (perm != AUTH_READ && perm != AUTH_WRITE) {
        return wrong(parse, "only read and write take a prefix");
    }
    if (prefix.size == 0 || prefix.size > AUTH_PREFIX_BYTES_MAX) {
        return wrong(parse, "a prefix has 1 to 1024 bytes; for all keys write "
                            "the permission without a colon");
    }
    rules->prefixes =
        mem_realloc(rules->prefixes,
                    (rules->prefix_count + 1) * sizeof(rules->prefixes[0]));
    rules->prefixes[rules->prefix_count++] =
        (struct auth_prefix){.perm = perm, .text = prefix};
    user->prefix_count++;
    return true;
}

static bool take_perms(struct parse *parse)
{
    uint32_t count = 0;
    if (next(parse) != JSON_ARRAY_BEGIN) {
        return wrong(parse, "\"perms\" is an array of strings");
    }
    enum json_token token;
    while ((token = next(parse)) == JSON_STRING) {
        if (++count > AUTH_PERMS_MAX) {
            return wrong(parse, "more than 64 permissions of one user");
        }
        if (!take_perm(parse, parse->json.text)) {
            return false;
        }
    }
    return token == JSON_ARRAY_END ||
           wrong(parse, "\"perms\" is an array of strings");
}

/* Cut `text` at the next colon. */
static struct bytes take_field(struct bytes *text)
{
    const uint8_t *colon =
        text->size > 0 ? memchr(text->data, ':', text->size) : NULL;
    size_t size = colon ? (size_t)(colon - text->data) : text->size;
    struct bytes field = bytes_of(text->data, size);
    *text =
        colon ? bytes_of(colon + 1, text->size - size - 1) : (struct bytes){0};
    return field;
}

static bool take_password(struct parse *parse, struct bytes text)
{
    struct auth_user *user = parse->user;
    if (!bytes_equal_string(take_field(&text), "pbkdf2-sha256")) {
        return wrong(parse, "a password is pbkdf2-sha256:ROUNDS:SALT:HASH, "
                            "as craftd passwd writes it");
    }
    uint64_t rounds;
    if (!json_u64(take_field(&text), &rounds) || rounds < AUTH_ROUNDS_MIN ||
        rounds > AUTH_ROUNDS_MAX) {
        return wrong(parse, "the rounds of a password are 1000 to 10000000");
    }
    struct bytes salt = take_field(&text);
    user->rounds = (uint32_t)rounds;
    user->salt_size = (uint32_t)min_size(salt.size / 2, AUTH_SALT_BYTES_MAX);
    if (user->salt_size < AUTH_SALT_BYTES_MIN ||
        !text_hex(salt, user->salt, user->salt_size)) {
        return wrong(parse, "the salt of a password is 8 to 32 bytes in "
                            "hexadecimal");
    }
    return text_hex(text, user->hash, SHA256_BYTES) ||
           wrong(parse, "the hash of a password is 32 bytes in hexadecimal");
}

static bool take_token(struct parse *parse, struct bytes text)
{
    struct auth_user *user = parse->user;
    user->kind = AUTH_USER_TOKEN;
    return (bytes_equal_string(take_field(&text), "sha256") &&
            text_hex(text, user->hash, SHA256_BYTES)) ||
           wrong(parse, "a token is sha256:HASH with 32 bytes in hexadecimal, "
                        "as craftd token writes it");
}

static bool take_name(struct parse *parse, struct bytes name)
{
    static const char uid_prefix[] = "uid:";
    struct auth_user *user = parse->user;
    struct bytes uid = bytes_of_string(uid_prefix);
    uint64_t number;
    user->name = name;
    if (name.size == 0 || name.size > AUTH_NAME_BYTES_MAX ||
        !text_is_word(name)) {
        return wrong(parse, "a user's name is 1 to 64 bytes without blanks and "
                            "quotes");
    }
    if (bytes_equal_string(name, "*")) {
        user->kind = AUTH_USER_EVERYBODY;
        return true;
    }
    if (starts_with(name, uid)) {
        user->kind = AUTH_USER_UID;
        struct bytes digits =
            bytes_of(name.data + uid.size, name.size - uid.size);
        return (json_u64(digits, &number) && number <= UINT32_MAX &&
                (digits.size == 1 || digits.data[0] != '0')) ||
               wrong(parse, "behind uid: is the number of a user of this "
                            "machine");
    }
    return !memchr(name.data, ':', name.size) ||
           wrong(parse, "a user's name has no colon");
}

static const struct {
    const char *name;
    bool (*take)(struct parse *parse, struct bytes text); /* NULL: an array. */
} members[] = {
    [MEMBER_NAME] = {"username", take_name},
    [MEMBER_PASSWORD] = {"password", take_password},
    [MEMBER_TOKEN] = {"token", take_token},
    [MEMBER_PERMS] = {"perms", NULL},
};

static bool take_member(struct parse *parse, struct bytes name)
{
    struct text_nearest nearest = text_nearest_to(name);
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        if (!bytes_equal_string(name, members[i].name)) {
            text_nearest_offer(&nearest, bytes_of_string(members[i].name));
            continue;
        }
        if (parse->has[i]) {
            return wrong(parse, "a member that is there twice");
        }
        parse->has[i] = true;
        if (!members[i].take) {
            return take_perms(parse);
        }
        return next(parse) == JSON_STRING
                   ? members[i].take(parse, parse->json.text)
                   : wrong(parse, "a string is expected");
    }
    return wrong_word(parse, "there is no member", name, nearest.best);
}

/* Checks that an object has what it must, and nothing that it must not. */
static bool check_user(struct parse *parse)
{
    struct auth_rules *rules = parse->rules;
    const struct auth_user *user = parse->user;
    bool has_name = parse->has[MEMBER_NAME];
    bool has_password = parse->has[MEMBER_PASSWORD];
    if (has_name == parse->has[MEMBER_TOKEN]) {
        return wrong(parse, "an object has either a \"username\" or a "
                            "\"token\"");
    }
    if (has_password != (has_name && user->kind == AUTH_USER_PASSWORD)) {
        return wrong(parse, has_password ? "a token, \"*\" and uid:N have no "
                                           "\"password\""
                                         : "a user has a \"password\"");
    }
    if (!parse->has[MEMBER_PERMS]) {
        return wrong(parse, "an object has \"perms\"");
    }
    for (uint32_t i = 0; i + 1 < rules->user_count; i++) {
        const struct auth_user *other = &rules->users[i];
        if (has_name
                ? other->kind == user->kind &&
                      bytes_equal(other->name, user->name)
                : other->kind == AUTH_USER_TOKEN &&
                      crypto_equal(other->hash, user->hash, SHA256_BYTES)) {
            return wrong(parse, "the same user or token is there twice");
        }
    }
    return true;
}

static bool take_user(struct parse *parse)
{
    struct auth_rules *rules = parse->rules;
    size_t begins_at = parse->token_at;
    if (rules->user_count == AUTH_USERS_MAX) {
        return wrong(parse, "more than 1024 users and tokens");
    }
    rules->users = mem_realloc(rules->users, (rules->user_count + 1) *
                                                 sizeof(rules->users[0]));
    parse->user = &rules->users[rules->user_count++];
    *parse->user = (struct auth_user){.prefix_first = rules->prefix_count};
    memset(parse->has, 0, sizeof(parse->has));
    enum json_token token;
    while ((token = next(parse)) == JSON_NAME) {
        if (!take_member(parse, parse->json.text)) {
            return false;
        }
    }
    if (token == JSON_ERROR) {
        return false;
    }
    parse->token_at = begins_at;
    return check_user(parse);
}

static bool take_file(struct parse *parse)
{
    if (next(parse) != JSON_ARRAY_BEGIN) {
        return wrong(parse, "the file is an array of objects");
    }
    enum json_token token;
    while ((token = next(parse)) == JSON_OBJECT_BEGIN) {
        if (!take_user(parse)) {
            return false;
        }
    }
    if (token != JSON_ARRAY_END) {
        return wrong(parse, "the file is an array of objects");
    }
    return next(parse) == JSON_END;
}

/* Lines and columns count from 1; a column is a byte. */
static void describe(const struct parse *parse, struct bytes file,
                     char why[AUTH_WHY_BYTES])
{
    size_t line = 1;
    size_t column = 1;
    for (size_t i = 0; i < parse->token_at && i < file.size; i++) {
        bool ends = file.data[i] == '\n';
        line += ends;
        column = ends ? 1 : column + 1;
    }
    snprintf(why, AUTH_WHY_BYTES, "line %zu, column %zu: %s", line, column,
             parse->message);
}

enum err auth_rules_read(struct bytes file, struct auth_rules **out,
                         char why[AUTH_WHY_BYTES])
{
    if (file.size > AUTH_FILE_BYTES_MAX) {
        snprintf(why, AUTH_WHY_BYTES, "the file is over %d bytes",
                 AUTH_FILE_BYTES_MAX);
        return ERR_TOO_BIG;
    }
    struct auth_rules *rules = mem_zalloc(sizeof(*rules));
    rules->references = 1;
    rules->text = mem_alloc(file.size + 1);
    if (file.size > 0) {
        memcpy(rules->text, file.data, file.size);
    }
    sha256(file, rules->digest);
    struct parse parse = {.rules = rules};
    json_init(&parse.json, rules->text, file.size);
    if (!take_file(&parse)) {
        describe(&parse, file, why);
        auth_rules_release(rules);
        return ERR_INVALID;
    }
    if (!parse.names_ready) {
        rules->perms_of_all |= bit(AUTH_READY);
    }
    rules->everybody =
        auth_rules_find(rules, AUTH_USER_EVERYBODY, bytes_of_string("*"));
    *out = rules;
    return ERR_OK;
}
