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

/* A peer of our own, outside of the mesh: one end of a connection is the library's, the other is here. */
struct ends {
    int ours, peers;
};

static struct ends with_own_peer(sidestep_mesh *mesh, uint32_t how) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    struct ends ends;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&name, sizeof name) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
    ends.ours = connected(mesh, "127.0.0.1", ntohs(name.sin_port), how);
    ends.peers = accept(listener, NULL, NULL);
    CHECK(ends.peers >= 0 && close(listener) == 0);
    return ends;
}

/* A program that ends its direction and then closes: the connection ends, although the peer has not said a word. */
static void closed_after_half_close(sidestep_mesh *mesh, uint32_t how) {
    char said[64];
    struct ends ends = with_own_peer(mesh, how);
    send_all(ends.ours, "all that there is\n");
    CHECK(shutdown(ends.ours, SHUT_WR) == 0);
    receive_all(ends.peers, said, sizeof said);
    CHECK(strcmp(said, "all that there is\n") == 0);
    /* The other direction is open, for as long as somebody listens. */
    send_all(ends.peers, "an answer\n");
    CHECK(read(ends.ours, said, sizeof said) == 10);
    CHECK(close(ends.ours) == 0);
    wait_for_connections(mesh, 0);
    CHECK(close(ends.peers) == 0);
}

/* A program that only closes: what it has written arrives, and the connection ends. */
static void closed_at_once(sidestep_mesh *mesh, uint32_t how) {
    static char said[1 << 20];
    struct ends ends = with_own_peer(mesh, how);
    for (int line = 0; line < 1000; line++) {
        send_all(ends.ours, "a line of the many that are on their way\n");
    }
    CHECK(close(ends.ours) == 0);
    CHECK(receive_all(ends.peers, said, sizeof said) == 41 * 1000);
    wait_for_connections(mesh, 0);
    CHECK(close(ends.peers) == 0);
}

/* What a program has not read when it closes is nobody's: the connection ends. */
static void closed_with_unread_data(sidestep_mesh *mesh, uint32_t how) {
    struct ends ends = with_own_peer(mesh, how);
    struct pollfd readable = {.fd = ends.ours, .events = POLLIN};
    send_all(ends.peers, "nobody reads this\n");
    CHECK(poll(&readable, 1, PATIENCE) == 1);
    CHECK(close(ends.ours) == 0);
    wait_for_connections(mesh, 0);
    CHECK(close(ends.peers) == 0);
}

static void reset(int fd) {
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0 && close(fd) == 0);
}

/* A peer that resets while the program writes and reads nothing: writing fails, and the end is seen. */
static void reset_while_writing(sidestep_mesh *mesh, uint32_t how) {
    static const char block[1 << 14];
    struct ends ends = with_own_peer(mesh, how);
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

/* And one that resets an idle connection: a TCP socket tells it from an end. */
static void reset_while_idle(sidestep_mesh *mesh, uint32_t how) {
    struct ends ends = with_own_peer(mesh, how);
    char byte;
    reset(ends.peers);
    ssize_t got = read(ends.ours, &byte, 1);
    CHECK(how == SIDESTEP_TCP_PAIR ? got == -1 && errno == ECONNRESET : got == 0);
    wait_for_connections(mesh, 0);
    CHECK(close(ends.ours) == 0);
}

#define MANY (10 * ROUNDS)

static void many_closed_at_once(sidestep_mesh *mesh, uint32_t how) {
    int fds[MANY];
    for (int index = 0; index < MANY; index++) {
        fds[index] = connected(mesh, LEDGER, 5432, how);
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
    http(mesh, SIDESTEP_TCP_PAIR);
    a_large_body(mesh);
    half_close(mesh, 0);
    half_close(mesh, SIDESTEP_TCP_PAIR);
    info(mesh);
    tcp_pair(mesh);
    refusals(mesh);
    closed_without_a_word(mesh);
    wait_for_connections(mesh, 0);
    for (uint32_t how = 0; how <= SIDESTEP_TCP_PAIR; how += SIDESTEP_TCP_PAIR) {
        closed_after_half_close(mesh, how);
        closed_at_once(mesh, how);
        closed_with_unread_data(mesh, how);
        reset_while_writing(mesh, how);
        reset_while_idle(mesh, how);
        many_closed_at_once(mesh, how);
    }

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
    CHECK(signals == 0);
    return 0;
}
