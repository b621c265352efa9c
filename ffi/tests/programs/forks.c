/* Processes that call fork before and after they join a mesh. */
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"

static void wait_for(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void use(char **arguments) {
    sidestep_mesh *mesh = join(arguments);
    int fd = -1;
    WORKS(sidestep_connect(mesh, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, TIMEOUT, &fd, &error));
    CHECK(close(fd) == 0);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
}

/* Not with the address sanitizer: its allocator may stay locked in a child, unlike glibc's. */
#ifndef __SANITIZE_ADDRESS__
static void *join_and_leave(void *arguments) {
    for (int round = 0; round < ROUNDS; round++) {
        use(arguments);
    }
    return NULL;
}

/* Forks while another thread creates and frees handles, and may hold locks. */
static void during_a_join(char **arguments) {
    pthread_t other;
    CHECK(pthread_create(&other, NULL, join_and_leave, arguments) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            use(arguments);
            _exit(0);
        }
        wait_for(child);
    }
    CHECK(pthread_join(other, NULL) == 0);
}
#endif

int main(int count, char **arguments) {
    CHECK(count == 4);
    pid_t before = fork();
    CHECK(before >= 0);
    if (before == 0) {
        use(arguments);
        _exit(0);
    }
    wait_for(before);

    sidestep_mesh *mesh = join(arguments);
    sidestep_queue *queue = NULL;
    int fd = -1;
    char answer[256];
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fd, &error));
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    pid_t after = fork();
    CHECK(after >= 0);
    if (after == 0) {
        struct addrinfo *list = NULL;
        int none = -1;
        /* The parent's handles are invalid, before and after the child creates its own handles. */
        for (int round = 0; round < 2; round++) {
            CHECK(sidestep_wait_ready(mesh, TIMEOUT, NULL) == SIDESTEP_E_FORKED);
            CHECK(sidestep_mesh_free(mesh) == SIDESTEP_E_FORKED);
            CHECK(sidestep_queue_free(queue) == SIDESTEP_E_FORKED);
            CHECK(sidestep_queue_fd(queue) == -1);
            CHECK(sidestep_getaddrinfo(mesh, FORECAST, NULL, NULL, &list, NULL) == EAI_FAIL);
            FAILS(SIDESTEP_E_FORKED, sidestep_connect(mesh, FORECAST, 3002, 0, TIMEOUT, &none, &error));
            use(arguments);
        }
        /* In a child of the child, the handles of both ancestors are invalid. */
        sidestep_mesh *own = join(arguments);
        pid_t grandchild = fork();
        CHECK(grandchild >= 0);
        if (grandchild == 0) {
            FAILS(SIDESTEP_E_FORKED, sidestep_wait_ready(own, 0, &error));
            FAILS(SIDESTEP_E_FORKED, sidestep_wait_ready(mesh, 0, &error));
            use(arguments);
            _exit(0);
        }
        wait_for(grandchild);
        CHECK(sidestep_mesh_free(own) == SIDESTEP_OK);
        /* The descriptor works while the parent runs. */
        send_all(fd, "from the child\n");
        _exit(0);
    }
    wait_for(after);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    receive_all(fd, answer, sizeof answer);
    CHECK(strstr(answer, "from the child\n") != NULL);
    CHECK(close(fd) == 0);
    use(arguments);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
#ifndef __SANITIZE_ADDRESS__
    during_a_join(arguments);
#endif
    return 0;
}
