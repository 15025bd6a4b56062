/* api.c -- opening, stopping and closing the API. */
#include "api/api.h"

#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/metrics_internal.h"
#include "api/restore_internal.h"
#include "api/routes_internal.h"
#include "base/list.h"
#include "http/http.h"
#include "reactor/reactor.h"

static void close_listeners(struct api *api)
{
    for (size_t i = 0; i < ARRAY_COUNT(api->listeners); i++) {
        listener_close(api->listeners[i]);
        api->listeners[i] = NULL;
    }
}

static enum err open_listeners(struct api *api, char *why, size_t why_size)
{
    const struct api_options *options = &api->options;
    enum err err = ERR_OK;
    if (options->host) {
        err = listener_open(options->reactor, options->host, options->port,
                            api_on_accept, api, &api->listeners[0], why,
                            why_size);
    }
    if (!err && options->unix_path) {
        err = listener_open_unix(options->reactor, options->unix_path,
                                 options->unix_mode, api_on_accept, api,
                                 &api->listeners[1], why, why_size);
    }
    if (!err) {
        const struct listener *tcp = api->listeners[0];
        const struct listener *local = api->listeners[1];
        snprintf(api->listening, sizeof(api->listening), "%s%s%s",
                 tcp ? listener_text(tcp) : "", tcp && local ? "," : "",
                 local ? listener_text(local) : "");
    }
    return err;
}

enum err api_open(const struct api_options *options, struct api **out,
                  char *why, size_t why_size)
{
    struct api *api = mem_zalloc(sizeof(*api));
    api->options = *options;
    if (api->options.budget_bytes == 0) {
        api->options.budget_bytes = 128 << 20;
    }
    memcpy(api->gate.secret, options->secret, sizeof(api->gate.secret));
    api_conns_init(api);
    api_proxied_init(api, options->trust_proxy);
    api_metrics_init(&api->metrics);
    for (size_t i = 0; i < ARRAY_COUNT(api->scans.by_stage); i++) {
        list_init(&api->scans.by_stage[i]);
    }
    list_init(&api->reads.waiting);
    api_watches_init(api);
    api_keepalives_init(api);
    enum err err = open_listeners(api, why, why_size);
    if (err) {
        close_listeners(api);
        api_proxied_free(api);
        api_conns_free(api);
        mem_free(api);
        return err;
    }
    *out = api;
    return ERR_OK;
}

const char *api_listening(const struct api *api)
{
    return api->listening;
}

void api_set_node(struct api *api, struct node *node)
{
    api->node = node;
    api_watches_attach(api);
}

void api_stop(struct api *api)
{
    api->stopping = true;
    close_listeners(api);
    api_proxied_close_waiting(api);
    api_watches_end(api);
    api_polls_end(api);
    for (struct list *at = api->conns.all.next; at != &api->conns.all;) {
        struct conn *conn = container_of(at, struct conn, link);
        at = at->next;
        if (!conn->busy && !conn->closing &&
            !http_in_request(&conn->input.reader) &&
            stream_input_bytes(conn->stream) == 0) {
            conn->closing = true;
            stream_close_after_flush(conn->stream);
        }
    }
}

bool api_stopped(const struct api *api)
{
    for (struct list *at = api->conns.all.next; at != &api->conns.all;
         at = at->next) {
        const struct conn *conn = container_of(at, struct conn, link);
        if (conn->busy || stream_output_bytes(conn->stream) > 0) {
            return false;
        }
    }
    return true;
}

void api_close(struct api *api)
{
    if (!api) {
        return;
    }
    close_listeners(api);
    api_proxied_free(api);
    api_conns_free(api);
    api_exports_free(api);
    api_restore_free(api);
    api_watches_free(api);
    api_keepalives_free(api);
    api_gate_free(api);
    timer_cancel(api->options.reactor, &api->scans.timer);
    timer_cancel(api->options.reactor, &api->reads.timer);
    buf_free(&api->output.common);
    buf_free(&api->body);
    buf_free(&api->output.indented);
    buf_free(&api->message);
    buf_free(&api->headers);
    buf_free(&api->command);
    for (size_t i = 0; i < ARRAY_COUNT(api->lists); i++) {
        buf_free(&api->lists[i]);
    }
    mem_free(api);
}
