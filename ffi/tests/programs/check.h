/* Helpers of the programs. The arguments of a program are the VM files, upstream DNS, and a temporary directory. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sidestep.h>

#define FORECAST "forecast.weather"
#define LEDGER "ledger.payments.example"
#ifndef TIMEOUT
#define TIMEOUT 30000
#endif

/* The number of repetitions of tests that depend on timing. */
#ifndef ROUNDS
#define ROUNDS 10
#endif

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

/* The call must succeed. */
#define WORKS(call)                                                                                          \
    do {                                                                                                     \
        sidestep_error *error = NULL;                                                                        \
        if ((call) != SIDESTEP_OK) {                                                                         \
            fprintf(stderr, "%s:%d: %s\n  %s: %s\n  %s\n", __FILE__, __LINE__, #call,                        \
                    sidestep_status_name(sidestep_error_status(error)), sidestep_error_message(error),       \
                    sidestep_error_next_step(error));                                                        \
            exit(1);                                                                                         \
        }                                                                                                    \
        CHECK(error == NULL);                                                                                \
    } while (0)

/* The call must fail with the expected status, and with an error object of this status. */
#define FAILS(expected, call)                                                                                \
    do {                                                                                                     \
        sidestep_error *error = NULL;                                                                        \
        sidestep_status got = (call);                                                                        \
        if (got != (expected)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n  %s instead of %s: %s\n", __FILE__, __LINE__, #call,                \
                    sidestep_status_name(got), sidestep_status_name(expected),                               \
                    error ? sidestep_error_message(error) : "-");                                            \
            exit(1);                                                                                         \
        }                                                                                                    \
        CHECK(error != NULL);                                                                                \
        CHECK(sidestep_error_status(error) == (expected));                                                     \
        CHECK(strlen(sidestep_error_message(error)) > 0);                                                    \
        CHECK(strlen(sidestep_error_next_step(error)) > 0);                                                  \
        CHECK(sidestep_errno(got) != 0);                                                                     \
        CHECK(sidestep_error_free(error) == SIDESTEP_OK);                                                    \
    } while (0)

static inline sidestep_settings *settings_of(char **arguments) {
    sidestep_settings *settings = NULL;
    WORKS(sidestep_settings_new(&settings, &error));
    WORKS(sidestep_settings_set(settings, "vm-files", arguments[1], &error));
    WORKS(sidestep_settings_set(settings, "upstream-dns", arguments[2], &error));
    return settings;
}

static inline sidestep_mesh *join_with(sidestep_settings *settings) {
    sidestep_mesh *mesh = NULL;
    WORKS(sidestep_join(settings, &mesh, &error));
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
    WORKS(sidestep_wait_ready(mesh, TIMEOUT, &error));
    return mesh;
}

static inline sidestep_mesh *join(char **arguments) {
    return join_with(settings_of(arguments));
}

/* A pipe that receives a byte for each connection that has ended according to the log. */
static int ended[2] = {-1, -1};

static inline void note_ended(void *user_data, int32_t level, const char *line) {
    (void)user_data;
    (void)level;
    CHECK(!strstr(line, "a connection ended") || write(ended[1], "", 1) == 1);
}

/* Joins a mesh with a log callback for `wait_for_connections`. */
static inline sidestep_mesh *join_noting_ends(char **arguments) {
    sidestep_settings *settings = settings_of(arguments);
    CHECK(pipe(ended) == 0);
    WORKS(sidestep_settings_log(settings, SIDESTEP_LOG_DEBUG, note_ended, NULL, &error));
    return join_with(settings);
}

static inline void send_all(int fd, const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t sent = write(fd, text, left);
        CHECK(sent > 0);
        text += sent;
        left -= (size_t)sent;
    }
}

/* Reads until the end of the stream, or until the buffer is full. */
static inline size_t receive_all(int fd, char *buffer, size_t size) {
    size_t length = 0;
    while (length + 1 < size) {
        ssize_t got = read(fd, buffer + length, size - 1 - length);
        CHECK(got >= 0);
        if (got == 0) {
            break;
        }
        length += (size_t)got;
    }
    buffer[length] = 0;
    return length;
}

/* Waits until a mesh of `join_noting_ends` has the expected number of open connections. */
static inline void wait_for_connections(const sidestep_mesh *mesh, int expected) {
    char text[64], byte;
    snprintf(text, sizeof text, "\"connections\":%d,\"endpoints\"", expected);
    for (;;) {
        sidestep_text *health = NULL;
        WORKS(sidestep_health(mesh, &health, &error));
        int there = strstr(sidestep_text_get(health), text) != NULL;
        CHECK(sidestep_text_free(health) == SIDESTEP_OK);
        if (there) {
            return;
        }
        struct pollfd waited = {.fd = ended[0], .events = POLLIN};
        CHECK(poll(&waited, 1, TIMEOUT) == 1 && read(ended[0], &byte, 1) == 1);
    }
}

#endif
