/*
 * Sends several requests simultaneously with libcurl's multi interface over descriptors of the mesh, without a bridge.
 * Connecting does not block, because curl_multi_poll also waits for the descriptor of a queue.
 *
 *     curl_queue VM-FILES [HOST PORT [PATH]]
 *     cc curl_queue.c $(pkg-config --cflags --libs sidestep libcurl)
 *
 * The mesh runs in this process. No other process is needed. libcurl 7.88 does not accept connected descriptors: use
 * version 8.0 or later, or curl_multi.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <curl/curl.h>
#include <sidestep.h>

#define REQUESTS 8

/* A request and its connection. The descriptor is -1 before it is connected, and after libcurl has taken it. */
struct request {
    CURL *curl;
    int fd;
};

static int report(sidestep_error *error) {
    fprintf(stderr, "%s\n%s\n", sidestep_error_message(error), sidestep_error_next_step(error));
    sidestep_error_free(error);
    return -1;
}

static curl_socket_t take(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
    struct request *request = data;
    int fd = request->fd;
    (void)purpose, (void)address;
    request->fd = -1;
    return fd;
}

static int is_connected(void *data, curl_socket_t fd, curlsocktype purpose) {
    (void)data, (void)fd, (void)purpose;
    return CURL_SOCKOPT_ALREADY_CONNECTED;
}

/* `unused` is an address for libcurl, which resolves the name before it asks for a socket. */
static int prepare(struct request *request, const char *url, struct curl_slist *unused) {
    CURL *curl = request->curl = curl_easy_init();
    return !curl || curl_easy_setopt(curl, CURLOPT_URL, url) || curl_easy_setopt(curl, CURLOPT_PROXY, "") ||
           curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L) || curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) ||
           curl_easy_setopt(curl, CURLOPT_RESOLVE, unused) || curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, take) ||
           curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, request) ||
           curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, is_connected);
}

/* Fetches new connections, and starts the requests that wait for them. */
static int fetch(CURLM *multi, sidestep_queue *queue, int *connecting) {
    sidestep_completion completion;
    while (sidestep_queue_next(queue, &completion, sizeof completion, NULL) == SIDESTEP_OK) {
        struct request *request = completion.user_data;
        if (completion.status != SIDESTEP_OK) {
            return report(completion.error);
        }
        request->fd = completion.fd;
        --*connecting;
        if (curl_multi_add_handle(multi, request->curl)) {
            return -1;
        }
    }
    return 0;
}

/* Prints the results of finished requests. Returns a nonzero value if one has failed. */
static int finish(CURLM *multi) {
    const CURLMsg *message;
    int left, failed = 0;
    while ((message = curl_multi_info_read(multi, &left))) {
        long status = 0;
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        printf("%ld %s\n", status, curl_easy_strerror(message->data.result));
        failed |= message->data.result != CURLE_OK;
    }
    return failed;
}

static int run(CURLM *multi, sidestep_queue *queue) {
    struct curl_waitfd waited = {.fd = sidestep_queue_fd(queue), .events = CURL_WAIT_POLLIN};
    int connecting = REQUESTS, running = 0, failed = 0;
    while (!failed && (running || connecting)) {
        failed = curl_multi_poll(multi, &waited, 1, 60000, NULL) || fetch(multi, queue, &connecting) ||
                 curl_multi_perform(multi, &running) || finish(multi);
    }
    return failed;
}

int main(int argc, char **argv) {
    const char *host = argc > 2 ? argv[2] : "forecast.weather", *path = argc > 4 ? argv[4] : "/";
    uint16_t port = argc > 3 ? (uint16_t)atoi(argv[3]) : 3002;
    struct request requests[REQUESTS] = {{NULL, 0}};
    sidestep_mesh *mesh = NULL;
    sidestep_queue *queue = NULL;
    sidestep_error *error = NULL;
    CURLM *multi = NULL;
    struct curl_slist *unused = NULL;
    char url[512], address[300];
    int failed = 0;

    if (argc < 2 || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        fprintf(stderr, "usage: %s VM-FILES [HOST PORT [PATH]]\n", argv[0]);
        return EXIT_FAILURE;
    }
    snprintf(url, sizeof url, "http://%s:%u%s", host, port, path);
    snprintf(address, sizeof address, "%s:%u:127.0.0.1", host, port);
    multi = curl_multi_init();
    unused = curl_slist_append(NULL, address);
    if (sidestep_join_vm_files(argv[1], &mesh, &error) || sidestep_queue_new(mesh, &queue, &error)) {
        failed = report(error);
    }
    for (int index = 0; index < REQUESTS; index++) {
        requests[index].fd = -1;
        failed = failed || prepare(&requests[index], url, unused);
        if (!failed && sidestep_queue_connect(queue, host, port, SIDESTEP_PROTOCOL_HTTP1, 30000, &requests[index], NULL,
                                              &error)) {
            failed = report(error);
        }
    }
    failed = failed || !multi || run(multi, queue);

    for (int index = 0; index < REQUESTS; index++) {
        curl_multi_remove_handle(multi, requests[index].curl);
        curl_easy_cleanup(requests[index].curl);
        if (requests[index].fd >= 0) {
            close(requests[index].fd);
        }
    }
    curl_multi_cleanup(multi);
    curl_slist_free_all(unused);
    sidestep_queue_free(queue);
    sidestep_mesh_free(mesh);
    curl_global_cleanup();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
