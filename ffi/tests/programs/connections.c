/* Connections as descriptors: plaintext here, mTLS in the mesh, and the end of a socket. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "check.h"

static int connected(sidestep_mesh *mesh, const char *host, uint16_t port, uint32_t how) {
    int fd = -1;
    WORKS(sidestep_connect(mesh, host, port, how, PATIENCE, &fd, &error));
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    return fd;
}

static void http(sidestep_mesh *mesh, uint32_t how) {
    static char answer[1 << 16];
    int fd = connected(mesh, FORECAST, 3002, SIDESTEP_HTTP1 | how);
    send_all(fd, "GET / HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n");
    receive_all(fd, answer, sizeof answer);
    CHECK(strncmp(answer, "HTTP/1.1 200", 12) == 0);
    /* Who the workload has seen: us, with our identity. */
    CHECK(strstr(answer, "spiffe://cluster.local/ns/vms/sa/edge-app") != NULL);
    CHECK(close(fd) == 0);
}

static void a_large_body(sidestep_mesh *mesh) {
    static char answer[9 << 20];
    int fd = connected(mesh, FORECAST, 3002, SIDESTEP_HTTP1);
    send_all(fd, "GET /bytes/8388608 HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n");
    size_t length = receive_all(fd, answer, sizeof answer);
    CHECK(length > 8388608);
    CHECK(close(fd) == 0);
}

/* The end of one direction leaves the other open. */
static void half_close(sidestep_mesh *mesh, uint32_t how) {
    char answer[256];
    int fd = connected(mesh, LEDGER, 5432, how);
    send_all(fd, "a line\n");
    CHECK(shutdown(fd, SHUT_WR) == 0);
    receive_all(fd, answer, sizeof answer);
    CHECK(strstr(answer, "a line\n") != NULL);
    CHECK(close(fd) == 0);
}

static void info(sidestep_mesh *mesh) {
    sidestep_info *info = NULL;
    int fd = connected(mesh, FORECAST, 3002, SIDESTEP_HTTP1), copy = dup(fd), pipes[2];
    WORKS(sidestep_connection_info(mesh, copy, &info, &error));
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_PEER), "spiffe://cluster.local/ns/weather/sa/forecast") == 0);
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_SERVICE), "forecast.weather.svc.cluster.local") == 0);
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_CLUSTER), "outbound|3002||forecast.weather.svc.cluster.local") == 0);
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_SNI), "outbound_.3002_._.forecast.weather.svc.cluster.local") == 0);
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_TRANSPORT), "mutual_tls") == 0);
    /* The pods are in other networks than this VM: a gateway leads there. */
    CHECK(sidestep_info_get(info, SIDESTEP_INFO_GATEWAY) != NULL);
    CHECK(sidestep_info_get(info, SIDESTEP_INFO_ENDPOINT) != NULL);
    CHECK(sidestep_info_get(info, 0) == NULL && sidestep_info_get(info, 10) == NULL && sidestep_info_get(info, -1) == NULL);
    CHECK(close(fd) == 0 && close(copy) == 0);
    /* It stays as it is; its text belongs to it. */
    CHECK(sidestep_info_get(info, SIDESTEP_INFO_ADDRESS) != NULL);
    CHECK(sidestep_info_free(info) == SIDESTEP_OK);
    CHECK(sidestep_info_free(info) == SIDESTEP_BAD_HANDLE);

    /* Descriptors that are closed, or nobody's connection. */
    FAILS(SIDESTEP_NOT_A_CONNECTION, sidestep_connection_info(mesh, fd, &info, &error));
    FAILS(SIDESTEP_NOT_A_CONNECTION, sidestep_connection_info(mesh, -1, &info, &error));
    FAILS(SIDESTEP_NOT_A_CONNECTION, sidestep_connection_info(mesh, 1 << 30, &info, &error));
    CHECK(pipe(pipes) == 0);
    FAILS(SIDESTEP_NOT_A_CONNECTION, sidestep_connection_info(mesh, pipes[0], &info, &error));
    close(pipes[0]);
    close(pipes[1]);
}

static void tcp_pair(sidestep_mesh *mesh) {
    int fd = connected(mesh, LEDGER, 5432, SIDESTEP_TCP_PAIR), on = 0;
    socklen_t length = sizeof on;
    CHECK(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length) == 0 && on);
    CHECK(close(fd) == 0);
}

static void refusals(sidestep_mesh *mesh) {
    int fd = 0;
    FAILS(SIDESTEP_UNKNOWN_PORT, sidestep_connect(mesh, FORECAST, 80, 0, PATIENCE, &fd, &error));
    CHECK(fd == -1);
    FAILS(SIDESTEP_UNKNOWN_HOST, sidestep_connect(mesh, "nobody.example.com", 80, 0, PATIENCE, &fd, &error));
    FAILS(SIDESTEP_TIMEOUT, sidestep_connect(mesh, FORECAST, 3002, 0, 0, &fd, &error));
    FAILS(SIDESTEP_DIAL, sidestep_connect(mesh, "127.0.0.1", 1, 0, PATIENCE, &fd, &error));
}

/* A program that closes without a word: the connection ends, and shutdown does not wait for it. */
static void closed_without_a_word(sidestep_mesh *mesh) {
    for (int round = 0; round < 20; round++) {
        int fd = connected(mesh, LEDGER, 5432, 0);
        send_all(fd, "a line that nobody reads the answer of\n");
        CHECK(close(fd) == 0);
    }
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    sidestep_mesh *mesh = join(arguments);
    http(mesh, 0);
    http(mesh, SIDESTEP_TCP_PAIR);
    a_large_body(mesh);
    half_close(mesh, 0);
    half_close(mesh, SIDESTEP_TCP_PAIR);
    info(mesh);
    tcp_pair(mesh);
    refusals(mesh);
    closed_without_a_word(mesh);

    int open = connected(mesh, LEDGER, 5432, 0), fd = -1;
    FAILS(SIDESTEP_TIMEOUT, sidestep_shutdown(mesh, 100, &error));
    FAILS(SIDESTEP_CLOSED, sidestep_connect(mesh, FORECAST, 3002, 0, PATIENCE, &fd, &error));
    CHECK(close(open) == 0);
    WORKS(sidestep_shutdown(mesh, PATIENCE, &error));

    /* The mesh's end is the end of what is open. */
    sidestep_mesh *another = join(arguments);
    open = connected(another, LEDGER, 5432, 0);
    CHECK(sidestep_mesh_free(another) == SIDESTEP_OK);
    char byte;
    CHECK(read(open, &byte, 1) == 0);
    CHECK(close(open) == 0);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return 0;
}
