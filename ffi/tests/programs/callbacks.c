/* A log callback that calls back. */
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
    /* What blocks is refused, what does not works. */
    struct addrinfo *list = NULL;
    sidestep_text *text = NULL;
    int fd = -1;
    FAILS(SIDESTEP_WOULD_DEADLOCK, sidestep_wait_ready(mesh, 0, &error));
    FAILS(SIDESTEP_WOULD_DEADLOCK, sidestep_connect(mesh, FORECAST, 3002, 0, -1, &fd, &error));
    FAILS(SIDESTEP_WOULD_DEADLOCK, sidestep_shutdown(mesh, 0, &error));
    atomic_fetch_add(&log->refused, 1);
    WORKS(sidestep_health(mesh, &text, &error));
    CHECK(sidestep_text_free(text) == SIDESTEP_OK);
    if (sidestep_getaddrinfo(mesh, FORECAST, "3002", NULL, &list, NULL) == 0) {
        sidestep_freeaddrinfo(list);
        atomic_fetch_add(&log->asked, 1);
    }
}

struct last {
    _Atomic(sidestep_mesh *) mesh;
    int freed[2];
};

/* Frees the mesh that it is called by. */
static void free_it(void *user_data, int32_t level, const char *line) {
    struct last *last = user_data;
    (void)level;
    (void)line;
    sidestep_mesh *mesh = atomic_exchange(&last->mesh, NULL);
    if (mesh != NULL) {
        CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
        CHECK(sidestep_mesh_free(mesh) == SIDESTEP_BAD_HANDLE);
        CHECK(write(last->freed[1], "", 1) == 1);
    }
}

static int with_own_peer(sidestep_mesh *mesh, int *fd) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&name, sizeof name) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
    WORKS(sidestep_connect(mesh, "127.0.0.1", ntohs(name.sin_port), 0, PATIENCE, fd, &error));
    int peer = accept(listener, NULL, NULL);
    CHECK(peer >= 0 && close(listener) == 0);
    return peer;
}

/* While a call is under way, which ends then, and while there is none. */
static void freed_by_its_own_log(char **arguments, int under_way) {
    static struct last last;
    sidestep_settings *settings = settings_of(arguments);
    sidestep_mesh *mesh = NULL;
    int fd = -1;
    char byte;
    CHECK(pipe(last.freed) == 0);
    WORKS(sidestep_settings_log(settings, SIDESTEP_LOG_TRACE, free_it, &last, &error));
    WORKS(sidestep_join(settings, &mesh, &error));
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
    WORKS(sidestep_wait_ready(mesh, PATIENCE, &error));
    if (under_way) {
        atomic_store(&last.mesh, mesh);
        sidestep_connect(mesh, FORECAST, 3002, 0, PATIENCE, &fd, NULL);
    } else {
        /* The log has something to say of a connection that breaks. */
        int peer = with_own_peer(mesh, &fd);
        struct linger none = {.l_onoff = 1, .l_linger = 0};
        atomic_store(&last.mesh, mesh);
        CHECK(setsockopt(peer, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0 && close(peer) == 0);
    }
    struct pollfd waited = {.fd = last.freed[0], .events = POLLIN};
    CHECK(poll(&waited, 1, PATIENCE) == 1 && read(last.freed[0], &byte, 1) == 1);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_BAD_HANDLE);
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
    WORKS(sidestep_wait_ready(mesh, PATIENCE, &error));
    atomic_store(&log.mesh, mesh);
    for (int round = 0; round < 5; round++) {
        WORKS(sidestep_connect(mesh, FORECAST, 3002, SIDESTEP_HTTP1, PATIENCE, &fd, &error));
        CHECK(close(fd) == 0);
    }
    atomic_store(&log.mesh, NULL);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    /* After it there are no more. */
    int lines = atomic_load(&log.lines);
    CHECK(lines > 0 && atomic_load(&log.refused) > 0 && atomic_load(&log.asked) > 0);
    CHECK(atomic_load(&log.signals_blocked) > 0);
    CHECK(atomic_load(&log.lines) == lines);
    for (int round = 0; round < ROUNDS; round++) {
        freed_by_its_own_log(arguments, round % 2);
    }
    return 0;
}
