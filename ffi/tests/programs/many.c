/* Thousands of connections at a time: as many as there is room for, and one more is a status. */
#include <sys/resource.h>
#include <time.h>

#include "check.h"

/* Ten thousand need thirty thousand descriptors. Sanitizers and the other tests of the machine want room too. */
#ifndef MOST
#define MOST 2000
#endif

static double seconds(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long resident_kilobytes(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%*d %ld", &pages) == 1 && fclose(file) == 0);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max < MOST * 3 - 1000 ? limit.rlim_max : MOST * 3 - 1000;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);

    static int fds[MOST];
    sidestep_mesh *mesh = join(arguments);
    double begin = seconds();
    long before = resident_kilobytes();
    int open = 0;
    sidestep_status status = SIDESTEP_OK;
    while (open < MOST && status == SIDESTEP_OK) {
        status = sidestep_connect(mesh, LEDGER, 5432, 0, PATIENCE, &fds[open], NULL);
        open += status == SIDESTEP_OK;
    }
    /* Three descriptors for each: the limit is reached, and is a status. */
    CHECK(status == SIDESTEP_SYSTEM);
    CHECK(open > (int)(limit.rlim_cur / 3) - 20);
    printf("%d connections with %ld descriptors: %.3f ms and %.1f KiB each\n", open, (long)limit.rlim_cur,
           (seconds() - begin) * 1000 / open, (double)(resident_kilobytes() - before) / open);
    for (int index = 0; index < open; index++) {
        send_all(fds[index], "a line\n");
    }
    for (int index = 0; index < open; index++) {
        char byte;
        CHECK(read(fds[index], &byte, 1) == 1);
        CHECK(close(fds[index]) == 0);
    }
    /* There is room again. */
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, PATIENCE, &fds[0], &error));
    CHECK(close(fds[0]) == 0);
    WORKS(sidestep_shutdown(mesh, PATIENCE, &error));
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return 0;
}
