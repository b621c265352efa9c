/* request HOW COUNT: a small GET request over a warm connection: the median time, in nanoseconds, from the request to the
 * complete answer, and the CPU time of the process per request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

#define MOST 10000
#define BODY 1024

static const char REQUEST[] = "GET /bytes/1024 HTTP/1.1\r\nHost: forecast\r\n\r\n";

static int ascending(const void *one, const void *other) {
    double left = *(const double *)one, right = *(const double *)other;
    return (left > right) - (left < right);
}

/* Reads one answer, whose head and body fit into the buffer. */
static int answer(const struct connection *connection) {
    char buffer[4096];
    size_t length = 0;
    for (;;) {
        long got = connection_read(connection, buffer + length, sizeof buffer - 1 - length);
        if (got <= 0) {
            failed("the connection ended", NULL);
            return -1;
        }
        length += (size_t)got;
        buffer[length] = 0;
        const char *head = strstr(buffer, "\r\n\r\n");
        if (head && length - (size_t)(head + 4 - buffer) >= BODY) {
            return 0;
        }
    }
}

struct figures request(const struct service *service, const char *arguments) {
    static double times[MOST];
    static struct connection connection;
    static char how[16];
    char wanted[16];
    size_t count = 0;
    if (sscanf(arguments, "%15s %zu", wanted, &count) != 2 || count == 0 || count > MOST) {
        return failed("request: arguments", NULL);
    }
    if (strcmp(wanted, how)) {
        if (*how) {
            connection_close(&connection);
        }
        strcpy(how, wanted);
        if (connection_open(service, how, &connection)) {
            return (struct figures){.count = -1};
        }
    }
    double before = now(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t at = 0; at < count; at++) {
        double start = now(CLOCK_MONOTONIC);
        if (connection_write(&connection, REQUEST, sizeof REQUEST - 1) || answer(&connection)) {
            return (struct figures){.count = -1};
        }
        times[at] = now(CLOCK_MONOTONIC) - start;
    }
    double each = (now(CLOCK_PROCESS_CPUTIME_ID) - before) / (double)count;
    qsort(times, count, sizeof *times, ascending);
    return (struct figures){2, {times[count / 2], each}};
}
