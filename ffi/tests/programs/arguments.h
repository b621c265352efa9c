/* The arguments and helpers of the program that tests/suite/arguments.rs generates from the header. */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include <limits.h>

#include "check.h"

/* One handle of each type. */
struct handles {
    sidestep_settings *settings;
    sidestep_mesh *mesh;
    sidestep_queue *queue;
    sidestep_bridge *bridge;
    sidestep_dns *dns;
    sidestep_stream *stream;
    sidestep_info *info;
    sidestep_text *text;
    sidestep_error *error;
};

static struct handles live, freed;

/* Valid texts, named after their arguments. */
static const char good_key[] = "mtls", good_value[] = "required", good_folder[] = "/no/such/folder";
static const char good_path[] = "/no/such/folder/socket", good_host[] = FORECAST, good_node[] = FORECAST;
static const char good_service[] = "3002";
static char good_address[SIDESTEP_ADDRESS_SIZE] = "127.0.0.1:0";
static char endless[1 << 20];

static char in_data, *on_heap;
static uint8_t buffer[64];
static sidestep_completion completion;

/* The outputs. They have a value before each call, and a call that fails must reset them. */
static struct {
    void *handle;
    int fd;
    size_t count;
    uint64_t operation;
    uint16_t port;
} outputs;

/* Returns an output pointer to an invalid handle, which a call must overwrite. */
static void *poisoned(void) {
    outputs.handle = &outputs;
    return &outputs.handle;
}

static int is_reset(void) {
    int reset = (outputs.handle == NULL || outputs.handle == &outputs) && outputs.fd <= 0 && outputs.count == 0 && outputs.operation == 0;
    outputs.handle = NULL;
    return reset;
}

static void check_failure(int line, const char *call, sidestep_status expected, sidestep_status got, sidestep_error *error) {
    if (got != expected || sidestep_error_status(error) != expected || !is_reset()) {
        fprintf(stderr, "line %d: %s\n  %s instead of %s: %s\n", line, call, sidestep_status_name(got),
                sidestep_status_name(expected), error ? sidestep_error_message(error) : "no error");
        exit(1);
    }
    CHECK(strlen(sidestep_error_message(error)) > 0 && strlen(sidestep_error_next_step(error)) > 0);
    CHECK(sidestep_error_free(error) == SIDESTEP_OK);
}

/* Checks a call that fails, with an output for the error and without one. */
#define REFUSES(expected, with_error, without)                                                               \
    do {                                                                                                     \
        sidestep_error *error = NULL;                                                                        \
        sidestep_status got = (with_error);                                                                  \
        check_failure(__LINE__, #with_error, expected, got, error);                                          \
        CHECK((without) == (expected) && is_reset());                                                        \
    } while (0)

/* Checks a name resolution that fails. It returns an EAI_ code; the error object has the status. */
#define LOOKUP_REFUSES(expected, call)                                                                       \
    do {                                                                                                     \
        sidestep_error *error = NULL;                                                                        \
        CHECK((call) != 0);                                                                                  \
        check_failure(__LINE__, #call, expected, sidestep_error_status(error), error);                       \
    } while (0)

static void take(void *user_data, int32_t level, const char *line) {
    (void)user_data;
    (void)level;
    (void)line;
}

static struct handles create_all(char **arguments) {
    struct handles all = {0};
    all.settings = settings_of(arguments);
    all.mesh = join(arguments);
    WORKS(sidestep_queue_new(all.mesh, &all.queue, &error));
    WORKS(sidestep_bridge_start(all.mesh, SIDESTEP_ACCESS_SAME_PROCESS, &all.bridge, &error));
    WORKS(sidestep_dns_start(all.mesh, "127.0.0.1:0", NULL, &all.dns, &error));
    WORKS(sidestep_stream_connect(all.mesh, LEDGER, 5432, 0, TIMEOUT, &all.stream, &error));
    WORKS(sidestep_stream_info(all.stream, &all.info, &error));
    WORKS(sidestep_health(all.mesh, &all.text, &error));
    CHECK(sidestep_wait_ready(NULL, 0, &all.error) == SIDESTEP_E_NULL_POINTER);
    return all;
}

static void free_all(const struct handles *all) {
    CHECK(sidestep_settings_free(all->settings) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(all->queue) == SIDESTEP_OK);
    CHECK(sidestep_bridge_free(all->bridge) == SIDESTEP_OK);
    CHECK(sidestep_dns_free(all->dns) == SIDESTEP_OK);
    CHECK(sidestep_stream_free(all->stream) == SIDESTEP_OK);
    CHECK(sidestep_info_free(all->info) == SIDESTEP_OK);
    CHECK(sidestep_text_free(all->text) == SIDESTEP_OK);
    CHECK(sidestep_error_free(all->error) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(all->mesh) == SIDESTEP_OK);
}

static void begin(char **arguments) {
    memset(endless, 'e', sizeof endless - 1);
    on_heap = malloc(64);
    freed = create_all(arguments);
    free_all(&freed);
    live = create_all(arguments);
}

/* The handles are still valid after all calls that failed. */
static void end(void) {
    free_all(&live);
    free(on_heap);
}

#endif
