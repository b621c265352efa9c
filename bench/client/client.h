/* A program that uses the mesh from C and says what it cost: what `mesh-bench ffi` measures. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <sidestep.h>

/* Where measured connections lead. */
struct service {
    sidestep_mesh *mesh;
    const char *host;
    uint16_t port;
};

/* How a connection is held: a descriptor, or a stream where there is one. */
struct connection {
    sidestep_stream *stream;
    int fd;
};

/* What a command came to: up to four figures. Less than zero is a failure, which has been told. */
struct figures {
    int count;
    double of[4];
};

/* Nanoseconds of CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID, CLOCK_PROCESS_CPUTIME_ID. */
static inline double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Says why a command failed. */
struct figures failed(const char *what, sidestep_error *error);

/* connection.c: 0, or -1 when it has been told why not. */
int connection_open(const struct service *service, const char *how, struct connection *connection);
int connection_write(const struct connection *connection, const void *data, size_t size);
/* What `read` returns. */
long connection_read(const struct connection *connection, void *data, size_t size);
void connection_close(struct connection *connection);

/* One file for each. */
struct figures lookup(const struct service *service, const char *arguments);
struct figures establish(const struct service *service, const char *arguments);
struct figures request(const struct service *service, const char *arguments);
struct figures transfer(const struct service *service, const char *arguments);
struct figures hold(const struct service *service, const char *arguments);

#endif
