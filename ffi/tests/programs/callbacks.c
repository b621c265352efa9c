/* A log callback that calls back. */
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
    return 0;
}
