/* establish HOW COUNT: the median times, in nanoseconds, from the call to the connection and to the first byte of an
 * answer, then the CPU time of the process per connection, without and with the request and the close. */
#include <stdio.h>
#include <stdlib.h>

#include "client.h"

#define MOST 1000

static const char REQUEST[] = "GET /bytes/1 HTTP/1.1\r\nHost: forecast\r\nConnection: close\r\n\r\n";

static int ascending(const void *one, const void *other) {
    double left = *(const double *)one, right = *(const double *)other;
    return (left > right) - (left < right);
}

/* Makes one connection, and adds the CPU time of connecting to `spent`. */
static int one(const struct service *service, const char *how, double *connected, double *answered, double *spent) {
    struct connection connection;
    char buffer[4096];
    double before = now(CLOCK_PROCESS_CPUTIME_ID), start = now(CLOCK_MONOTONIC);
    if (connection_open(service, how, &connection)) {
        return -1;
    }
    *connected = now(CLOCK_MONOTONIC) - start;
    *spent += now(CLOCK_PROCESS_CPUTIME_ID) - before;
    if (connection_write(&connection, REQUEST, sizeof REQUEST - 1)) {
        return -1;
    }
    long got = connection_read(&connection, buffer, 1);
    *answered = now(CLOCK_MONOTONIC) - start;
    while (got > 0) {
        got = connection_read(&connection, buffer, sizeof buffer);
    }
    connection_close(&connection);
    return 0;
}

struct figures establish(const struct service *service, const char *arguments) {
    static double connected[MOST], answered[MOST];
    char how[16];
    size_t count = 0;
    if (sscanf(arguments, "%15s %zu", how, &count) != 2 || count == 0 || count > MOST) {
        return failed("establish: arguments", NULL);
    }
    double before = now(CLOCK_PROCESS_CPUTIME_ID), connecting = 0;
    for (size_t at = 0; at < count; at++) {
        /* Wait until the previous connection has been closed completely. */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        if (one(service, how, &connected[at], &answered[at], &connecting)) {
            return (struct figures){.count = -1};
        }
    }
    double all = now(CLOCK_PROCESS_CPUTIME_ID) - before;
    qsort(connected, count, sizeof *connected, ascending);
    qsort(answered, count, sizeof *answered, ascending);
    double number = (double)count;
    return (struct figures){4, {connected[count / 2], answered[count / 2], connecting / number, all / number}};
}
