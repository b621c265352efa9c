/* Streams: connections without a descriptor. */
#include <netinet/in.h>
#include <pthread.h>

#include "check.h"

static volatile sig_atomic_t signals;

static void count_signal(int signal) {
    (void)signal;
    signals = signals + 1;
}

static void exchange(sidestep_mesh *mesh) {
    sidestep_stream *stream = NULL;
    sidestep_info *info = NULL;
    uint8_t answer[256];
    size_t count = 0, length = 0;
    WORKS(sidestep_stream_connect(mesh, LEDGER, 5432, SIDESTEP_PROTOCOL_TCP, TIMEOUT, &stream, &error));
    WORKS(sidestep_stream_info(stream, &info, &error));
    CHECK(strcmp(sidestep_info_get(info, SIDESTEP_INFO_TRANSPORT), "mutual_tls") == 0);
    CHECK(sidestep_info_free(info) == SIDESTEP_OK);

    /* The service sends nothing first. A read that times out loses no data. */
    FAILS(SIDESTEP_E_TIMEOUT, sidestep_stream_read(stream, answer, sizeof answer, 50, &count, &error));
    WORKS(sidestep_stream_write(stream, (const uint8_t *)"first\n", 6, TIMEOUT, &count, &error));
    CHECK(count == 6);
    WORKS(sidestep_stream_write(stream, NULL, 0, TIMEOUT, &count, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_stream_write(stream, NULL, 1, TIMEOUT, &count, &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_stream_read(stream, answer, (size_t)-1, TIMEOUT, &count, &error));
    WORKS(sidestep_stream_shutdown(stream, TIMEOUT, &error));
    for (;;) {
        WORKS(sidestep_stream_read(stream, answer + length, sizeof answer - 1 - length, TIMEOUT, &count, &error));
        if (count == 0) {
            break;
        }
        length += count;
    }
    answer[length] = 0;
    CHECK(strstr((char *)answer, "first\n") != NULL);
    FAILS(SIDESTEP_E_BROKEN, sidestep_stream_write(stream, (const uint8_t *)"x", 1, TIMEOUT, &count, &error));
    CHECK(count == 0);
    CHECK(sidestep_stream_free(stream) == SIDESTEP_OK);
    CHECK(sidestep_stream_free(stream) == SIDESTEP_E_BAD_HANDLE);
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_stream_read(stream, answer, 1, 0, &count, &error));
}

struct job {
    sidestep_stream *stream;
    size_t length;
};

static void *read_all(void *argument) {
    struct job *job = argument;
    static uint8_t buffer[1 << 16];
    for (;;) {
        size_t count = 0;
        WORKS(sidestep_stream_read(job->stream, buffer, sizeof buffer, TIMEOUT, &count, &error));
        if (count == 0) {
            return NULL;
        }
        job->length += count;
    }
}

/* One thread reads while another writes. */
static void both_directions_simultaneously(sidestep_mesh *mesh) {
    struct job job = {0};
    pthread_t reader;
    static uint8_t line[1 << 15];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    WORKS(sidestep_stream_connect(mesh, LEDGER, 5432, SIDESTEP_PROTOCOL_TCP, TIMEOUT, &job.stream, &error));
    CHECK(pthread_create(&reader, NULL, read_all, &job) == 0);
    for (int round = 0; round < 64; round++) {
        size_t count = 0;
        WORKS(sidestep_stream_write(job.stream, line, sizeof line, TIMEOUT, &count, &error));
        CHECK(count == sizeof line);
    }
    WORKS(sidestep_stream_shutdown(job.stream, TIMEOUT, &error));
    CHECK(pthread_join(reader, NULL) == 0);
    CHECK(job.length > 64 * sizeof line);
    CHECK(sidestep_stream_free(job.stream) == SIDESTEP_OK);
}

/* Writing to a peer that has closed fails with a status, and raises no signal. */
static void no_signal(sidestep_mesh *mesh) {
    sidestep_stream *stream = NULL;
    size_t count = 0;
    /* Several TLS records, which are written with one system call. */
    static uint8_t answer[1 << 17];
    static const char request[] = "GET / HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n";
    WORKS(sidestep_stream_connect(mesh, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, TIMEOUT, &stream, &error));
    WORKS(sidestep_stream_write(stream, (const uint8_t *)request, sizeof request - 1, TIMEOUT, &count, &error));
    do {
        WORKS(sidestep_stream_read(stream, answer, sizeof answer, TIMEOUT, &count, &error));
    } while (count > 0);
    /* The workload has closed, but the first writes may still succeed. */
    sidestep_status status = SIDESTEP_OK;
    for (int round = 0; round < 10000 && status == SIDESTEP_OK; round++) {
        status = sidestep_stream_write(stream, answer, sizeof answer, TIMEOUT, &count, NULL);
    }
    CHECK(status == SIDESTEP_E_BROKEN);
    CHECK(sidestep_stream_free(stream) == SIDESTEP_OK);
    CHECK(signals == 0);
    sigset_t pending;
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &pending) == 0 && !sigismember(&pending, SIGPIPE));
}

/* Connects to a listener of this program. Returns the listener's end of the connection, which reads and writes nothing. */
static int with_own_peer(sidestep_mesh *mesh, sidestep_stream **stream) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&name, sizeof name) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
    WORKS(sidestep_stream_connect(mesh, "127.0.0.1", ntohs(name.sin_port), 0, TIMEOUT, stream, &error));
    int peer = accept(listener, NULL, NULL);
    CHECK(peer >= 0 && close(listener) == 0);
    return peer;
}

struct reader {
    sidestep_stream *stream;
    int begun[2];
};

/* Reads a byte that the peer sends, and a second one that it does not send. */
static void *read_on(void *argument) {
    struct reader *reader = argument;
    uint8_t byte;
    size_t count = 0;
    WORKS(sidestep_stream_read(reader->stream, &byte, 1, -1, &count, &error));
    CHECK(write(reader->begun[1], "", 1) == 1);
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_stream_read(reader->stream, &byte, 1, -1, &count, &error));
    CHECK(count == 0);
    return NULL;
}

/* Writes more than the peer accepts without reading. */
static void *write_on(void *stream) {
    static uint8_t much[1 << 26];
    size_t count = 0;
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_stream_write(stream, much, sizeof much, -1, &count, &error));
    CHECK(count < sizeof much);
    return NULL;
}

/* Freeing a stream ends the calls of other threads that wait without a limit. */
static void freed_during_calls(sidestep_mesh *mesh) {
    struct reader reader = {0};
    pthread_t reading, writing;
    size_t count = 0;
    uint8_t byte;
    int peer = with_own_peer(mesh, &reader.stream);
    CHECK(pipe(reader.begun) == 0);
    CHECK(pthread_create(&writing, NULL, write_on, reader.stream) == 0);
    CHECK(pthread_create(&reading, NULL, read_on, &reader) == 0);
    struct pollfd written = {.fd = peer, .events = POLLIN};
    CHECK(poll(&written, 1, TIMEOUT) == 1);
    CHECK(send(peer, "x", 1, 0) == 1 && read(reader.begun[0], &byte, 1) == 1);
    /* The time limit of a call also applies while it waits for a call in another thread. */
    FAILS(SIDESTEP_E_TIMEOUT, sidestep_stream_read(reader.stream, &byte, 1, 10, &count, &error));
    CHECK(sidestep_stream_free(reader.stream) == SIDESTEP_OK);
    CHECK(pthread_join(writing, NULL) == 0 && pthread_join(reading, NULL) == 0);
    CHECK(close(peer) == 0 && close(reader.begun[0]) == 0 && close(reader.begun[1]) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    CHECK(signal(SIGPIPE, count_signal) != SIG_ERR);
    sidestep_mesh *mesh = join(arguments);
    exchange(mesh);
    both_directions_simultaneously(mesh);
    no_signal(mesh);
    for (int round = 0; round < ROUNDS; round++) {
        freed_during_calls(mesh);
    }
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return 0;
}
