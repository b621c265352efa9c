/* A program in C that uses the mesh and measures it, for `mesh-bench ffi`. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <sidestep.h>

/* The service of measured connections. */
struct service {
    sidestep_mesh *mesh;
    const char *host;
    uint16_t port;
};

/* A connection, either a descriptor or a stream. */
struct connection {
    sidestep_stream *stream;
    int fd;
};

/* The result of a command: up to four figures. A negative count is a failure, which has been printed. */
struct figures {
    int count;
    double of[4];
};

/* Returns nanoseconds of CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID or CLOCK_PROCESS_CPUTIME_ID. */
static inline double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Prints why a command failed. */
struct figures failed(const char *what, sidestep_error *error);

/* connection.c: returns 0, or -1 after printing the error. */
int connection_open(const struct service *service, const char *how, struct connection *connection);
int connection_write(const struct connection *connection, const void *data, size_t size);
/* Returns what read(2) returns. */
long connection_read(const struct connection *connection, void *data, size_t size);
void connection_close(struct connection *connection);

/* The commands, one per file. */
struct figures lookup(const struct service *service, const char *arguments);
struct figures establish(const struct service *service, const char *arguments);
struct figures request(const struct service *service, const char *arguments);
struct figures transfer(const struct service *service, const char *arguments);
struct figures hold(const struct service *service, const char *arguments);

#endif
