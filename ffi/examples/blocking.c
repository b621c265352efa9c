/*
 * Sends one HTTP request over a blocking socket.
 *
 *     blocking VM-FILES [HOST PORT [PATH]]
 *     cc blocking.c $(pkg-config --cflags --libs sidestep)
 *
 * The mesh runs in this process. No other process is needed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sidestep.h>

int main(int argc, char **argv) {
    const char *host = argc > 2 ? argv[2] : "forecast.weather", *path = argc > 4 ? argv[4] : "/";
    const char *peer, *gateway;
    uint16_t port = argc > 3 ? (uint16_t)atoi(argv[3]) : 3002;
    sidestep_mesh *mesh = NULL;
    sidestep_error *error = NULL;
    sidestep_info *info = NULL;
    int fd = -1, code = EXIT_FAILURE;
    char buffer[4096];
    ssize_t length;

    if (argc < 2) {
        fprintf(stderr, "usage: %s VM-FILES [HOST PORT [PATH]]\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (sidestep_join_vm_files(argv[1], &mesh, &error) || sidestep_wait_ready(mesh, 30000, &error) ||
        sidestep_connect(mesh, host, port, SIDESTEP_PROTOCOL_HTTP1, 10000, &fd, &error) ||
        sidestep_connection_info(mesh, fd, &info, &error)) {
        fprintf(stderr, "%s\n%s\n", sidestep_error_message(error), sidestep_error_next_step(error));
        goto cleanup;
    }
    peer = sidestep_info_get(info, SIDESTEP_INFO_PEER);
    gateway = sidestep_info_get(info, SIDESTEP_INFO_GATEWAY);
    printf("%s, %s%s\n", peer ? peer : "plaintext", gateway ? "through the gateway " : "directly", gateway ? gateway : "");

    length = snprintf(buffer, sizeof buffer, "GET %s HTTP/1.1\r\nHost: %s:%u\r\nConnection: close\r\n\r\n", path, host,
                      port);
    if (length >= (ssize_t)sizeof buffer || write(fd, buffer, (size_t)length) != length) {
        perror("write");
        goto cleanup;
    }
    while ((length = read(fd, buffer, sizeof buffer)) > 0) {
        fwrite(buffer, 1, (size_t)length, stdout);
    }
    if (length == 0) {
        code = EXIT_SUCCESS;
    } else {
        perror("read");
    }

cleanup:
    if (fd >= 0) {
        close(fd);
    }
    sidestep_info_free(info);
    sidestep_error_free(error);
    sidestep_mesh_free(mesh);
    return code;
}
