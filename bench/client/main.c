/* Runs commands from standard input, one per line, and prints figures, one line each. Arguments: VM files, host, port.
   */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

static const struct command {
    const char *name;
    struct figures (*run)(const struct service *, const char *);
} COMMANDS[] = {
    {"lookup", lookup}, {"establish", establish}, {"request", request}, {"transfer", transfer}, {"hold", hold},
};

struct figures failed(const char *what, sidestep_error *error) {
    printf("failed %s: %s\n", what, error ? sidestep_error_message(error) : "see errno");
    sidestep_error_free(error);
    return (struct figures){.count = -1};
}

static struct figures run(const struct service *service, char *line) {
    line[strcspn(line, "\n")] = 0;
    size_t name = strcspn(line, " ");
    const char *arguments = line + name + strspn(line + name, " ");
    for (size_t at = 0; at < sizeof COMMANDS / sizeof *COMMANDS; at++) {
        if (strlen(COMMANDS[at].name) == name && memcmp(COMMANDS[at].name, line, name) == 0) {
            return COMMANDS[at].run(service, arguments);
        }
    }
    return failed("unknown command", NULL);
}

int main(int count, char **arguments) {
    if (count != 4) {
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct service service = {NULL, arguments[2], (uint16_t)atoi(arguments[3])};
    sidestep_error *error = NULL;
    if (sidestep_join_vm_files(arguments[1], &service.mesh, &error) ||
        sidestep_wait_ready(service.mesh, 60000, &error)) {
        failed("join", error);
        return 1;
    }
    printf("ok\n");
    char line[512];
    while (fgets(line, sizeof line, stdin)) {
        struct figures figures = run(&service, line);
        if (figures.count < 0) {
            continue;
        }
        printf("ok");
        for (int at = 0; at < figures.count; at++) {
            printf(" %.6f", figures.of[at]);
        }
        printf("\n");
    }
    sidestep_mesh_free(service.mesh);
    return 0;
}
