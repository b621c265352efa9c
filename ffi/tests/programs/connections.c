/* Connections as descriptors: data, information, and all ways in which a connection ends. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "check.h"

static int connected(sidestep_mesh *mesh, const char *host, uint16_t port, uint32_t flags) {
    int fd = -1;
    WORKS(sidestep_connect(mesh, host, port, flags, TIMEOUT, &fd, &error));
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    return fd;
}

static void http(sidestep_mesh *mesh, uint32_t flags) {
    static char answer[1 << 16];
    int fd = connected(mesh, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1 | flags);
    send_all(fd, "GET / HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n");
    receive_all(fd, answer, sizeof answer);
    CHECK(strncmp(answer, "HTTP/1.1 200", 12) == 0);
    /* The identity that the workload has seen. */
    CHECK(strstr(answer, "spiffe://cluster.local/ns/vms/sa/edge-app") != NULL);
    CHECK(close(fd) == 0);
}

static void a_large_body(sidestep_mesh *mesh) {
    static char answer[9 << 20];
    int fd = connected(mesh, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1);
    send_all(fd, "GET /bytes/8388608 HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n");
    size_t length = receive_all(fd, answer, sizeof answer);
    CHECK(length > 8388608);
    CHECK(close(fd) == 0);
}

/* Shutting down one direction leaves the other open. */
static void half_close(sidestep_mesh *mesh, uint32_t flags) {
    char answer[256];
    int fd = connected(mesh, LEDGER, 5432, flags);
    send_all(fd, "a line\n");
    CHECK(shutdown(fd, SHUT_WR) == 0);
    receive_all(fd, answer, sizeof answer);
    CHECK(strstr(answer, "a line\n") != NULL);
    CHECK(close(fd) == 0);
}

static void info(sidestep_mesh *mesh) {
    sidestep_info *info = NULL;
    int fd = connected(mesh, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1), copy = dup(fd), pipes[2];
    WORKS(sidestep_connection_info(mesh, copy, &info, &error));
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_PEER), "spiffe://cluster.local/ns/weather/sa/forecast") == 0);
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_SERVICE), "forecast.weather.svc.cluster.local") == 0);
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_CLUSTER), "outbound|3002||forecast.weather.svc.cluster.local") == 0);
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_SNI), "outbound_.3002_._.forecast.weather.svc.cluster.local") == 0);
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_TRANSPORT), "mutual_tls") == 0);
    /* The pods are in another network than this VM, so the connection goes through a gateway. */
    CHECK(sidestep_info_get(info, SIDESTEP_INFO_GATEWAY) != NULL);
    CHECK(sidestep_info_get(info, SIDESTEP_INFO_ENDPOINT) != NULL);
    CHECK(sidestep_info_get(info, 0) == NULL && sidestep_info_get(info, 10) == NULL && sidestep_info_get(info, -1) == NULL);
    CHECK(close(fd) == 0 && close(copy) == 0);
    /* The information stays valid after the connection has ended. */
    CHECK(sidestep_info_get(info, SIDESTEP_INFO_ADDRESS) != NULL);
    CHECK(sidestep_info_free(info) == SIDESTEP_OK);
    CHECK(sidestep_info_free(info) == SIDESTEP_E_BAD_HANDLE);

    /* Descriptors that are closed, or not a connection of the mesh. */
    FAILS(SIDESTEP_E_NOT_A_CONNECTION, sidestep_connection_info(mesh, fd, &info, &error));
    FAILS(SIDESTEP_E_NOT_A_CONNECTION, sidestep_connection_info(mesh, -1, &info, &error));
    FAILS(SIDESTEP_E_NOT_A_CONNECTION, sidestep_connection_info(mesh, 1 << 30, &info, &error));
    CHECK(pipe(pipes) == 0);
    FAILS(SIDESTEP_E_NOT_A_CONNECTION, sidestep_connection_info(mesh, pipes[0], &info, &error));
    close(pipes[0]);
    close(pipes[1]);
}

static void tcp_pair(sidestep_mesh *mesh) {
    int fd = connected(mesh, LEDGER, 5432, SIDESTEP_FLAG_TCP_PAIR), on = 0;
    socklen_t length = sizeof on;
    CHECK(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length) == 0 && on);
    CHECK(close(fd) == 0);
}

static void failures(sidestep_mesh *mesh) {
    int fd = 0;
    FAILS(SIDESTEP_E_UNKNOWN_PORT, sidestep_connect(mesh, FORECAST, 80, 0, TIMEOUT, &fd, &error));
    CHECK(fd == -1);
    FAILS(SIDESTEP_E_UNKNOWN_HOST, sidestep_connect(mesh, "nobody.example.com", 80, 0, TIMEOUT, &fd, &error));
    FAILS(SIDESTEP_E_TIMEOUT, sidestep_connect(mesh, FORECAST, 3002, 0, 0, &fd, &error));
    FAILS(SIDESTEP_E_DIAL, sidestep_connect(mesh, "127.0.0.1", 1, 0, TIMEOUT, &fd, &error));
}

/* A program that closes a descriptor without reading the answer: the connection ends. */
static void closed_without_reading(sidestep_mesh *mesh) {
    for (int round = 0; round < 20; round++) {
        int fd = connected(mesh, LEDGER, 5432, 0);
        send_all(fd, "a line whose answer is not read\n");
        CHECK(close(fd) == 0);
    }
}

/* Both ends of a connection to a listener of this program, outside the mesh. */
struct ends {
    int ours, peers;
};

static struct ends with_own_peer(sidestep_mesh *mesh, uint32_t flags) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    struct ends ends;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&name, sizeof name) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
    ends.ours = connected(mesh, "127.0.0.1", ntohs(name.sin_port), flags);
    ends.peers = accept(listener, NULL, NULL);
    CHECK(ends.peers >= 0 && close(listener) == 0);
    return ends;
}

/* A program that shuts down its direction and then closes: the connection ends, although the peer has not closed. */
static void closed_after_half_close(sidestep_mesh *mesh, uint32_t flags) {
    char received[64];
    struct ends ends = with_own_peer(mesh, flags);
    send_all(ends.ours, "the only line\n");
    CHECK(shutdown(ends.ours, SHUT_WR) == 0);
    receive_all(ends.peers, received, sizeof received);
    CHECK(strcmp(received, "the only line\n") == 0);
    /* The other direction is still open. */
    send_all(ends.peers, "an answer\n");
    CHECK(read(ends.ours, received, sizeof received) == 10);
    CHECK(close(ends.ours) == 0);
    wait_for_connections(mesh, 0);
    CHECK(close(ends.peers) == 0);
}

/* A program that closes directly after writing: the data arrives, and the connection ends. */
static void closed_after_writing(sidestep_mesh *mesh, uint32_t flags) {
    static char received[1 << 20];
    struct ends ends = with_own_peer(mesh, flags);
    for (int line = 0; line < 1000; line++) {
        send_all(ends.ours, "one of many lines that follow each other\n");
    }
    CHECK(close(ends.ours) == 0);
    CHECK(receive_all(ends.peers, received, sizeof received) == 41 * 1000);
    wait_for_connections(mesh, 0);
    CHECK(close(ends.peers) == 0);
}

/* A program that closes before it has read all data: the connection ends. */
static void closed_with_unread_data(sidestep_mesh *mesh, uint32_t flags) {
    struct ends ends = with_own_peer(mesh, flags);
    struct pollfd readable = {.fd = ends.ours, .events = POLLIN};
    send_all(ends.peers, "unread data\n");
    CHECK(poll(&readable, 1, TIMEOUT) == 1);
    CHECK(close(ends.ours) == 0);
    wait_for_connections(mesh, 0);
    CHECK(close(ends.peers) == 0);
}

static void reset(int fd) {
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0 && close(fd) == 0);
}

/* A peer that resets while the program writes: the write fails, and reading sees the end. */
static void reset_while_writing(sidestep_mesh *mesh, uint32_t flags) {
    static const char block[1 << 14];
    struct ends ends = with_own_peer(mesh, flags);
    char byte;
    ssize_t sent = 1;
    CHECK(send(ends.ours, block, sizeof block, MSG_NOSIGNAL) > 0);
    CHECK(read(ends.peers, &byte, 1) == 1);
    reset(ends.peers);
    while (sent > 0) {
        sent = send(ends.ours, block, sizeof block, MSG_NOSIGNAL);
    }
    CHECK(errno == EPIPE || errno == ECONNRESET);
    CHECK(read(ends.ours, &byte, 1) <= 0);
    CHECK(close(ends.ours) == 0);
    wait_for_connections(mesh, 0);
}

/* A peer that resets an idle connection: a TCP socket reports a reset, and a Unix socket the end of the stream. */
static void reset_while_idle(sidestep_mesh *mesh, uint32_t flags) {
    struct ends ends = with_own_peer(mesh, flags);
    char byte;
    reset(ends.peers);
    ssize_t got = read(ends.ours, &byte, 1);
    CHECK(flags == SIDESTEP_FLAG_TCP_PAIR ? got == -1 && errno == ECONNRESET : got == 0);
    wait_for_connections(mesh, 0);
    CHECK(close(ends.ours) == 0);
}

#define MANY (10 * ROUNDS)

static void many_closed_together(sidestep_mesh *mesh, uint32_t flags) {
    int fds[MANY];
    for (int index = 0; index < MANY; index++) {
        fds[index] = connected(mesh, LEDGER, 5432, flags);
    }
    for (int index = 0; index < MANY; index++) {
        CHECK(close(fds[index]) == 0);
    }
    wait_for_connections(mesh, 0);
}

static volatile sig_atomic_t signals;

static void count_signal(int signal) {
    (void)signal;
    signals = signals + 1;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    CHECK(signal(SIGPIPE, count_signal) != SIG_ERR);
    sidestep_mesh *mesh = join_noting_ends(arguments);
    http(mesh, 0);
    http(mesh, SIDESTEP_FLAG_TCP_PAIR);
    a_large_body(mesh);
    half_close(mesh, 0);
    half_close(mesh, SIDESTEP_FLAG_TCP_PAIR);
    info(mesh);
    tcp_pair(mesh);
    failures(mesh);
    closed_without_reading(mesh);
    wait_for_connections(mesh, 0);
    for (uint32_t flags = 0; flags <= SIDESTEP_FLAG_TCP_PAIR; flags += SIDESTEP_FLAG_TCP_PAIR) {
        closed_after_half_close(mesh, flags);
        closed_after_writing(mesh, flags);
        closed_with_unread_data(mesh, flags);
        reset_while_writing(mesh, flags);
        reset_while_idle(mesh, flags);
        many_closed_together(mesh, flags);
    }

    int open = connected(mesh, LEDGER, 5432, 0), fd = -1;
    FAILS(SIDESTEP_E_TIMEOUT, sidestep_shutdown(mesh, 100, &error));
    FAILS(SIDESTEP_E_CLOSED, sidestep_connect(mesh, FORECAST, 3002, 0, TIMEOUT, &fd, &error));
    CHECK(close(open) == 0);
    WORKS(sidestep_shutdown(mesh, TIMEOUT, &error));

    /* Freeing a mesh ends its connections. */
    sidestep_mesh *another = join(arguments);
    open = connected(another, LEDGER, 5432, 0);
    CHECK(sidestep_mesh_free(another) == SIDESTEP_OK);
    char byte;
    CHECK(read(open, &byte, 1) == 0);
    CHECK(close(open) == 0);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(signals == 0);
    return 0;
}
