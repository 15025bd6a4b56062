/* lease.c -- a lease that this process keeps alive. */
#include <stdio.h>

#include "client/lock_internal.h"
#include "sys/sys.h"

enum { RETRY_MS = 200 }; /* Between two attempts while no server answers. */

void lease_init(struct lease *lease, const struct options *options)
{
    *lease = (struct lease){.options = *options, .ttl_ms = options->ttl_ms};
    lease->options.timeout_ms = min_u64(options->timeout_ms, lease->ttl_ms / 4);
    lease->list = lease->options.addr;
    must(client_next_server(&lease->list, lease->addr));
}

static void next_server(struct lease *lease)
{
    if (!client_next_server(&lease->list, lease->addr)) {
        lease->list = lease->options.addr;
        must(client_next_server(&lease->list, lease->addr));
    }
}

static unsigned count_servers(const struct lease *lease)
{
    char addr[SERVER_BYTES];
    unsigned count = 0;
    for (const char *list = lease->options.addr;
         client_next_server(&list, addr);) {
        count++;
    }
    return count;
}

/* Time for a request: one must not last until the lease is endangered, or later
 * until it is over. It may take that time twice, for the connection and for the
 * answer. */
static uint64_t time_for_request(const struct lease *lease, uint64_t wanted_ms)
{
    uint64_t left_ms = lease_safe_ms(lease);
    left_ms = left_ms > 0 ? left_ms : lease_left_ms(lease);
    return lease->id[0] && !lease->gone && left_ms > 0
               ? max_u64(min_u64(wanted_ms, left_ms / 2), 1)
               : wanted_ms;
}

/* Ask lease->addr; the next one is asked after it when it did not answer. */
static int ask_one(struct lease *lease, struct request *request)
{
    char addr[SERVER_BYTES]; /* It is changed by a redirect. */
    char why[REQUEST_WHY_BYTES] = "";
    struct options options = lease->options;
    options.timeout_ms = time_for_request(lease, options.timeout_ms);
    request->answer_ms = time_for_request(
        lease, request->answer_ms ? request->answer_ms : options.timeout_ms);
    request->is_urgent = true;
    memcpy(addr, lease->addr, sizeof(addr));
    int code = request_ask(request, &options, addr, why);
    if (code) {
        (void)snprintf(lease->why, sizeof(lease->why), "%.100s: %.150s", addr,
                       why);
    }
    if (code == EXIT_AWAY || code == EXIT_UNKNOWN) {
        next_server(lease);
    }
    return code;
}

static void add_timeout(const struct lease *lease, struct request *request)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%llums",
                   (unsigned long long)lease->options.timeout_ms);
    request_add_query(request, "timeout", bytes_of_string(text));
}

int lease_ask(struct lease *lease, struct request *request)
{
    int code = EXIT_AWAY;
    add_timeout(lease, request);
    for (unsigned left = count_servers(lease);
         left > 0 && (code == EXIT_AWAY || code == EXIT_UNKNOWN) &&
         !client_is_interrupted();
         left--) {
        code = ask_one(lease, request);
    }
    return code;
}

/* A number would not be accepted: an id goes into paths as it is. */
static bool read_id(const struct request *request, char id[LEASE_ID_BYTES])
{
    struct json_reader reader;
    struct buf copy = {0};
    struct field field = {.name = "id"};
    buf_add_bytes(&copy, buf_bytes(&request->answer_body));
    json_init(&reader, copy.data, copy.size);
    bool read = copy.size > 0 && json_next(&reader) == JSON_OBJECT_BEGIN &&
                client_read_fields(&reader, &field, 1);
    buf_free(&copy);
    size_t size = strlen(field.text);
    if (!read || size == 0 || size >= LEASE_ID_BYTES ||
        strspn(field.text, "abcdefghijklmnopqrstuvwxyz0123456789-") != size) {
        return false;
    }
    memcpy(id, field.text, size + 1);
    return true;
}

int lease_create(struct lease *lease)
{
    struct request request;
    char ttl[32];
    request_init(&request, "POST", "/lease");
    (void)snprintf(ttl, sizeof(ttl), "%llums",
                   (unsigned long long)lease->ttl_ms);
    request_add_query(&request, "ttl", bytes_of_string(ttl));
    lease->gone = false;
    lease->retry_ms = 0;
    lease->sent_ms = sys_now_ms();
    int code = lease_ask(lease, &request);
    if (!code && !read_id(&request, lease->id)) {
        (void)snprintf(lease->why, sizeof(lease->why),
                       "%.100s: it does not create leases", lease->addr);
        code = EXIT_FAILED;
    }
    request_free(&request);
    return code;
}

static void init_lease_request(struct request *request, const char *method,
                               const struct lease *lease)
{
    request_init(request, method, "/lease/");
    buf_add_string(&request->target, lease->id);
    request->absent_is_no = true;
}

void lease_keep(struct lease *lease)
{
    struct request request;
    if (lease->gone || lease_due_ms(lease) > 0) {
        return;
    }
    uint64_t sent_ms = sys_now_ms();
    init_lease_request(&request, "PUT", lease);
    add_timeout(lease, &request);
    int code = ask_one(lease, &request);
    if (code == EXIT_DONE) {
        lease->sent_ms = sent_ms;
    } else if (code == EXIT_NO) {
        lease->gone = true;
    } else {
        lease->retry_ms = sys_now_ms() + RETRY_MS;
    }
    request_free(&request);
}

static uint64_t until(uint64_t then_ms)
{
    uint64_t now_ms = sys_now_ms();
    return then_ms > now_ms ? then_ms - now_ms : 0;
}

uint64_t lease_due_ms(const struct lease *lease)
{
    return until(max_u64(lease->sent_ms + lease->ttl_ms / 4, lease->retry_ms));
}

uint64_t lease_safe_ms(const struct lease *lease)
{
    return lease->gone
               ? 0
               : until(lease->sent_ms + lease->ttl_ms - lease->ttl_ms / 4);
}

uint64_t lease_left_ms(const struct lease *lease)
{
    return until(lease->sent_ms + lease->ttl_ms);
}

void lease_revoke(struct lease *lease)
{
    struct request request;
    if (!lease->id[0]) {
        return;
    }
    if (!lease->gone) {
        init_lease_request(&request, "DELETE", lease);
        (void)lease_ask(lease, &request);
        request_free(&request);
    }
    lease->id[0] = '\0';
}
