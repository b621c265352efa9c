/* A process that has closed its standard descriptors. */
#include <fcntl.h>
#include <limits.h>
#include <sys/wait.h>

#include "check.h"

/* Checks that the standard descriptors are not the library's, and that printing harms no connection. */
static void only_null(void) {
    for (int fd = 0; fd <= 2; fd++) {
        char path[32], target[PATH_MAX];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        CHECK(length > 0);
        target[length] = 0;
        CHECK(strcmp(target, "/dev/null") == 0);
        CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    }
    CHECK(write(1, "printed\n", 8) == 8 && write(2, "printed\n", 8) == 8);
}

static void use(char **arguments) {
    sidestep_mesh *mesh = NULL;
    sidestep_queue *queue = NULL;
    sidestep_bridge *bridge = NULL;
    int fd = -1;
    char byte;
    /* The first call of the process opens a descriptor, and fails. */
    FAILS(SIDESTEP_E_CONFIG, sidestep_join_vm_files("/nonexistent", &mesh, &error));
    only_null();
    mesh = join(arguments);
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error));
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fd, &error));
    CHECK(fd > 2);
    only_null();
    send_all(fd, "x\n");
    CHECK(read(fd, &byte, 1) == 1);
    CHECK(close(fd) == 0);
    CHECK(sidestep_bridge_free(bridge) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);

    /* A program may put its own files in their place. */
    int own = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    CHECK(own > 2 && dup2(own, 0) == 0 && close(own) == 0);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(read(0, &byte, 1) == 1);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    /* In a child, so that the parent can report the failure of a check. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(close(0) == 0 && close(1) == 0 && close(2) == 0);
        use(arguments);
        exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}
