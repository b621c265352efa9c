/* A log callback that calls functions of the library. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

struct log {
    _Atomic(sidestep_mesh *) mesh;
    atomic_int lines, refused, asked, signals_blocked;
};

static void take(void *user_data, int32_t level, const char *line) {
    struct log *log = user_data;
    sidestep_mesh *mesh = atomic_load(&log->mesh);
    sigset_t blocked;
    CHECK(level >= SIDESTEP_LOG_ERROR && level <= SIDESTEP_LOG_TRACE);
    CHECK(strlen(line) > 0 && strchr(line, '\n') == NULL);
    atomic_fetch_add(&log->lines, 1);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0);
    if (sigismember(&blocked, SIGPIPE) && sigismember(&blocked, SIGTERM)) {
        atomic_fetch_add(&log->signals_blocked, 1);
    }
    if (mesh == NULL) {
        return;
    }
    /* Functions that block fail; the others succeed. */
    struct addrinfo *list = NULL;
    sidestep_text *text = NULL;
    int fd = -1;
    FAILS(SIDESTEP_E_WOULD_DEADLOCK, sidestep_wait_ready(mesh, 0, &error));
    FAILS(SIDESTEP_E_WOULD_DEADLOCK, sidestep_connect(mesh, FORECAST, 3002, 0, -1, &fd, &error));
    FAILS(SIDESTEP_E_WOULD_DEADLOCK, sidestep_shutdown(mesh, 0, &error));
    atomic_fetch_add(&log->refused, 1);
    WORKS(sidestep_health(mesh, &text, &error));
    CHECK(sidestep_text_free(text) == SIDESTEP_OK);
    if (sidestep_getaddrinfo(mesh, FORECAST, "3002", NULL, &list, NULL) == 0) {
        sidestep_freeaddrinfo(list);
        atomic_fetch_add(&log->asked, 1);
    }
}

/* The mesh to free, and a pipe that receives a byte when it has been freed. */
struct last {
    _Atomic(sidestep_mesh *) mesh;
    int freed[2];
};

/* Frees the mesh that calls it. */
static void free_it(void *user_data, int32_t level, const char *line) {
    struct last *last = user_data;
    (void)level;
    (void)line;
    sidestep_mesh *mesh = atomic_exchange(&last->mesh, NULL);
    if (mesh != NULL) {
        CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
        CHECK(sidestep_mesh_free(mesh) == SIDESTEP_E_BAD_HANDLE);
        CHECK(write(last->freed[1], "", 1) == 1);
    }
}

/* Connects to a listener of this program. Returns the listener's end of the connection. */
static int with_own_peer(sidestep_mesh *mesh, int *fd) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&name, sizeof name) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
    WORKS(sidestep_connect(mesh, "127.0.0.1", ntohs(name.sin_port), 0, TIMEOUT, fd, &error));
    int peer = accept(listener, NULL, NULL);
    CHECK(peer >= 0 && close(listener) == 0);
    return peer;
}

/* A log callback frees its mesh: during a call, which fails then, or while there is no call. */
static void freed_by_its_log_callback(char **arguments, int during_call) {
    static struct last last;
    sidestep_settings *settings = settings_of(arguments);
    sidestep_mesh *mesh = NULL;
    int fd = -1;
    char byte;
    CHECK(pipe(last.freed) == 0);
    WORKS(sidestep_settings_log(settings, SIDESTEP_LOG_TRACE, free_it, &last, &error));
    WORKS(sidestep_join(settings, &mesh, &error));
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
    WORKS(sidestep_wait_ready(mesh, TIMEOUT, &error));
    if (during_call) {
        atomic_store(&last.mesh, mesh);
        sidestep_status status = sidestep_connect(mesh, FORECAST, 3002, 0, TIMEOUT, &fd, NULL);
        CHECK((status == SIDESTEP_OK) == (fd >= 0));
    } else {
        /* A connection that breaks is logged. */
        int peer = with_own_peer(mesh, &fd);
        struct linger none = {.l_onoff = 1, .l_linger = 0};
        atomic_store(&last.mesh, mesh);
        CHECK(setsockopt(peer, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0 && close(peer) == 0);
    }
    struct pollfd waited = {.fd = last.freed[0], .events = POLLIN};
    CHECK(poll(&waited, 1, TIMEOUT) == 1 && read(last.freed[0], &byte, 1) == 1);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_E_BAD_HANDLE);
    CHECK(fd < 0 || close(fd) == 0);
    CHECK(close(last.freed[0]) == 0 && close(last.freed[1]) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    struct log log = {0};
    sidestep_settings *settings = settings_of(arguments);
    sidestep_mesh *mesh = NULL;
    int fd = -1;
    WORKS(sidestep_settings_log(settings, SIDESTEP_LOG_DEBUG, take, &log, &error));
    WORKS(sidestep_join(settings, &mesh, &error));
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
    WORKS(sidestep_wait_ready(mesh, TIMEOUT, &error));
    atomic_store(&log.mesh, mesh);
    for (int round = 0; round < 5; round++) {
        WORKS(sidestep_connect(mesh, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, TIMEOUT, &fd, &error));
        CHECK(close(fd) == 0);
    }
    atomic_store(&log.mesh, NULL);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    /* The library does not call the callback after the mesh is freed. */
    int lines = atomic_load(&log.lines);
    CHECK(lines > 0 && atomic_load(&log.refused) > 0 && atomic_load(&log.asked) > 0);
    CHECK(atomic_load(&log.signals_blocked) > 0);
    CHECK(atomic_load(&log.lines) == lines);
    for (int round = 0; round < ROUNDS; round++) {
        freed_by_its_log_callback(arguments, round % 2);
    }
    return 0;
}
