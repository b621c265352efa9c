/* Around the calls that tests/suite/arguments.rs makes from the header: what their arguments are. */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include "check.h"

/* One handle of each kind. */
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

/* Texts, each by the name of its argument. */
static const char good_key[] = "mtls", good_value[] = "required", good_folder[] = "/no/such/folder";
static const char good_path[] = "/no/such/folder/socket", good_host[] = FORECAST, good_node[] = FORECAST;
static const char good_service[] = "3002";
static char good_address[SIDESTEP_ADDRESS_SIZE] = "127.0.0.1:0";
static char endless[1 << 20];

static char in_data, *on_heap;
static uint8_t buffer[64];
static sidestep_completion completion;

/* What calls tell beside their status: each is set to something before, and to nothing by a call that fails. */
static struct {
    void *handle;
    int32_t fd;
    size_t count;
    uint64_t operation;
    uint16_t port;
} told;

static void *poisoned(void) {
    told.handle = &told;
    return &told.handle;
}

static int nothing(void) {
    int all = (told.handle == NULL || told.handle == &told) && told.fd <= 0 && told.count == 0 && told.operation == 0;
    told.handle = NULL;
    return all;
}

static void refused(int line, const char *call, sidestep_status expected, sidestep_status got, sidestep_error *error) {
    if (got != expected || sidestep_error_code(error) != expected || !nothing()) {
        fprintf(stderr, "line %d: %s\n  %d instead of %d: %s\n", line, call, (int)got, (int)expected,
                error ? sidestep_error_message(error) : "no error");
        exit(1);
    }
    CHECK(strlen(sidestep_error_message(error)) > 0 && strlen(sidestep_error_next_step(error)) > 0);
    CHECK(sidestep_error_free(error) == SIDESTEP_OK);
}

/* A call that refuses an argument, with a place for the error and without. */
#define REFUSES(expected, with_error, without)                                                               \
    do {                                                                                                     \
        sidestep_error *error = NULL;                                                                        \
        sidestep_status got = (with_error);                                                                  \
        refused(__LINE__, #with_error, expected, got, error);                                                \
        CHECK((without) == (expected) && nothing());                                                         \
    } while (0)

/* A lookup answers by an EAI_ code, and the error object by ours. */
#define LOOKUP_REFUSES(expected, call)                                                                       \
    do {                                                                                                     \
        sidestep_error *error = NULL;                                                                        \
        CHECK((call) != 0);                                                                                  \
        refused(__LINE__, #call, expected, sidestep_error_code(error), error);                               \
    } while (0)

static void take(void *user_data, int32_t level, const char *line) {
    (void)user_data;
    (void)level;
    (void)line;
}

static struct handles made(char **arguments) {
    struct handles all = {0};
    all.settings = settings_of(arguments);
    all.mesh = join(arguments);
    WORKS(sidestep_queue_new(all.mesh, &all.queue, &error));
    WORKS(sidestep_bridge_start(all.mesh, SIDESTEP_ACCESS_SAME_PROCESS, &all.bridge, &error));
    WORKS(sidestep_dns_start(all.mesh, "127.0.0.1:0", NULL, &all.dns, &error));
    WORKS(sidestep_stream_connect(all.mesh, LEDGER, 5432, 0, PATIENCE, &all.stream, &error));
    WORKS(sidestep_stream_info(all.stream, &all.info, &error));
    WORKS(sidestep_health(all.mesh, &all.text, &error));
    CHECK(sidestep_wait_ready(NULL, 0, &all.error) == SIDESTEP_NULL_POINTER);
    return all;
}

static void let_go(const struct handles *all) {
    CHECK(sidestep_settings_free(all->settings) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(all->queue) == SIDESTEP_OK);
    CHECK(sidestep_bridge_free(all->bridge) == SIDESTEP_OK);
    CHECK(sidestep_dns_free(all->dns) == SIDESTEP_OK);
    CHECK(sidestep_stream_close(all->stream) == SIDESTEP_OK);
    CHECK(sidestep_info_free(all->info) == SIDESTEP_OK);
    CHECK(sidestep_text_free(all->text) == SIDESTEP_OK);
    CHECK(sidestep_error_free(all->error) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(all->mesh) == SIDESTEP_OK);
}

static void begin(char **arguments) {
    memset(endless, 'e', sizeof endless - 1);
    on_heap = malloc(64);
    freed = made(arguments);
    let_go(&freed);
    live = made(arguments);
}

/* Whatever was asked of them, the handles are as they were. */
static void end(void) {
    let_go(&live);
    free(on_heap);
}

#endif
