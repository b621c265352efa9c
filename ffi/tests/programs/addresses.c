/* sidestep_getaddrinfo: it returns the same as the system's function for IP addresses, and it resolves mesh names. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "check.h"

static int same(const struct addrinfo *ours, const struct addrinfo *theirs) {
    for (; ours && theirs; ours = ours->ai_next, theirs = theirs->ai_next) {
        if (ours->ai_family != theirs->ai_family || ours->ai_socktype != theirs->ai_socktype ||
            ours->ai_protocol != theirs->ai_protocol || ours->ai_addrlen != theirs->ai_addrlen ||
            memcmp(ours->ai_addr, theirs->ai_addr, ours->ai_addrlen) != 0 ||
            (ours->ai_canonname == NULL) != (theirs->ai_canonname == NULL) ||
            (ours->ai_canonname && strcmp(ours->ai_canonname, theirs->ai_canonname) != 0)) {
            return 0;
        }
    }
    return ours == NULL && theirs == NULL;
}

/* Compares two lists without their addresses. */
static int same_sockets(const struct addrinfo *ours, const struct addrinfo *theirs) {
    for (; ours && theirs; ours = ours->ai_next, theirs = theirs->ai_next) {
        const struct sockaddr_in *our = (const void *)ours->ai_addr, *their = (const void *)theirs->ai_addr;
        if (ours->ai_socktype != theirs->ai_socktype || ours->ai_protocol != theirs->ai_protocol ||
            our->sin_port != their->sin_port) {
            return 0;
        }
    }
    return ours == NULL && theirs == NULL;
}

static void equals_the_systems_function(sidestep_mesh *mesh) {
    static const char *const nodes[] = {"127.0.0.1", "10.1.0.20", "::1", "2001:db8::1", "::ffff:192.0.2.1"};
    static const char *const services[] = {NULL, "0", "80", "65535", "65536", "http", "domain", "no-such-service", "", "-1", " 80"};
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX, 77};
    static const int types[] = {0, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, 77};
    static const int protocols[] = {0, IPPROTO_TCP, IPPROTO_UDP, 132};
    static const int flags[] = {0, AI_CANONNAME, AI_NUMERICHOST, AI_NUMERICSERV, AI_PASSIVE, AI_V4MAPPED, AI_V4MAPPED | AI_ALL, 0x8000};
    int compared = 0, different = 0;
    for (size_t n = 0; n < sizeof nodes / sizeof *nodes; n++)
        for (size_t s = 0; s < sizeof services / sizeof *services; s++)
            for (size_t f = 0; f < sizeof families / sizeof *families; f++)
                for (size_t t = 0; t < sizeof types / sizeof *types; t++)
                    for (size_t p = 0; p < sizeof protocols / sizeof *protocols; p++)
                        for (size_t g = 0; g < sizeof flags / sizeof *flags; g++) {
                            struct addrinfo hints = {.ai_flags = flags[g], .ai_family = families[f], .ai_socktype = types[t], .ai_protocol = protocols[p]};
                            struct addrinfo *ours = NULL, *theirs = NULL;
                            int our = sidestep_getaddrinfo(mesh, nodes[n], services[s], &hints, &ours, NULL);
                            int their = getaddrinfo(nodes[n], services[s], &hints, &theirs);
                            if (our != their || (our == 0 && !same(ours, theirs))) {
                                fprintf(stderr, "%s %s family %d type %d protocol %d flags %x: %d, not %d\n", nodes[n],
                                        services[s] ? services[s] : "-", families[f], types[t], protocols[p],
                                        (unsigned)flags[g], our, their);
                                different++;
                            }
                            /* A mesh name has the same socket types and protocols as an IPv4 address. */
                            if (n == 0 && families[f] != AF_INET6 && flags[g] != AI_NUMERICHOST && flags[g] != AI_CANONNAME) {
                                struct addrinfo *named = NULL;
                                int code = sidestep_getaddrinfo(mesh, FORECAST, services[s], &hints, &named, NULL);
                                if (code != their || (code == 0 && !same_sockets(named, theirs))) {
                                    fprintf(stderr, "%s %s family %d type %d protocol %d flags %x: %d, not %d\n", FORECAST,
                                            services[s] ? services[s] : "-", families[f], types[t], protocols[p],
                                            (unsigned)flags[g], code, their);
                                    different++;
                                }
                                sidestep_freeaddrinfo(named);
                            }
                            sidestep_freeaddrinfo(ours);
                            if (their == 0) {
                                freeaddrinfo(theirs);
                            }
                            compared++;
                        }
    CHECK(different == 0);
    CHECK(compared > 5000);
}

static void resolves_names(sidestep_mesh *mesh) {
    struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME};
    char text[INET6_ADDRSTRLEN];

    CHECK(sidestep_getaddrinfo(mesh, "Forecast.Weather.", "3002", &hints, &list, NULL) == 0);
    CHECK(list->ai_family == AF_INET && list->ai_next == NULL);
    const struct sockaddr_in *v4 = (const void *)list->ai_addr;
    CHECK(strcmp(inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text), "10.1.0.20") == 0);
    CHECK(ntohs(v4->sin_port) == 3002);
    CHECK(strcmp(list->ai_canonname, "forecast.weather.svc.cluster.local") == 0);
    sidestep_freeaddrinfo(list);

    /* The name has no IPv6 address. AI_V4MAPPED maps its IPv4 address. */
    hints.ai_family = AF_INET6;
    CHECK(sidestep_getaddrinfo(mesh, FORECAST, "3002", &hints, &list, NULL) == EAI_NODATA);
    CHECK(list == NULL);
    hints.ai_flags = AI_V4MAPPED;
    CHECK(sidestep_getaddrinfo(mesh, FORECAST, "3002", &hints, &list, NULL) == 0);
    const struct sockaddr_in6 *v6 = (const void *)list->ai_addr;
    CHECK(strcmp(inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text), "::ffff:10.1.0.20") == 0);
    sidestep_freeaddrinfo(list);

    /* A mesh name is not an IP address. */
    hints = (struct addrinfo){.ai_flags = AI_NUMERICHOST};
    CHECK(sidestep_getaddrinfo(mesh, FORECAST, NULL, &hints, &list, NULL) == EAI_NONAME);

    /* A name outside the mesh, and a name that does not exist. The error object has details. */
    CHECK(sidestep_getaddrinfo(mesh, "intranet.example.com", "443", NULL, &list, NULL) == 0);
    v4 = (const void *)list->ai_addr;
    CHECK(strcmp(inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text), "192.0.2.10") == 0);
    sidestep_freeaddrinfo(list);
    sidestep_error *error = NULL;
    CHECK(sidestep_getaddrinfo(mesh, "nobody.example.com", NULL, NULL, &list, &error) == EAI_NONAME);
    CHECK(sidestep_error_status(error) == SIDESTEP_E_UNKNOWN_HOST);
    CHECK(strstr(sidestep_error_message(error), "nobody.example.com") != NULL);
    CHECK(sidestep_error_free(error) == SIDESTEP_OK);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    sidestep_mesh *mesh = join(arguments);
    resolves_names(mesh);
    equals_the_systems_function(mesh);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return 0;
}
