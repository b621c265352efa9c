/* Connections over a descriptor or a stream. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

#define PATIENCE 30000

int connection_open(const struct service *service, const char *how, struct connection *connection) {
    sidestep_error *error = NULL;
    sidestep_status status;
    *connection = (struct connection){NULL, -1};
    if (strcmp(how, "stream") == 0) {
        status = sidestep_stream_connect(service->mesh, service->host, service->port, SIDESTEP_PROTOCOL_HTTP1, PATIENCE,
                                         &connection->stream, &error);
    } else {
        uint32_t pair = strcmp(how, "tcp") == 0 ? SIDESTEP_FLAG_TCP_PAIR : 0;
        status = sidestep_connect(service->mesh, service->host, service->port, SIDESTEP_PROTOCOL_HTTP1 | pair, PATIENCE,
                                  &connection->fd, &error);
    }
    if (status != SIDESTEP_OK) {
        failed("connect", error);
        return -1;
    }
    return 0;
}

int connection_write(const struct connection *connection, const void *data, size_t size) {
    sidestep_error *error = NULL;
    size_t written = 0;
    if (connection->stream) {
        if (sidestep_stream_write(connection->stream, data, size, PATIENCE, &written, &error) != SIDESTEP_OK) {
            failed("write", error);
            return -1;
        }
        return 0;
    }
    while (written < size) {
        ssize_t sent = write(connection->fd, (const char *)data + written, size - written);
        if (sent < 0 && errno != EINTR) {
            failed("write", NULL);
            return -1;
        }
        written += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

long connection_read(const struct connection *connection, void *data, size_t size) {
    if (!connection->stream) {
        return read(connection->fd, data, size);
    }
    size_t count = 0;
    sidestep_status status = sidestep_stream_read(connection->stream, data, size, PATIENCE, &count, NULL);
    return status == SIDESTEP_OK ? (long)count : -1;
}

void connection_close(struct connection *connection) {
    if (connection->stream) {
        sidestep_stream_free(connection->stream);
    } else if (connection->fd >= 0) {
        close(connection->fd);
    }
    *connection = (struct connection){NULL, -1};
}
