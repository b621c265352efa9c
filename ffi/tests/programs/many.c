/* Thousands of connections at a time, as far as the limit of descriptors goes, and beyond it a status. */
#include <sys/resource.h>

#include "check.h"

#define MOST 2000

int main(int count, char **arguments) {
    CHECK(count == 4);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max < 3000 ? limit.rlim_max : 3000;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);

    static int fds[MOST];
    sidestep_mesh *mesh = join(arguments);
    int open = 0;
    sidestep_status status = SIDESTEP_OK;
    while (open < MOST && status == SIDESTEP_OK) {
        status = sidestep_connect(mesh, LEDGER, 5432, 0, PATIENCE, &fds[open], NULL);
        open += status == SIDESTEP_OK;
    }
    /* Three descriptors for each: the limit is reached, and is a status. */
    CHECK(status == SIDESTEP_SYSTEM || status == SIDESTEP_DIAL);
    CHECK(open > 500);
    for (int index = 0; index < open; index++) {
        send_all(fds[index], "a line\n");
    }
    for (int index = 0; index < open; index++) {
        char byte;
        CHECK(read(fds[index], &byte, 1) == 1);
        CHECK(close(fds[index]) == 0);
    }
    WORKS(sidestep_shutdown(mesh, PATIENCE, &error));
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return 0;
}
