/* authfile.c -- files of users, headers of clients, and logging in. */
#include "support/authfile.h"

#include "base/text.h"
#include "crypto/crypto.h"

static const uint8_t key[AUTH_KEY_BYTES] = {1, 2, 3};

static void add_password(struct buf *out, const char *password, uint32_t rounds)
{
    static const uint8_t salt[16] = "some salt, fixed";
    uint8_t hash[SHA256_BYTES];
    struct pbkdf2 pbkdf2;
    pbkdf2_init(&pbkdf2, bytes_of_string(password),
                bytes_of(salt, sizeof(salt)), rounds);
    while (!pbkdf2_step(&pbkdf2, rounds)) {
    }
    pbkdf2_finish(&pbkdf2, hash);
    buf_printf(out, "\"pbkdf2-sha256:%u:", rounds);
    text_add_hex(out, salt, sizeof(salt));
    buf_add_string(out, ":");
    text_add_hex(out, hash, sizeof(hash));
    buf_add_string(out, "\"");
}

void add_user(struct buf *out, const char *name, const char *password,
              const char *perms)
{
    buf_printf(out, "%s{\"username\": \"%s\", ", out->size ? ",\n" : "", name);
    if (password) {
        buf_add_string(out, "\"password\": ");
        add_password(out, password, ROUNDS);
        buf_add_string(out, ", ");
    }
    buf_printf(out, "\"perms\": [%s]}", perms);
}

void add_token(struct buf *out, const char *token, const char *perms)
{
    uint8_t hash[SHA256_BYTES];
    sha256(bytes_of_string(token), hash);
    buf_printf(out, "%s{\"token\": \"sha256:", out->size ? ",\n" : "");
    text_add_hex(out, hash, sizeof(hash));
    buf_printf(out, "\", \"perms\": [%s]}", perms);
}

enum err set_rules(struct auth *auth, struct buf *users, char *why)
{
    struct buf file = {0};
    buf_add_string(&file, "[");
    buf_add_bytes(&file, buf_bytes(users));
    buf_add_string(&file, "]\n");
    enum err err = auth_set_rules(auth, buf_bytes(&file), why);
    buf_free(&file);
    buf_free(users);
    return err;
}

struct auth *open_auth(struct buf *users)
{
    char why[AUTH_WHY_BYTES] = "";
    struct auth *auth = auth_new(key, WAITING_MAX);
    must(set_rules(auth, users, why) == ERR_OK);
    return auth;
}

struct bytes basic(const char *user, const char *password)
{
    static struct buf out;
    struct buf text = {0};
    buf_printf(&text, "%s:%s", user, password);
    out.size = 0;
    buf_add_string(&out, "Basic ");
    text_add_base64(&out, buf_bytes(&text));
    buf_free(&text);
    return buf_bytes(&out);
}

struct bytes bearer(const char *token)
{
    static struct buf out;
    out.size = 0;
    buf_printf(&out, "Bearer %s", token);
    return buf_bytes(&out);
}

static void on_done(void *arg)
{
    struct client *client = arg;
    client->done++;
}

enum auth_verdict ask(struct auth *auth, struct client *client,
                      struct bytes header, uint64_t network, uint64_t now_ms)
{
    *client = (struct client){0};
    return auth_identify(auth, header, network, now_ms, &client->identity,
                         &client->check, on_done, client);
}

enum auth_verdict end(struct client *client)
{
    enum auth_verdict verdict =
        auth_check_end(client->check, &client->identity);
    client->check = NULL;
    return verdict;
}

enum auth_verdict log_in(struct auth *auth, struct client *client,
                         struct bytes header, uint64_t network, uint64_t now_ms)
{
    enum auth_verdict verdict = ask(auth, client, header, network, now_ms);
    if (verdict == AUTH_PENDING) {
        while (client->done == 0 && auth_run(auth, now_ms, SLICE) == now_ms) {
        }
        verdict = end(client);
    }
    return verdict;
}

bool may(struct client *client, enum auth_perm perm, const char *with)
{
    return auth_may(&client->identity, perm, bytes_of_string(with));
}

bool may_below(struct client *client, enum auth_perm perm, const char *with)
{
    return auth_may_below(&client->identity, perm, bytes_of_string(with));
}
