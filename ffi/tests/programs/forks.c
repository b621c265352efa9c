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

static sidestep_mesh *join_with_state(char **arguments) {
    char state[4096];
    sidestep_settings *settings = settings_of(arguments);
    CHECK(snprintf(state, sizeof state, "%s/state", arguments[3]) < (int)sizeof state);
    WORKS(sidestep_settings_set(settings, "state-dir", state, &error));
    return join_with(settings);
}

static int holds_the_state_directory(sidestep_mesh *mesh) {
    sidestep_text *text = NULL;
    WORKS(sidestep_health(mesh, &text, &error));
    int holds = strstr(sidestep_text_get(text), "in use by another process") == NULL;
    CHECK(sidestep_text_free(text) == SIDESTEP_OK);
    return holds;
}

/* A child of a process that is gone, or that has left the mesh, does not keep the state directory locked. */
static void state_directory(char **arguments) {
    int names[2];
    pid_t child = 0;
    sidestep_mesh *mesh = join_with_state(arguments);
    CHECK(holds_the_state_directory(mesh));
    sidestep_mesh *second = join_with_state(arguments);
    CHECK(!holds_the_state_directory(second));
    CHECK(sidestep_mesh_free(second) == SIDESTEP_OK);
    CHECK(pipe(names) == 0);
    pid_t living = fork();
    CHECK(living >= 0);
    if (living == 0) {
        /* The parent still holds it. */
        sidestep_mesh *own = join_with_state(arguments);
        CHECK(!holds_the_state_directory(own));
        CHECK(sidestep_mesh_free(own) == SIDESTEP_OK);
        CHECK(write(names[1], &child, sizeof child) == sizeof child);
        pause();
        _exit(0);
    }
    CHECK(read(names[0], &child, sizeof child) == sizeof child);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    mesh = join_with_state(arguments);
    CHECK(holds_the_state_directory(mesh));
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);

    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        mesh = join_with_state(arguments);
        CHECK(holds_the_state_directory(mesh));
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pause();
            _exit(0);
        }
        CHECK(write(names[1], &child, sizeof child) == sizeof child);
        /* The parent does not free the mesh. */
        raise(SIGKILL);
    }
    CHECK(waitpid(parent, NULL, 0) == parent);
    CHECK(read(names[0], &child, sizeof child) == sizeof child);
    mesh = join_with_state(arguments);
    CHECK(holds_the_state_directory(mesh));
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(kill(child, SIGKILL) == 0 && kill(living, SIGKILL) == 0);
    CHECK(waitpid(living, NULL, 0) == living);
    CHECK(close(names[0]) == 0 && close(names[1]) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    state_directory(arguments);
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
