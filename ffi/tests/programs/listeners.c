/* The bridge and the DNS server, for clients that accept neither a descriptor nor a resolver. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "check.h"

static void wait_for_completion(sidestep_queue *queue) {
    struct pollfd waited = {.fd = sidestep_queue_fd(queue), .events = POLLIN};
    CHECK(poll(&waited, 1, TIMEOUT) == 1);
}

static sidestep_completion fetch(sidestep_queue *queue) {
    sidestep_completion completion;
    wait_for_completion(queue);
    WORKS(sidestep_queue_next(queue, &completion, sizeof completion, &error));
    return completion;
}

static const char request[] = "GET / HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n";

/* Sends a request, and checks the response. */
static void request_over(int fd, const char *text) {
    char answer[8192];
    send_all(fd, text);
    receive_all(fd, answer, sizeof answer);
    CHECK(strncmp(answer, "HTTP/1.1 200", 12) == 0);
    CHECK(strstr(answer, "spiffe://cluster.local/ns/vms/sa/edge-app") != NULL);
    CHECK(close(fd) == 0);
}

static int connected_to(const char *address, uint16_t port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && inet_pton(AF_INET, address, &name.sin_addr) == 1);
    CHECK(connect(fd, (const struct sockaddr *)&name, sizeof name) == 0);
    return fd;
}

static void proxy(sidestep_bridge *bridge) {
    const char *url = sidestep_bridge_http_url(bridge);
    unsigned port = 0;
    CHECK(strncmp(url, "http://sidestep:", 16) == 0);
    CHECK(strncmp(sidestep_bridge_socks_url(bridge), "socks5h://sidestep:", 19) == 0);
    CHECK(sscanf(strrchr(url, ':'), ":%u", &port) == 1);
    request_over(connected_to("127.0.0.1", (uint16_t)port),
                 "GET http://forecast.weather:3002/ HTTP/1.1\r\nHost: forecast.weather:3002\r\nConnection: close\r\n\r\n");
}

static void unix_socket(sidestep_bridge *bridge, const char *folder) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    CHECK((size_t)snprintf(name.sun_path, sizeof name.sun_path, "%s/forecast", folder) < sizeof name.sun_path);
    WORKS(sidestep_bridge_listen_unix(bridge, name.sun_path, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, &error));
    FAILS(SIDESTEP_E_LISTEN, sidestep_bridge_listen_unix(bridge, name.sun_path, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, &error));
    FAILS(SIDESTEP_E_LISTEN, sidestep_bridge_listen_unix(bridge, "/no/such/folder/socket", FORECAST, 3002, 0, &error));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (const struct sockaddr *)&name, sizeof name) == 0);
    request_over(fd, request);
    WORKS(sidestep_bridge_listen_postgres(bridge, folder, LEDGER, 5432, &error));
    CHECK((size_t)snprintf(name.sun_path, sizeof name.sun_path, "%s/.s.PGSQL.5432", folder) < sizeof name.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (const struct sockaddr *)&name, sizeof name) == 0);
    CHECK(close(fd) == 0);
}

static void local(sidestep_bridge *bridge) {
    char address[SIDESTEP_ADDRESS_SIZE], again[SIDESTEP_ADDRESS_SIZE];
    uint16_t port = 0, same = 0;
    WORKS(sidestep_bridge_listen_local(bridge, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, address, &port, &error));
    CHECK(strncmp(address, "127.", 4) == 0 && port != 0);
    WORKS(sidestep_bridge_listen_local(bridge, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, again, &same, &error));
    CHECK(strcmp(address, again) == 0 && port == same);
    request_over(connected_to(address, port), request);
    port = 17;
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_bridge_listen_local(bridge, FORECAST, 3002, 0, address, &port, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_bridge_listen_local(bridge, FORECAST, 3002, 0, NULL, &same, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_bridge_listen_local(bridge, FORECAST, 3002, 0, address, NULL, &error));
}

/* Name resolution to addresses that accept connections. */
static void lookup(sidestep_mesh *mesh, sidestep_bridge *bridge) {
    struct addrinfo *list = NULL, *again = NULL;
    struct addrinfo hints = {.ai_family = AF_INET6, .ai_socktype = SOCK_STREAM, .ai_flags = AI_V4MAPPED | AI_CANONNAME};
    sidestep_queue *queue = NULL;
    sidestep_completion completion;
    CHECK(sidestep_bridge_getaddrinfo(bridge, FORECAST, "3002", NULL, &list, NULL) == 0);
    CHECK(list->ai_family == AF_INET && list->ai_socktype == SOCK_STREAM && list->ai_next == NULL);
    int fd = socket(list->ai_family, list->ai_socktype, list->ai_protocol);
    CHECK(connect(fd, list->ai_addr, list->ai_addrlen) == 0);
    request_over(fd, request);
    CHECK(sidestep_bridge_getaddrinfo(bridge, "forecast.weather.svc.cluster.local.", "3002", NULL, &again, NULL) == 0);
    CHECK(memcmp(list->ai_addr, again->ai_addr, list->ai_addrlen) == 0);
    sidestep_freeaddrinfo(again);
    sidestep_freeaddrinfo(list);

    CHECK(sidestep_bridge_getaddrinfo(bridge, FORECAST, "3002", &hints, &list, NULL) == 0);
    CHECK(strcmp(list->ai_canonname, "forecast.weather.svc.cluster.local") == 0);
    fd = socket(list->ai_family, list->ai_socktype, list->ai_protocol);
    CHECK(connect(fd, list->ai_addr, list->ai_addrlen) == 0);
    request_over(fd, request);
    sidestep_freeaddrinfo(list);

    /* Names and addresses outside the mesh are not changed. */
    CHECK(sidestep_bridge_getaddrinfo(bridge, "192.0.2.7", "80", NULL, &list, NULL) == 0);
    sidestep_freeaddrinfo(list);
    CHECK(sidestep_bridge_getaddrinfo(bridge, "intranet.example.com", NULL, NULL, &list, NULL) == 0);
    CHECK(ntohs(((struct sockaddr_in *)(void *)list->ai_addr)->sin_port) == 0);
    sidestep_freeaddrinfo(list);
    CHECK(sidestep_bridge_getaddrinfo(bridge, "nobody.example.com", "80", NULL, &list, NULL) == EAI_NONAME);

    /* A listener is for one port and for stream sockets. */
    CHECK(sidestep_bridge_getaddrinfo(bridge, FORECAST, NULL, NULL, &list, NULL) == EAI_SERVICE && list == NULL);
    CHECK(sidestep_bridge_getaddrinfo(bridge, FORECAST, "81", NULL, &list, NULL) == EAI_SERVICE);
    hints = (struct addrinfo){.ai_socktype = SOCK_DGRAM};
    CHECK(sidestep_bridge_getaddrinfo(bridge, FORECAST, "3002", &hints, &list, NULL) == EAI_SOCKTYPE);
    hints = (struct addrinfo){.ai_family = AF_INET6};
    CHECK(sidestep_bridge_getaddrinfo(bridge, FORECAST, "3002", &hints, &list, NULL) == EAI_NODATA);

    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_queue_bridge_getaddrinfo(queue, bridge, FORECAST, "3002", NULL, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.addresses->ai_family == AF_INET);
    sidestep_freeaddrinfo(completion.addresses);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
}

/* Sends a query for the A record of forecast.weather.svc.cluster.local, and checks the address in the answer. */
static void query(sidestep_dns *listener, const char *expected) {
    static const uint8_t query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
                                   "\x08" "forecast" "\x07" "weather" "\x03" "svc" "\x07" "cluster" "\x05" "local" "\x00"
                                   "\x00\x01\x00\x01";
    uint8_t answer[512];
    char text[INET_ADDRSTRLEN];
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(sidestep_dns_port(listener))};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(connect(fd, (const struct sockaddr *)&name, sizeof name) == 0);
    CHECK(send(fd, query, sizeof query - 1, 0) == (ssize_t)sizeof query - 1);
    struct pollfd waited = {.fd = fd, .events = POLLIN};
    CHECK(poll(&waited, 1, TIMEOUT) == 1);
    ssize_t length = recv(fd, answer, sizeof answer, 0);
    CHECK(length >= (ssize_t)sizeof query - 1 + 16);
    CHECK(answer[7] == 1);
    const char *address = inet_ntop(AF_INET, answer + sizeof query - 1 + 12, text, sizeof text);
    CHECK(strncmp(address, expected, strlen(expected)) == 0);
    CHECK(close(fd) == 0);
}

static void dns(sidestep_mesh *mesh, sidestep_bridge *bridge, const char *expected) {
    sidestep_dns *listener = NULL;
    WORKS(sidestep_dns_start(mesh, "127.0.0.1:0", bridge, &listener, &error));
    query(listener, expected);
    CHECK(sidestep_dns_free(listener) == SIDESTEP_OK);
    CHECK(sidestep_dns_free(listener) == SIDESTEP_E_BAD_HANDLE);
}

/* The same listeners, started by a queue. */
static void queued(sidestep_mesh *mesh, const char *folder) {
    sidestep_queue *queue = NULL;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char path[128];
    CHECK((size_t)snprintf(path, sizeof path, "%s/queued", folder) < sizeof path);
    CHECK((size_t)snprintf(name.sun_path, sizeof name.sun_path, "%s", path) < sizeof name.sun_path);
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_queue_bridge_start(queue, SIDESTEP_ACCESS_SAME_PROCESS, NULL, NULL, &error));
    sidestep_completion completion = fetch(queue);
    sidestep_bridge *bridge = completion.bridge;
    CHECK(completion.status == SIDESTEP_OK && bridge != NULL);
    proxy(bridge);

    WORKS(sidestep_queue_bridge_listen_unix(queue, bridge, path, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, NULL, NULL,
                                            &error));
    CHECK(fetch(queue).status == SIDESTEP_OK);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (const struct sockaddr *)&name, sizeof name) == 0);
    request_over(fd, request);
    WORKS(sidestep_queue_bridge_listen_postgres(queue, bridge, "/no/such/folder", LEDGER, 5432, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_E_LISTEN && sidestep_error_free(completion.error) == SIDESTEP_OK);

    WORKS(sidestep_queue_bridge_listen_local(queue, bridge, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, 0, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.addresses->ai_next == NULL);
    const struct addrinfo *local = completion.addresses;
    fd = socket(local->ai_family, local->ai_socktype, local->ai_protocol);
    CHECK(connect(fd, local->ai_addr, local->ai_addrlen) == 0);
    request_over(fd, request);
    sidestep_freeaddrinfo(completion.addresses);

    WORKS(sidestep_queue_dns_start(queue, "127.0.0.1:0", bridge, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && sidestep_dns_port(completion.dns) != 0);
    query(completion.dns, "127.");
    CHECK(sidestep_dns_free(completion.dns) == SIDESTEP_OK);

    /* A completion fails if the bridge of the DNS server was freed before it is fetched. */
    WORKS(sidestep_queue_dns_start(queue, "127.0.0.1:0", bridge, NULL, NULL, &error));
    wait_for_completion(queue);
    CHECK(sidestep_bridge_free(bridge) == SIDESTEP_OK);
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_E_BAD_HANDLE && completion.dns == NULL);
    CHECK(sidestep_error_free(completion.error) == SIDESTEP_OK);

    /* Freed with a bridge and a DNS server that are not fetched. */
    WORKS(sidestep_queue_bridge_start(queue, SIDESTEP_ACCESS_SAME_PROCESS, NULL, NULL, &error));
    WORKS(sidestep_queue_dns_start(queue, "127.0.0.1:0", NULL, NULL, NULL, &error));
    wait_for_completion(queue);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    sidestep_mesh *mesh = join(arguments);
    sidestep_bridge *bridge = NULL;
    sidestep_dns *listener = NULL;
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_bridge_start(mesh, 7, &bridge, &error));
    WORKS(sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error));
    proxy(bridge);
    unix_socket(bridge, arguments[3]);
    local(bridge);
    lookup(mesh, bridge);
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_dns_start(mesh, "localhost", NULL, &listener, &error));
    FAILS(SIDESTEP_E_LISTEN, sidestep_dns_start(mesh, "192.0.2.1:53", NULL, &listener, &error));
    dns(mesh, NULL, "10.1.0.20");
    dns(mesh, bridge, "127.");
    queued(mesh, arguments[3]);
    /* A bridge works after its mesh is freed. */
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    proxy(bridge);
    CHECK(sidestep_bridge_free(bridge) == SIDESTEP_OK);
    return 0;
}
