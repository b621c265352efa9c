/*
 * libcurl through the mesh: by the proxy, for any number of services, and by a Unix socket for one.
 *
 *     curl VM-FILES [URL]
 *     cc curl.c $(pkg-config --cflags --libs sidestep libcurl)
 *
 * The bridge is in this process, and serves nobody else. Works with every libcurl since 7.40.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <curl/curl.h>
#include <sidestep.h>

static int get(const char *url, const char *proxy, const char *unix_socket) {
    CURL *curl = curl_easy_init();
    if (!curl) {
        return EXIT_FAILURE;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    /* Set in any case: the environment's proxies are not meant. */
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy ? proxy : "");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, unix_socket);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) {
        fprintf(stderr, "%s: %s\n", url, curl_easy_strerror(code));
    }
    putchar('\n');
    curl_easy_cleanup(curl);
    return code == CURLE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    const char *url = argc > 2 ? argv[2] : "http://forecast.weather:3002/";
    sidestep_mesh *mesh = NULL;
    sidestep_bridge *bridge = NULL;
    sidestep_error *error = NULL;
    char path[64];
    int code = EXIT_FAILURE;

    if (argc < 2) {
        fprintf(stderr, "usage: %s VM-FILES [URL]\n", argv[0]);
        return EXIT_FAILURE;
    }
    snprintf(path, sizeof path, "/tmp/sidestep-curl-%ld", (long)getpid());
    if (sidestep_join_vm_files(argv[1], &mesh, &error) || sidestep_wait_ready(mesh, 30000, &error) ||
        sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error) ||
        sidestep_bridge_listen_unix(bridge, path, "forecast.weather", 3002, SIDESTEP_HTTP1, &error)) {
        fprintf(stderr, "%s\n%s\n", sidestep_error_message(error), sidestep_error_next_step(error));
    } else {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        code = get(url, sidestep_bridge_http_url(bridge), NULL) ||
               get(url, sidestep_bridge_socks_url(bridge), NULL) ||
               get("http://forecast.weather/", NULL, path);
        curl_global_cleanup();
    }
    sidestep_bridge_free(bridge);
    sidestep_error_free(error);
    sidestep_mesh_free(mesh);
    return code;
}
