/*
 * Sends several requests simultaneously with libcurl's multi interface, on one thread and through the proxy of the bridge.
 * curl_queue.c does the same without a bridge.
 *
 *     curl_multi VM-FILES [HOST PORT [PATH]]
 *     cc curl_multi.c $(pkg-config --cflags --libs sidestep libcurl)
 *
 * The mesh and the bridge run in this process. The bridge serves only this process.
 */
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>
#include <sidestep.h>

#define REQUESTS 8

static int add(CURLM *multi, CURL **request, const char *url, const char *proxy) {
    CURL *curl = *request = curl_easy_init();
    return !curl || curl_easy_setopt(curl, CURLOPT_URL, url) || curl_easy_setopt(curl, CURLOPT_PROXY, proxy) ||
           curl_easy_setopt(curl, CURLOPT_NOPROXY, "") || curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L) ||
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) || curl_multi_add_handle(multi, curl);
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

static int get(CURLM *multi, const char *url, const char *proxy) {
    CURL *requests[REQUESTS] = {NULL};
    int failed = 0, running = 1;
    for (int index = 0; index < REQUESTS && !failed; index++) {
        failed = add(multi, &requests[index], url, proxy);
    }
    while (!failed && running) {
        failed = curl_multi_perform(multi, &running) || finish(multi) ||
                 (running && curl_multi_poll(multi, NULL, 0, 60000, NULL));
    }
    for (int index = 0; index < REQUESTS; index++) {
        curl_multi_remove_handle(multi, requests[index]);
        curl_easy_cleanup(requests[index]);
    }
    return failed;
}

int main(int argc, char **argv) {
    const char *host = argc > 2 ? argv[2] : "forecast.weather", *path = argc > 4 ? argv[4] : "/";
    uint16_t port = argc > 3 ? (uint16_t)atoi(argv[3]) : 3002;
    sidestep_mesh *mesh = NULL;
    sidestep_bridge *bridge = NULL;
    sidestep_error *error = NULL;
    CURLM *multi = NULL;
    char url[512];
    int failed = -1;

    if (argc < 2 || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        fprintf(stderr, "usage: %s VM-FILES [HOST PORT [PATH]]\n", argv[0]);
        return EXIT_FAILURE;
    }
    snprintf(url, sizeof url, "http://%s:%u%s", host, port, path);
    if (sidestep_join_vm_files(argv[1], &mesh, &error) || sidestep_wait_ready(mesh, 30000, &error) ||
        sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error)) {
        fprintf(stderr, "%s\n%s\n", sidestep_error_message(error), sidestep_error_next_step(error));
        goto cleanup;
    }
    multi = curl_multi_init();
    failed = !multi || get(multi, url, sidestep_bridge_http_url(bridge));

cleanup:
    curl_multi_cleanup(multi);
    sidestep_bridge_free(bridge);
    sidestep_error_free(error);
    sidestep_mesh_free(mesh);
    curl_global_cleanup();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
