/* auth.c -- credentials: remembered, checked, delayed.
 *
 * Remembered are digests of credentials: SHA-256 over a block that holds a
 * random key, then the scheme and what follows it, so that all spellings of the
 * same credentials have the same. Digests never leave this room, so this is all
 * the keying that is needed; the state behind the first block is kept, and one
 * more block is hashed for a request.
 *
 * A check waits in the list of its address. One check at a time is run, the
 * addresses in turn. Others that wait with the same credentials end with it. */
#include "auth/auth_internal.h"
#include "base/list.h"
#include "base/text.h"

enum {
    /* Remembered credentials are in sets of WAYS, of which the one that was not
     * used for longest makes room. There is a set for every USERS_PER_SET
     * users, so that those of all users are almost sure to find a place. */
    WAYS = 8,
    USERS_PER_SET = 2,
    FAILURES_MAX = 8,
};

_Static_assert(AUTH_DELAY_MIN_MS << (FAILURES_MAX - 1) >= AUTH_DELAY_MAX_MS,
               "the longest delay can be reached");

struct remembered {
    uint8_t digest[SHA256_BYTES];
    uint32_t user_index;
    uint64_t used; /* Value of the counter of uses; 0: empty. */
};

struct address {
    uint64_t network;
    uint32_t failures;
    uint64_t failed_ms;  /* Since then failures are forgiven. */
    uint64_t ready_ms;   /* The next check may begin. */
    struct list waiting; /* struct auth_check, by link. */
    uint32_t waiting_count;
};

struct auth_check {
    struct auth *auth;
    struct list link;        /* In address->waiting until it is done. */
    struct address *address; /* NULL: it is done. */
    uint64_t since_ms;
    enum auth_verdict verdict;
    struct auth_identity identity; /* Of an accepted one. */
    auth_cb *cb; /* NULL once it is running: its client has gone. */
    void *arg;
    uint8_t digest[SHA256_BYTES];
    bool token;
    uint32_t name_size;   /* Of the user. */
    uint32_t secret_size; /* Of the password or the token, behind the name. */
    uint8_t text[AUTH_SECRET_BYTES_MAX];
};

struct auth {
    struct sha256 keyed; /* The key, no header yet. */
    struct auth_rules *rules;
    struct remembered *remembered; /* set_count times WAYS. */
    uint32_t set_count;
    uint64_t uses;
    struct address addresses[AUTH_ADDRESSES];
    uint32_t address_count; /* Entries in use. */
    uint32_t turn;          /* The address that is looked at first. */
    uint32_t waiting_count; /* All checks that are not done. */
    uint32_t waiting_max;
    struct join_tokens join_tokens;
    struct auth_check *running;
    const struct auth_user *user; /* Of `running`; NULL: there is none such. */
    struct pbkdf2 pbkdf2;
    uint64_t failures;
};

struct auth *auth_new(const uint8_t key[AUTH_KEY_BYTES], uint32_t waiting_max)
{
    uint8_t block[SHA256_BLOCK_BYTES] = {0};
    struct auth *auth = mem_zalloc(sizeof(*auth));
    /* When checks wait in all addresses, each has one (make_room()). */
    auth->waiting_max = (uint32_t)min_size(waiting_max, AUTH_ADDRESSES);
    memcpy(block, key, AUTH_KEY_BYTES);
    sha256_init(&auth->keyed);
    sha256_add(&auth->keyed, bytes_of(block, sizeof(block)));
    crypto_zero(block, sizeof(block));
    return auth;
}

bool auth_is_current(const struct auth *auth,
                     const struct auth_identity *identity)
{
    return identity->rules == auth->rules;
}

uint32_t auth_user_count(const struct auth *auth)
{
    return auth->rules ? auth->rules->user_count : 0;
}

uint64_t auth_failures(const struct auth *auth)
{
    return auth->failures;
}

struct join_tokens *auth_join_tokens(struct auth *auth)
{
    return &auth->join_tokens;
}

const struct sha256 *auth_keyed(const struct auth *auth)
{
    return &auth->keyed;
}

/* ---- identities ---- */

static void become(struct auth *auth, struct auth_match match,
                   struct auth_identity *identity)
{
    auth_release(identity);
    if (auth->rules) {
        auth->rules->references++;
    }
    *identity = (struct auth_identity){.rules = auth->rules,
                                       .user = match.user,
                                       .join_token = match.join_token};
}

static struct auth_match match_user(const struct auth_user *user)
{
    return (struct auth_match){.user = user};
}

void auth_release(struct auth_identity *identity)
{
    auth_rules_release(identity->rules);
    *identity = (struct auth_identity){0};
}

void auth_identify_uid(struct auth *auth, uint32_t uid,
                       struct auth_identity *identity)
{
    struct buf name = {0};
    buf_printf(&name, "uid:%u", (unsigned)uid);
    become(auth,
           match_user(auth->rules ? auth_rules_find(auth->rules, AUTH_USER_UID,
                                                    buf_bytes(&name))
                                  : NULL),
           identity);
    buf_free(&name);
}

/* ---- remembered credentials ---- */

/* The first byte behind the key: what is hashed. */
enum kind { PASSWORD = 'p', TOKEN = 't' };

static void digest_of(const struct auth *auth, enum kind kind,
                      struct bytes text, uint8_t digest[SHA256_BYTES])
{
    struct sha256 hash = auth->keyed;
    uint8_t first = (uint8_t)kind;
    sha256_add(&hash, bytes_of(&first, 1));
    sha256_add(&hash, text);
    sha256_finish(&hash, digest);
}

static struct remembered *set_of(struct auth *auth,
                                 const uint8_t digest[SHA256_BYTES])
{
    return auth->remembered +
           (size_t)(load_u32(digest) % auth->set_count) * WAYS;
}

static struct remembered *recall(struct auth *auth,
                                 const uint8_t digest[SHA256_BYTES])
{
    if (auth->set_count == 0) {
        return NULL; /* There are no rules yet. */
    }
    struct remembered *set = set_of(auth, digest);
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].used > 0 &&
            crypto_equal(set[i].digest, digest, SHA256_BYTES)) {
            set[i].used = ++auth->uses;
            return &set[i];
        }
    }
    return NULL;
}

static void forget_all(struct auth *auth)
{
    size_t count = (size_t)auth->set_count * WAYS;
    if (count > 0) {
        crypto_zero(auth->remembered, count * sizeof(auth->remembered[0]));
    }
    mem_free(auth->remembered);
    auth->remembered = NULL;
    auth->set_count = 0;
}

static void make_sets(struct auth *auth)
{
    auth->set_count = auth->rules->user_count / USERS_PER_SET + 1;
    auth->remembered = mem_zalloc((size_t)auth->set_count * WAYS *
                                  sizeof(auth->remembered[0]));
}

/* A token for one join is looked up each time: it expires. */
static void remember(struct auth *auth, const uint8_t digest[SHA256_BYTES],
                     struct auth_match match)
{
    if (match.join_token > 0) {
        return;
    }
    struct remembered *set = set_of(auth, digest);
    struct remembered *oldest = set;
    for (size_t i = 1; i < WAYS; i++) {
        oldest = set[i].used < oldest->used ? &set[i] : oldest;
    }
    *oldest = (struct remembered){
        .user_index = (uint32_t)(match.user - auth->rules->users),
        .used = ++auth->uses,
    };
    memcpy(oldest->digest, digest, SHA256_BYTES);
}

/* ---- addresses ---- */

/* Failures that are long enough ago are forgiven. */
static void forgive(struct address *address, uint64_t now_ms)
{
    while (address->failures > 0 &&
           now_ms >= address->failed_ms + AUTH_FORGIVE_MS) {
        address->failures--;
        address->failed_ms += AUTH_FORGIVE_MS;
    }
}

/* The entry of the address; a new one takes the place of the one without
 * checks whose delay ended first. NULL: checks wait in all of them. */
static struct address *find_address(struct auth *auth, uint64_t network,
                                    uint64_t now_ms)
{
    struct address *victim = NULL;
    for (uint32_t i = 0; i < auth->address_count; i++) {
        struct address *address = &auth->addresses[i];
        if (address->network == network) {
            forgive(address, now_ms);
            return address;
        }
        if (address->waiting_count == 0 &&
            (!victim || address->ready_ms < victim->ready_ms)) {
            victim = address;
        }
    }
    if (auth->address_count < AUTH_ADDRESSES) {
        victim = &auth->addresses[auth->address_count++];
    }
    if (victim) {
        *victim = (struct address){.network = network};
        list_init(&victim->waiting);
    }
    return victim;
}

static void count_failure(struct auth *auth, struct address *address,
                          uint64_t now_ms)
{
    auth->failures++;
    forgive(address, now_ms);
    if (address->failures == 0) {
        address->failed_ms = now_ms;
    }
    if (address->failures < FAILURES_MAX) {
        address->failures++;
    }
    address->ready_ms =
        now_ms + min_u64(AUTH_DELAY_MAX_MS, (uint64_t)AUTH_DELAY_MIN_MS
                                                << (address->failures - 1));
}

/* ---- checks ---- */

/* It waits no longer, and is not being run. */
static void leave(struct auth_check *check)
{
    struct auth *auth = check->auth;
    if (!check->address) {
        return;
    }
    list_remove(&check->link);
    check->address->waiting_count--;
    auth->waiting_count--;
    check->address = NULL;
    if (auth->running == check) {
        auth->running = NULL;
        crypto_zero(&auth->pbkdf2, sizeof(auth->pbkdf2));
    }
}

static void drop(struct auth_check *check)
{
    crypto_zero(check, sizeof(*check));
    mem_free(check);
}

/* `match` is the sender, if it is accepted. */
static void finish(struct auth_check *check, enum auth_verdict verdict,
                   struct auth_match match)
{
    leave(check);
    if (!check->cb) {
        drop(check);
        return;
    }
    check->verdict = verdict;
    if (verdict == AUTH_ACCEPTED) {
        become(check->auth, match, &check->identity);
    }
    crypto_zero(check->text, sizeof(check->text));
    check->cb(check->arg);
}

static void refuse_crowd(struct auth_check *check)
{
    finish(check, AUTH_CROWDED, (struct auth_match){0});
}

/* The credentials of `check` are those of `match`. All checks of the same end.
 */
static void conclude(struct auth *auth, struct auth_check *check,
                     struct auth_match match, uint64_t now_ms)
{
    enum auth_verdict verdict = match.user ? AUTH_ACCEPTED : AUTH_REJECTED;
    uint8_t digest[SHA256_BYTES];
    memcpy(digest, check->digest, sizeof(digest));
    if (match.user) {
        remember(auth, digest, match);
    } else {
        count_failure(auth, check->address, now_ms);
    }
    finish(check, verdict, match);
    for (uint32_t i = 0; i < auth->address_count; i++) {
        struct list *waiting = &auth->addresses[i].waiting;
        for (struct list *at = waiting->next; at != waiting;) {
            struct auth_check *other =
                container_of(at, struct auth_check, link);
            at = at->next;
            if (crypto_equal(other->digest, digest, sizeof(digest))) {
                finish(other, verdict, match);
            }
        }
    }
}

static struct bytes name_of(const struct auth_check *check)
{
    return bytes_of(check->text, check->name_size);
}

static struct bytes secret_of(const struct auth_check *check)
{
    return bytes_of(check->text + check->name_size, check->secret_size);
}

static struct auth_match find_token(const struct auth *auth,
                                    const struct auth_check *check,
                                    uint64_t now_ms)
{
    uint8_t hash[SHA256_BYTES];
    if (!auth->rules) {
        return (struct auth_match){0};
    }
    sha256(secret_of(check), hash);
    struct auth_match match =
        match_user(auth_rules_find_token(auth->rules, hash));
    struct auth_match join = join_token_find(&auth->join_tokens, hash, now_ms);
    return match.user ? match : join;
}

/* The rounds for a user who does not exist: those of one who does, always of
 * the same one for a name, on every node that has this file. Otherwise the time
 * would show who exists. Who does not know the file cannot foresee which. */
static uint32_t rounds_of_stranger(const struct auth_rules *rules,
                                   struct bytes name)
{
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    uint32_t rounds = 1;
    if (!rules) {
        return rounds;
    }
    sha256_init(&hash);
    sha256_add(&hash, bytes_of(rules->digest, sizeof(rules->digest)));
    sha256_add(&hash, name);
    sha256_finish(&hash, digest);
    for (uint32_t i = 0; i < rules->user_count; i++) {
        uint32_t place = (load_u32(digest) % AUTH_USERS_MAX + i);
        const struct auth_user *user = &rules->users[place % rules->user_count];
        if (user->kind == AUTH_USER_PASSWORD) {
            rounds = user->rounds;
            break;
        }
    }
    return rounds;
}

/* Begin with the password. That of a user who does not exist takes as long. */
static void start(struct auth *auth, struct auth_check *check)
{
    static const uint8_t no_salt[AUTH_SALT_BYTES_MIN];
    const struct auth_rules *rules = auth->rules;
    auth->running = check;
    auth->user =
        rules ? auth_rules_find(rules, AUTH_USER_PASSWORD, name_of(check))
              : NULL;
    struct bytes salt = auth->user
                            ? bytes_of(auth->user->salt, auth->user->salt_size)
                            : bytes_of(no_salt, sizeof(no_salt));
    uint32_t rounds = auth->user ? auth->user->rounds
                                 : rounds_of_stranger(rules, name_of(check));
    pbkdf2_init(&auth->pbkdf2, secret_of(check), salt, rounds);
}

/* Whoever has waited for too long may come back; the others wait less. The
 * first of a list has waited for longest. */
static void give_up(struct auth *auth, uint64_t now_ms)
{
    for (uint32_t i = 0; i < auth->address_count; i++) {
        struct list *waiting = &auth->addresses[i].waiting;
        for (struct list *at = waiting->next; at != waiting;) {
            struct auth_check *check =
                container_of(at, struct auth_check, link);
            at = at->next;
            if (now_ms < check->since_ms + AUTH_WAIT_MAX_MS) {
                break;
            }
            if (check != auth->running) {
                refuse_crowd(check);
            }
        }
    }
}

/* The next check whose address is not delayed. NULL: there is none before
 * *at_ms. */
static struct auth_check *next_check(struct auth *auth, uint64_t now_ms,
                                     uint64_t *at_ms)
{
    *at_ms = UINT64_MAX;
    for (uint32_t i = 0; i < auth->address_count; i++) {
        uint32_t place = (auth->turn + i) % auth->address_count;
        struct address *address = &auth->addresses[place];
        if (list_empty(&address->waiting)) {
            continue;
        }
        if (address->ready_ms <= now_ms) {
            auth->turn = (place + 1) % auth->address_count;
            return container_of(address->waiting.next, struct auth_check, link);
        }
        const struct auth_check *first =
            container_of(address->waiting.next, struct auth_check, link);
        *at_ms = min_u64(*at_ms, min_u64(address->ready_ms,
                                         first->since_ms + AUTH_WAIT_MAX_MS));
    }
    return NULL;
}

uint64_t auth_run(struct auth *auth, uint64_t now_ms, uint32_t rounds)
{
    uint64_t at_ms;
    give_up(auth, now_ms);
    if (!auth->running) {
        struct auth_check *check = next_check(auth, now_ms, &at_ms);
        if (!check) {
            return at_ms;
        }
        if (check->token) {
            conclude(auth, check, find_token(auth, check, now_ms), now_ms);
            return auth->waiting_count > 0 ? now_ms : UINT64_MAX;
        }
        start(auth, check);
    }
    if (!pbkdf2_step(&auth->pbkdf2, rounds)) {
        return now_ms;
    }
    uint8_t key[SHA256_BYTES];
    pbkdf2_finish(&auth->pbkdf2, key);
    bool good = auth->user && crypto_equal(key, auth->user->hash, sizeof(key));
    crypto_zero(key, sizeof(key));
    conclude(auth, auth->running, match_user(good ? auth->user : NULL), now_ms);
    return auth->waiting_count > 0 ? now_ms : UINT64_MAX;
}

/* ---- a request ---- */

static bool take_scheme(struct bytes *header, const char *scheme)
{
    size_t size = strlen(scheme);
    if (header->size <= size || header->data[size] != ' ') {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if ((header->data[i] | 0x20) != scheme[i]) {
            return false;
        }
    }
    *header = bytes_of(header->data + size, header->size - size);
    while (header->size > 0 && header->data[0] == ' ') {
        *header = bytes_of(header->data + 1, header->size - 1);
    }
    return true;
}

/* User and password, or the token. False: malformed. */
static bool parse(struct auth_check *check, enum kind kind, struct bytes text)
{
    if (kind == TOKEN) {
        check->token = true;
        check->secret_size = (uint32_t)min_size(text.size, UINT32_MAX);
        if (text.size == 0 || text.size > sizeof(check->text)) {
            return false;
        }
        memcpy(check->text, text.data, text.size);
        return true;
    }
    size_t size;
    if (text.size / 4 * 3 > sizeof(check->text) ||
        !text_base64(text, check->text, &size)) {
        return false;
    }
    /* For HMAC a password and the same with zeros behind it are one (RFC 2104
     * 2); and there is no control character in it (RFC 7617 2). */
    const uint8_t *colon = memchr(check->text, ':', size);
    if (!colon || memchr(check->text, '\0', size)) {
        return false;
    }
    check->name_size = (uint32_t)(colon - check->text);
    check->secret_size = (uint32_t)(size - check->name_size - 1);
    memmove(check->text + check->name_size, colon + 1, check->secret_size);
    return true;
}

/* It goes to the end of the list of its address. */
static void enlist(struct auth *auth, struct auth_check *check,
                   struct address *address, uint64_t now_ms)
{
    check->since_ms = now_ms;
    check->auth = auth;
    check->verdict = AUTH_PENDING;
    check->address = address;
    list_add(&address->waiting, &check->link);
    address->waiting_count++;
    auth->waiting_count++;
}

/* All places are taken: the address that has the most of them, if those are
 * more than `count`, loses its newest check, but never the one being run. Among
 * equals nobody can foresee which, since digests are keyed. False: none has
 * more. */
static bool make_room(struct auth *auth, uint32_t count,
                      const uint8_t digest[SHA256_BYTES])
{
    struct auth_check *victim = NULL;
    uint32_t most = count;
    for (uint32_t i = 0; i < auth->address_count; i++) {
        uint32_t place =
            (load_u32(digest) % AUTH_ADDRESSES + i) % auth->address_count;
        const struct address *address = &auth->addresses[place];
        if (address->waiting_count <= most) {
            continue;
        }
        struct auth_check *newest =
            container_of(address->waiting.prev, struct auth_check, link);
        if (newest != auth->running) {
            victim = newest;
            most = address->waiting_count;
        }
    }
    if (victim) {
        refuse_crowd(victim);
    }
    return victim != NULL;
}

/* A place for one more check. False: its address has half of them, or others
 * have no more than it has. */
static bool has_place(struct auth *auth, const struct address *address,
                      const uint8_t digest[SHA256_BYTES])
{
    return 2 * address->waiting_count < auth->waiting_max &&
           (auth->waiting_count < auth->waiting_max ||
            make_room(auth, address->waiting_count, digest));
}

/* A token is compared at once, unless its address is delayed. */
static enum auth_verdict try_token(struct auth *auth,
                                   const struct auth_check *check,
                                   struct address *address, uint64_t now_ms,
                                   struct auth_identity *identity)
{
    struct auth_match match = find_token(auth, check, now_ms);
    if (!match.user) {
        count_failure(auth, address, now_ms);
        return AUTH_REJECTED;
    }
    remember(auth, check->digest, match);
    become(auth, match, identity);
    return AUTH_ACCEPTED;
}

/* `check` has the credentials, and is the caller's unless PENDING. */
static enum auth_verdict begin(struct auth *auth, struct auth_check *check,
                               uint64_t network, uint64_t now_ms,
                               struct auth_identity *identity)
{
    struct address *address = find_address(auth, network, now_ms);
    if (!address && make_room(auth, 0, check->digest)) {
        address = find_address(auth, network, now_ms);
    }
    if (!address) {
        return AUTH_CROWDED;
    }
    if (check->token && address->waiting_count == 0 &&
        address->ready_ms <= now_ms) {
        return try_token(auth, check, address, now_ms, identity);
    }
    if (!check->cb || !has_place(auth, address, check->digest)) {
        return AUTH_CROWDED;
    }
    enlist(auth, check, address, now_ms);
    return AUTH_PENDING;
}

enum auth_verdict auth_identify(struct auth *auth, struct bytes authorization,
                                uint64_t network, uint64_t now_ms,
                                struct auth_identity *identity,
                                struct auth_check **out, auth_cb *cb, void *arg)
{
    uint8_t digest[SHA256_BYTES];
    struct bytes text = authorization;
    if (authorization.size == 0) {
        become(auth, match_user(NULL), identity);
        return AUTH_ACCEPTED;
    }
    bool is_token = take_scheme(&text, "bearer");
    if (!is_token && !take_scheme(&text, "basic")) {
        auth->failures++;
        return AUTH_REJECTED;
    }
    enum kind kind = is_token ? TOKEN : PASSWORD;
    digest_of(auth, kind, text, digest);
    struct remembered *found = recall(auth, digest);
    if (found) {
        become(auth, match_user(&auth->rules->users[found->user_index]),
               identity);
        return AUTH_ACCEPTED;
    }
    struct auth_check *check = mem_zalloc(sizeof(*check));
    enum auth_verdict verdict = AUTH_REJECTED;
    list_init(&check->link);
    memcpy(check->digest, digest, sizeof(digest));
    check->cb = cb;
    check->arg = arg;
    if (parse(check, kind, text)) {
        verdict = begin(auth, check, network, now_ms, identity);
    } else {
        auth->failures++;
    }
    if (verdict == AUTH_PENDING) {
        *out = check;
    } else {
        drop(check);
    }
    return verdict;
}

enum auth_verdict auth_check_end(struct auth_check *check,
                                 struct auth_identity *identity)
{
    enum auth_verdict verdict = check->verdict;
    auth_release(identity);
    *identity = check->identity;
    if (check == check->auth->running) {
        check->cb = NULL; /* It is finished without the client. */
        return verdict;
    }
    leave(check);
    drop(check);
    return verdict;
}

void auth_free(struct auth *auth)
{
    if (auth) {
        if (auth->running && !auth->running->cb) {
            refuse_crowd(auth->running);
        }
        must(auth->waiting_count == 0 && !auth->running);
        auth_rules_release(auth->rules);
        forget_all(auth);
        crypto_zero(auth, sizeof(*auth));
        mem_free(auth);
    }
}

/* ---- the rules change ---- */

enum err auth_set_rules(struct auth *auth, struct bytes file,
                        char why[AUTH_WHY_BYTES])
{
    struct auth_rules *rules = NULL;
    enum err err = auth_rules_read(file, &rules, why);
    if (err) {
        return err;
    }
    auth_rules_release(auth->rules);
    auth->rules = rules;
    forget_all(auth);
    make_sets(auth);
    crypto_zero(auth->join_tokens.list, sizeof(auth->join_tokens.list));
    if (auth->running) {
        start(auth, auth->running);
    }
    return ERR_OK;
}
