/* Thousands of connections at a time: as many as there is room for, and one more is a status. */
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

#include "check.h"

/* Ten thousand connections, which take three descriptors each, where the limit may be as high. */
#ifndef MOST
#define MOST 10400
#endif

static double seconds(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The file is open before there is no descriptor left for it. */
static long resident_kilobytes(int statm) {
    char text[128] = "";
    long pages = 0;
    CHECK(pread(statm, text, sizeof text - 1, 0) > 0 && sscanf(text, "%*d %ld", &pages) == 1);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* How many descriptors there are from now on. */
static rlim_t make_room(void) {
    struct rlimit limit, more = {.rlim_cur = MOST * 3 - 1000};
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    more.rlim_max = limit.rlim_max < more.rlim_cur ? more.rlim_cur : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &more) != 0) {
        /* The mesh beside this program has no more, and takes four for a connection. */
        more = (struct rlimit){.rlim_cur = limit.rlim_max / 3, .rlim_max = limit.rlim_max};
        CHECK(setrlimit(RLIMIT_NOFILE, &more) == 0);
    }
    return more.rlim_cur;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    const rlim_t room = make_room();
    const int statm = open("/proc/self/statm", O_RDONLY);
    static int fds[MOST];
    sidestep_mesh *mesh = join(arguments);
    double begin = seconds();
    long before = resident_kilobytes(statm);
    int opened = 0;
    sidestep_status status = SIDESTEP_OK;
    while (opened < MOST && status == SIDESTEP_OK) {
        status = sidestep_connect(mesh, LEDGER, 5432, 0, PATIENCE, &fds[opened], NULL);
        opened += status == SIDESTEP_OK;
    }
    /* Three descriptors for each: the limit is reached, and is a status. */
    CHECK(status == SIDESTEP_SYSTEM);
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
    /* There is room again. */
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, PATIENCE, &fds[0], &error));
    CHECK(close(fds[0]) == 0);
    WORKS(sidestep_shutdown(mesh, PATIENCE, &error));
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(close(statm) == 0);
    return 0;
}
