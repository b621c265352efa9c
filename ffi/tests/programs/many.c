/* Thousands of connections simultaneously, up to the limit of descriptors. The first one above the limit fails with a status. */
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

#include "check.h"

/* The maximum number of connections. Each needs three descriptors. */
#ifndef MOST
#define MOST 10400
#endif

static double seconds(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* `statm` is opened early, because later no descriptor is left. */
static long resident_kilobytes(int statm) {
    char text[128] = "";
    long pages = 0;
    CHECK(pread(statm, text, sizeof text - 1, 0) > 0 && sscanf(text, "%*d %ld", &pages) == 1);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Raises the limit of descriptors, and returns it. */
static rlim_t raise_descriptor_limit(void) {
    struct rlimit limit, more = {.rlim_cur = MOST * 3 - 1000};
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    more.rlim_max = limit.rlim_max < more.rlim_cur ? more.rlim_cur : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &more) != 0) {
        /* The process of the mesh has the same limit, and needs four descriptors for each connection. */
        more = (struct rlimit){.rlim_cur = limit.rlim_max / 3, .rlim_max = limit.rlim_max};
        CHECK(setrlimit(RLIMIT_NOFILE, &more) == 0);
    }
    return more.rlim_cur;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    const rlim_t room = raise_descriptor_limit();
    const int statm = open("/proc/self/statm", O_RDONLY);
    static int fds[MOST];
    sidestep_mesh *mesh = join(arguments);
    double begin = seconds();
    long before = resident_kilobytes(statm);
    int opened = 0;
    sidestep_status status = SIDESTEP_OK;
    while (opened < MOST && status == SIDESTEP_OK) {
        status = sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fds[opened], NULL);
        opened += status == SIDESTEP_OK;
    }
    /* The limit of descriptors is reached. */
    CHECK(status == SIDESTEP_E_SYSTEM);
    CHECK(opened > (int)(room / 3) - 20);
    printf("%d connections with %ld descriptors: %.3f ms and %.1f KiB each\n", opened, (long)room,
           (seconds() - begin) * 1000 / opened, (double)(resident_kilobytes(statm) - before) / opened);
    for (int index = 0; index < opened; index++) {
        send_all(fds[index], "a line\n");
    }
    for (int index = 0; index < opened; index++) {
        char byte;
        CHECK(read(fds[index], &byte, 1) == 1);
        CHECK(close(fds[index]) == 0);
    }
    /* Descriptors are available again. */
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fds[0], &error));
    CHECK(close(fds[0]) == 0);
    WORKS(sidestep_shutdown(mesh, TIMEOUT, &error));
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(close(statm) == 0);
    return 0;
}
