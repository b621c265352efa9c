/* A process that has no descriptor left: calls fail with a status, and succeed again when descriptors are closed. */
#include <fcntl.h>
#include <sys/resource.h>

#include "check.h"

static int filling[4096], filled;

/* Uses every descriptor that is left. */
static void take_all(void) {
    int fd;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        CHECK(filled < (int)(sizeof filling / sizeof *filling));
        filling[filled++] = fd;
    }
    CHECK(errno == EMFILE);
}

static void give_back(void) {
    while (filled > 0) {
        CHECK(close(filling[--filled]) == 0);
    }
}

/* Sends a line, and reads the first byte of the answer. */
static void echo(int fd) {
    char byte;
    send_all(fd, "x\n");
    CHECK(read(fd, &byte, 1) == 1);
}

static void without_descriptors(char **arguments, sidestep_mesh *mesh, sidestep_queue *queue, sidestep_bridge *bridge) {
    char address[SIDESTEP_ADDRESS_SIZE], path[4096];
    sidestep_settings *settings = settings_of(arguments);
    sidestep_mesh *another = NULL;
    sidestep_queue *queues = NULL;
    sidestep_bridge *bridges = NULL;
    sidestep_stream *stream = NULL;
    sidestep_dns *dns = NULL;
    sidestep_text *text = NULL;
    struct addrinfo *list = NULL;
    uint16_t port = 0;
    int fd = 7;
    snprintf(path, sizeof path, "%s/socket", arguments[3]);

    FAILS(SIDESTEP_E_SYSTEM, sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fd, &error));
    FAILS(SIDESTEP_E_SYSTEM, sidestep_connect(mesh, LEDGER, 5432, SIDESTEP_FLAG_TCP_PAIR, TIMEOUT, &fd, &error));
    CHECK(fd == -1);
    FAILS(SIDESTEP_E_SYSTEM, sidestep_stream_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &stream, &error));
    FAILS(SIDESTEP_E_SYSTEM, sidestep_queue_new(mesh, &queues, &error));
    FAILS(SIDESTEP_E_SYSTEM, sidestep_bridge_start(mesh, SIDESTEP_ACCESS_ANY, &bridges, &error));
    FAILS(SIDESTEP_E_SYSTEM, sidestep_bridge_listen_unix(bridge, path, LEDGER, 5432, 0, &error));
    FAILS(SIDESTEP_E_SYSTEM, sidestep_bridge_listen_local(bridge, LEDGER, 5432, 0, address, &port, &error));
    FAILS(SIDESTEP_E_SYSTEM, sidestep_dns_start(mesh, "127.0.0.1:0", NULL, &dns, &error));
    /* The VM files cannot be read. */
    FAILS(SIDESTEP_E_CONFIG, sidestep_join(settings, &another, &error));

    /* Calls that need no descriptor succeed. */
    CHECK(sidestep_getaddrinfo(mesh, FORECAST, "3002", NULL, &list, NULL) == 0);
    sidestep_freeaddrinfo(list);
    WORKS(sidestep_health(mesh, &text, &error));
    CHECK(sidestep_text_free(text) == SIDESTEP_OK);
    WORKS(sidestep_explain(mesh, FORECAST, 3002, 0, &text, &error));
    CHECK(sidestep_text_free(text) == SIDESTEP_OK);

    /* The resolution of a name outside the mesh needs a descriptor. */
    CHECK(sidestep_getaddrinfo(mesh, "intranet.example.com", NULL, NULL, &list, NULL) != 0 && list == NULL);

    sidestep_completion completion;
    WORKS(sidestep_queue_connect(queue, LEDGER, 5432, 0, TIMEOUT, NULL, NULL, &error));
    struct pollfd waited = {.fd = sidestep_queue_fd(queue), .events = POLLIN};
    CHECK(poll(&waited, 1, TIMEOUT) == 1);
    WORKS(sidestep_queue_next(queue, &completion, sizeof completion, &error));
    CHECK(completion.status == SIDESTEP_E_SYSTEM && completion.fd == -1);
    CHECK(sidestep_error_free(completion.error) == SIDESTEP_OK);
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 256;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);

    sidestep_mesh *mesh = join_noting_ends(arguments);
    sidestep_queue *queue = NULL;
    sidestep_bridge *bridge = NULL;
    int open = -1, fd = -1;
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error));
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &open, &error));
    for (int round = 0; round < 3; round++) {
        wait_for_connections(mesh, 1);
        take_all();
        without_descriptors(arguments, mesh, queue, bridge);
        echo(open);
        give_back();
        WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fd, &error));
        echo(fd);
        CHECK(close(fd) == 0);
    }
    CHECK(close(open) == 0);
    CHECK(sidestep_bridge_free(bridge) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return 0;
}
