/* Explanations, health and metrics. */
#include "check.h"

/* Frees the text. */
static int contains(sidestep_text *text, const char *what) {
    int found = strstr(sidestep_text_get(text), what) != NULL;
    if (!found) {
        fprintf(stderr, "%s\n", sidestep_text_get(text));
    }
    CHECK(sidestep_text_free(text) == SIDESTEP_OK);
    CHECK(sidestep_text_get(text) == NULL);
    return found;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    sidestep_mesh *mesh = join(arguments);
    sidestep_text *text = NULL;
    int fd = -1;
    char byte;

    WORKS(sidestep_explain(mesh, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, &text, &error));
    CHECK(contains(text, "outbound_.3002_._.forecast.weather.svc.cluster.local"));
    WORKS(sidestep_explain(mesh, FORECAST, 3002, SIDESTEP_FLAG_EXPLAIN_JSON | SIDESTEP_FLAG_EXPLAIN_PROBE, &text, &error));
    CHECK(contains(text, "\"transport\":\"mutual_tls\""));
    /* A step that fails is part of the explanation. */
    WORKS(sidestep_explain(mesh, FORECAST, 80, 0, &text, &error));
    CHECK(contains(text, "80"));
    FAILS(SIDESTEP_E_INVALID_TARGET, sidestep_explain(mesh, "a b", 80, 0, &text, &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_explain(mesh, FORECAST, 80, SIDESTEP_FLAG_TCP_PAIR, &text, &error));

    WORKS(sidestep_health(mesh, &text, &error));
    CHECK(contains(text, "\"identity\":\"spiffe://cluster.local/ns/vms/sa/edge-app\""));
    WORKS(sidestep_health(mesh, &text, &error));
    CHECK(contains(text, "\"ok\":true"));

    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fd, &error));
    send_all(fd, "x\n");
    CHECK(read(fd, &byte, 1) == 1);
    WORKS(sidestep_metrics(mesh, &text, &error));
    CHECK(contains(text, "istio_tcp_connections_opened_total{"));
    WORKS(sidestep_metrics(mesh, &text, &error));
    CHECK(contains(text, "istio_agent_xds_proxy_responses"));
    WORKS(sidestep_health(mesh, &text, &error));
    CHECK(contains(text, "\"connections\":1"));
    CHECK(close(fd) == 0);

    /* Each mesh has its own metrics. */
    sidestep_mesh *another = join(arguments);
    WORKS(sidestep_metrics(another, &text, &error));
    CHECK(strstr(sidestep_text_get(text), "istio_tcp_connections_opened_total{") == NULL);
    CHECK(sidestep_text_free(text) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(another) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return 0;
}
