/*
 * Sends several requests simultaneously on one thread, with poll. The queue's descriptor also works with epoll, libuv and GLib.
 *
 *     events VM-FILES [HOST PORT [PATH]]
 *     cc events.c $(pkg-config --cflags --libs sidestep)
 *
 * The mesh runs in this process. No other process is needed.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sidestep.h>

#define REQUESTS 8

/* The first descriptor is that of the queue, the others are connections. poll ignores the descriptor -1. */
static struct pollfd waited[1 + REQUESTS];
static size_t received[1 + REQUESTS];

static int report(sidestep_error *error) {
    fprintf(stderr, "%s\n%s\n", sidestep_error_message(error), sidestep_error_next_step(error));
    sidestep_error_free(error);
    return -1;
}

/* Fetches new connections from the queue, adds them to the poll array, and sends their requests. */
static int fetch(sidestep_queue *queue, const char *request) {
    sidestep_completion completion;
    while (sidestep_queue_next(queue, &completion, sizeof completion, NULL) == SIDESTEP_OK) {
        struct pollfd *place = completion.user_data;
        if (completion.status != SIDESTEP_OK) {
            return report(completion.error);
        }
        place->fd = completion.fd;
        place->events = POLLIN;
        if (write(place->fd, request, strlen(request)) < 0) {
            perror("write");
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *host = argc > 2 ? argv[2] : "forecast.weather", *path = argc > 4 ? argv[4] : "/";
    uint16_t port = argc > 3 ? (uint16_t)atoi(argv[3]) : 3002;
    char request[512];
    sidestep_mesh *mesh = NULL;
    sidestep_queue *queue = NULL;
    sidestep_error *error = NULL;
    int open = REQUESTS, failed = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: %s VM-FILES [HOST PORT [PATH]]\n", argv[0]);
        return EXIT_FAILURE;
    }
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%u\r\nConnection: close\r\n\r\n", path, host, port);
    if (sidestep_join_vm_files(argv[1], &mesh, &error) || sidestep_queue_new(mesh, &queue, &error)) {
        failed = report(error);
        goto cleanup;
    }
    waited[0].fd = sidestep_queue_fd(queue);
    waited[0].events = POLLIN;
    for (int index = 1; index <= REQUESTS; index++) {
        waited[index].fd = -1;
        if (sidestep_queue_connect(queue, host, port, SIDESTEP_PROTOCOL_HTTP1, 30000, &waited[index], NULL, &error)) {
            failed = report(error);
            goto cleanup;
        }
    }
    while (open > 0 && !failed && poll(waited, 1 + REQUESTS, -1) > 0) {
        if (waited[0].revents) {
            failed = fetch(queue, request);
        }
        for (int index = 1; index <= REQUESTS && !failed; index++) {
            char buffer[4096];
            if (waited[index].fd < 0 || !waited[index].revents) {
                continue;
            }
            ssize_t length = read(waited[index].fd, buffer, sizeof buffer);
            if (length > 0) {
                received[index] += (size_t)length;
                continue;
            }
            printf("request %d: %zu bytes\n", index, received[index]);
            failed = length < 0 || received[index] == 0;
            close(waited[index].fd);
            waited[index].fd = -1;
            waited[index].revents = 0;
            open--;
        }
    }

cleanup:
    for (int index = 1; index <= REQUESTS; index++) {
        if (waited[index].fd > 0) {
            close(waited[index].fd);
        }
    }
    sidestep_queue_free(queue);
    sidestep_mesh_free(mesh);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
