/* lookup mesh|system NODE SERVICE|- SOCKTYPE CALLS: CPU time of this thread per lookup, including freeing the list, in
   ns. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "client.h"

struct figures lookup(const struct service *service, const char *arguments) {
    char who[16], node[256], port[16];
    int type = 0;
    long calls = 0;
    if (sscanf(arguments, "%15s %255s %15s %d %ld", who, node, port, &type, &calls) != 5) {
        return failed("lookup: arguments", NULL);
    }
    struct addrinfo hints = {.ai_socktype = type};
    const struct addrinfo *given = type ? &hints : NULL;
    const char *number = strcmp(port, "-") ? port : NULL;
    int mesh = strcmp(who, "mesh") == 0;
    double start = now(CLOCK_THREAD_CPUTIME_ID);
    for (long call = 0; call < calls; call++) {
        struct addrinfo *list = NULL;
        int code = mesh ? sidestep_getaddrinfo(service->mesh, node, number, given, &list, NULL)
                        : getaddrinfo(node, number, given, &list);
        if (code != 0 || list == NULL) {
            return failed(gai_strerror(code), NULL);
        }
        if (mesh) {
            sidestep_freeaddrinfo(list);
        } else {
            freeaddrinfo(list);
        }
    }
    return (struct figures){1, {(now(CLOCK_THREAD_CPUTIME_ID) - start) / (double)calls}};
}
