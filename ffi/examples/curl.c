/*
 * Sends requests with libcurl through the mesh, one in each possible way. Each way is a function.
 *
 *     curl VM-FILES [HOST PORT [PATH]]
 *     cc curl.c $(pkg-config --cflags --libs sidestep libcurl)
 *
 * The mesh and the bridge run in this process. The bridge serves only this process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <curl/curl.h>
#include <sidestep.h>

struct program {
    sidestep_mesh *mesh;
    sidestep_bridge *bridge;
    const char *host;
    uint16_t port;
    char url[512];
    struct curl_slist *list;
};

static int report(sidestep_error *error) {
    fprintf(stderr, "%s\n%s\n", sidestep_error_message(error), sidestep_error_next_step(error));
    sidestep_error_free(error);
    return -1;
}

/* The HTTP proxy of the bridge, for any number of services: absolute URLs, and CONNECT for https. */
static int by_http_proxy(CURL *curl, struct program *program) {
    return curl_easy_setopt(curl, CURLOPT_PROXY, sidestep_bridge_http_url(program->bridge)) != CURLE_OK;
}

/* The SOCKS5 proxy of the bridge, for all protocols. */
static int by_socks_proxy(CURL *curl, struct program *program) {
    return curl_easy_setopt(curl, CURLOPT_PROXY, sidestep_bridge_socks_url(program->bridge)) != CURLE_OK;
}

/* A Unix socket of the bridge for one service. */
static int by_unix_socket(CURL *curl, struct program *program) {
    sidestep_error *error = NULL;
    char path[64];
    snprintf(path, sizeof path, "/tmp/sidestep-curl-%ld", (long)getpid());
    if (sidestep_bridge_listen_unix(program->bridge, path, program->host, program->port, SIDESTEP_PROTOCOL_HTTP1, &error)) {
        return report(error);
    }
    return curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, path) != CURLE_OK;
}

/* Name resolution by the bridge instead of libcurl: the result is an address and a port that accept connections. */
static int by_getaddrinfo(CURL *curl, struct program *program) {
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    sidestep_error *error = NULL;
    char address[SIDESTEP_ADDRESS_SIZE], port[8], connect_to[600];
    snprintf(port, sizeof port, "%u", program->port);
    if (sidestep_bridge_getaddrinfo(program->bridge, program->host, port, &hints, &found, &error)) {
        return report(error);
    }
    if (!getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, port, sizeof port,
                     NI_NUMERICHOST | NI_NUMERICSERV)) {
        snprintf(connect_to, sizeof connect_to, "%s:%u:%s:%s", program->host, program->port, address, port);
        program->list = curl_slist_append(NULL, connect_to);
    }
    sidestep_freeaddrinfo(found);
    return curl_easy_setopt(curl, CURLOPT_CONNECT_TO, program->list) != CURLE_OK;
}

static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
    const struct program *program = data;
    sidestep_error *error = NULL;
    int fd = -1;
    (void)purpose, (void)address;
    if (sidestep_connect(program->mesh, program->host, program->port, SIDESTEP_PROTOCOL_HTTP1, -1, &fd, &error)) {
        report(error);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

static int is_connected(void *data, curl_socket_t fd, curlsocktype purpose) {
    (void)data, (void)fd, (void)purpose;
    return CURL_SOCKOPT_ALREADY_CONNECTED;
}

/* A descriptor of sidestep_connect, without a bridge. libcurl resolves the name first, but does not use the address. */
static int by_descriptor(CURL *curl, struct program *program) {
    char unused[300];
    snprintf(unused, sizeof unused, "%s:%u:127.0.0.1", program->host, program->port);
    program->list = curl_slist_append(NULL, unused);
    return curl_easy_setopt(curl, CURLOPT_RESOLVE, program->list) ||
           curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket) ||
           curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, program) ||
           curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, is_connected);
}

/* Sends one request. */
static int get(struct program *program, const char *way, int (*choose)(CURL *, struct program *)) {
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_FAILED_INIT;
    printf("by %s: ", way);
    fflush(stdout);
    /* Ignore the proxies in the environment. */
    if (curl && !curl_easy_setopt(curl, CURLOPT_PROXY, "") && !curl_easy_setopt(curl, CURLOPT_NOPROXY, "") &&
        !curl_easy_setopt(curl, CURLOPT_URL, program->url) && !curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L) &&
        !curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) && !choose(curl, program)) {
        code = curl_easy_perform(curl);
    }
    puts(code ? curl_easy_strerror(code) : "");
    curl_easy_cleanup(curl);
    curl_slist_free_all(program->list);
    program->list = NULL;
    return code != CURLE_OK;
}

int main(int argc, char **argv) {
    struct program program = {
        .host = argc > 2 ? argv[2] : "forecast.weather",
        .port = argc > 3 ? (uint16_t)atoi(argv[3]) : 3002,
    };
    const unsigned int version = curl_version_info(CURLVERSION_NOW)->version_num;
    sidestep_error *error = NULL;
    int failed = -1;

    if (argc < 2 || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        fprintf(stderr, "usage: %s VM-FILES [HOST PORT [PATH]]\n", argv[0]);
        return EXIT_FAILURE;
    }
    snprintf(program.url, sizeof program.url, "http://%s:%u%s", program.host, program.port, argc > 4 ? argv[4] : "/");
    if (sidestep_join_vm_files(argv[1], &program.mesh, &error) || sidestep_wait_ready(program.mesh, 30000, &error) ||
        sidestep_bridge_start(program.mesh, SIDESTEP_ACCESS_SAME_PROCESS, &program.bridge, &error)) {
        report(error);
    } else {
        failed = get(&program, "http proxy", by_http_proxy) || get(&program, "socks proxy", by_socks_proxy) ||
                 get(&program, "unix socket", by_unix_socket) || get(&program, "getaddrinfo", by_getaddrinfo);
        if (version >> 8 == 0x0758) {
            puts("by descriptor: skipped, because libcurl 7.88 does not accept connected descriptors; other versions do");
        } else if (!failed) {
            failed = get(&program, "descriptor", by_descriptor);
        }
    }
    sidestep_bridge_free(program.bridge);
    sidestep_mesh_free(program.mesh);
    curl_global_cleanup();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
