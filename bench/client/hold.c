/* Many open connections:
 *
 * hold open HOW COUNT     opens COUNT more connections
 * hold exchange SECONDS   sends a request over each connection, and the next one after each answer; returns the lowest
 *                         and the highest number of answers of a connection
 * hold close 0            closes all connections
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "client.h"

#define MOST 10000
#define REQUEST "GET /bytes/1024 HTTP/1.1\r\nHost: forecast\r\n\r\n"

static struct connection held[MOST];
static size_t open_ones;

static struct figures open_more(const struct service *service, const char *how, size_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (; count > 0 && open_ones < MOST; count--) {
        if (connection_open(service, how, &held[open_ones])) {
            return (struct figures){.count = -1};
        }
        open_ones++;
    }
    return (struct figures){0, {0}};
}

/* Returns whether the current answer is complete: its body ends with its last byte. */
static int ended(const struct connection *connection, size_t *left) {
    char buffer[2048];
    long got = connection_read(connection, buffer, sizeof buffer - 1);
    if (got <= 0) {
        return -1;
    }
    buffer[got] = 0;
    const char *head = strstr(buffer, "\r\n\r\n");
    *left -= head ? (size_t)(buffer + got - (head + 4)) : *left < 1024 ? (size_t)got : 0;
    return *left == 0;
}

static struct figures exchange(double seconds) {
    static struct pollfd polled[MOST];
    static size_t left[MOST], answers[MOST];
    double end = now(CLOCK_MONOTONIC) + seconds * 1e9;
    for (size_t at = 0; at < open_ones; at++) {
        polled[at] = (struct pollfd){.fd = held[at].fd, .events = POLLIN};
        left[at] = 1024;
        answers[at] = 0;
        connection_write(&held[at], REQUEST, sizeof REQUEST - 1);
    }
    size_t waiting = open_ones;
    while (waiting > 0 && poll(polled, open_ones, 10000) > 0) {
        int goes_on = now(CLOCK_MONOTONIC) < end;
        for (size_t at = 0; at < open_ones; at++) {
            if (!polled[at].revents) {
                continue;
            }
            int done = ended(&held[at], &left[at]);
            if (done < 0) {
                return failed("a connection ended", NULL);
            }
            if (!done) {
                continue;
            }
            answers[at]++;
            left[at] = 1024;
            if (goes_on) {
                connection_write(&held[at], REQUEST, sizeof REQUEST - 1);
            } else {
                polled[at].fd = -1;
                waiting--;
            }
        }
    }
    size_t least = answers[0], most = answers[0];
    for (size_t at = 0; at < open_ones; at++) {
        least = answers[at] < least ? answers[at] : least;
        most = answers[at] > most ? answers[at] : most;
    }
    return (struct figures){2, {(double)least, (double)most}};
}

struct figures hold(const struct service *service, const char *arguments) {
    char how[16];
    size_t count = 0;
    double seconds = 0;
    if (sscanf(arguments, "open %15s %zu", how, &count) == 2) {
        return open_more(service, how, count);
    }
    if (sscanf(arguments, "exchange %lf", &seconds) == 1) {
        return exchange(seconds);
    }
    while (open_ones > 0) {
        connection_close(&held[--open_ones]);
    }
    return (struct figures){0, {0}};
}
