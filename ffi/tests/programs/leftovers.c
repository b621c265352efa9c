/* What is freed leaves nothing in the process. */
#include <dirent.h>

#include "check.h"

static int things(const char *folder) {
    DIR *dir = opendir(folder);
    int count = 0;
    CHECK(dir != NULL);
    while (readdir(dir)) {
        count++;
    }
    CHECK(closedir(dir) == 0);
    return count;
}

static int threads(void) {
    return things("/proc/self/task");
}

static void use(char **arguments, int idle) {
    sidestep_mesh *mesh = join(arguments);
    sidestep_queue *queue = NULL;
    sidestep_bridge *bridge = NULL;
    sidestep_stream *stream = NULL;
    sidestep_dns *dns = NULL;
    struct addrinfo *list = NULL;
    int fd = -1;
    char byte;
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, PATIENCE, &fd, &error));
    send_all(fd, "x\n");
    CHECK(read(fd, &byte, 1) == 1);
    WORKS(sidestep_stream_connect(mesh, LEDGER, 5432, 0, PATIENCE, &stream, &error));
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error));
    CHECK(sidestep_getaddrinfo(mesh, FORECAST, "80", NULL, &list, NULL) == 0);
    sidestep_freeaddrinfo(list);
    /* One thread works; one more may have looked something up. */
    CHECK(threads() <= idle + 2);
    WORKS(sidestep_dns_start(mesh, "127.0.0.1:0", bridge, &dns, &error));
    CHECK(threads() <= idle + 3);
    CHECK(close(fd) == 0);
    CHECK(sidestep_dns_free(dns) == SIDESTEP_OK);
    CHECK(sidestep_bridge_free(bridge) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    CHECK(sidestep_stream_close(stream) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    int idle = threads(), descriptors = things("/proc/self/fd");
    for (int round = 0; round < 5; round++) {
        use(arguments, idle);
        CHECK(threads() == idle);
        CHECK(things("/proc/self/fd") == descriptors);
    }
    return 0;
}
