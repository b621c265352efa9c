/* Invalid arguments and handles give a status, and never a crash. */
#include <pthread.h>

#include "check.h"

static void nulls(sidestep_mesh *mesh) {
    sidestep_settings *settings = NULL;
    sidestep_mesh *joined = NULL;
    sidestep_queue *queue = NULL;
    sidestep_text *text = NULL;
    sidestep_info *info = NULL;
    struct addrinfo *list = NULL;
    int fd = 7;

    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_settings_new(NULL, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_settings_set(NULL, "mtls", "required", &error));
    WORKS(sidestep_settings_new(&settings, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_settings_set(settings, NULL, "required", &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_settings_set(settings, "mtls", NULL, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_join(NULL, &joined, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_join(settings, NULL, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_join_vm_files(NULL, &joined, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_wait_ready(NULL, 0, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_shutdown(NULL, 0, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_health(mesh, NULL, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_metrics(NULL, &text, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_explain(mesh, NULL, 1, 0, &text, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_connect(NULL, FORECAST, 3002, 0, -1, &fd, &error));
    CHECK(fd == -1);
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_connect(mesh, NULL, 3002, 0, -1, &fd, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_connect(mesh, FORECAST, 3002, 0, -1, NULL, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_connection_info(NULL, 0, &info, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_stream_read(NULL, NULL, 0, 0, NULL, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_queue_new(mesh, NULL, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_queue_new(NULL, &queue, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_bridge_start(NULL, 0, NULL, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_dns_start(mesh, "127.0.0.1:0", NULL, NULL, &error));
    CHECK(sidestep_getaddrinfo(NULL, FORECAST, NULL, NULL, &list, NULL) == EAI_FAIL);
    CHECK(sidestep_getaddrinfo(mesh, FORECAST, NULL, NULL, NULL, NULL) == EAI_FAIL);
    CHECK(sidestep_getaddrinfo(mesh, NULL, "80", NULL, &list, NULL) == EAI_NONAME);
    CHECK(list == NULL);

    /* Without an output for the error, the status is the same. */
    CHECK(sidestep_connect(NULL, NULL, 0, 0, 0, NULL, NULL) == SIDESTEP_E_NULL_POINTER);

    /* NULL may be freed. */
    CHECK(sidestep_mesh_free(NULL) == SIDESTEP_OK);
    CHECK(sidestep_error_free(NULL) == SIDESTEP_OK);
    CHECK(sidestep_stream_free(NULL) == SIDESTEP_OK);
    CHECK(sidestep_bridge_free(NULL) == SIDESTEP_OK);
    sidestep_freeaddrinfo(NULL);
    CHECK(sidestep_error_message(NULL) == NULL);
    CHECK(sidestep_error_status(NULL) == SIDESTEP_E_BAD_HANDLE && sidestep_error_is_transient(NULL) == 0);
    CHECK(sidestep_text_get(NULL) == NULL);
    CHECK(sidestep_info_get(NULL, SIDESTEP_INFO_PEER) == NULL);
    CHECK(sidestep_queue_fd(NULL) == -1);
    CHECK(sidestep_dns_port(NULL) == 0);
    CHECK(sidestep_bridge_http_url(NULL) == NULL);
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
}

static void handles(char **arguments) {
    sidestep_mesh *mesh = join(arguments);
    sidestep_settings *settings = settings_of(arguments);
    int on_stack = 0, fd = -1;
    char *on_heap = malloc(64);
    sidestep_queue *queue = NULL;

    /* A handle of another type. */
    FAILS(SIDESTEP_E_WRONG_HANDLE, sidestep_wait_ready((const sidestep_mesh *)(const void *)settings, 0, &error));
    CHECK(sidestep_mesh_free((sidestep_mesh *)(void *)settings) == SIDESTEP_E_WRONG_HANDLE);
    WORKS(sidestep_settings_set(settings, "mtls", "required", &error));

    /* Pointers and numbers that are not handles. */
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_wait_ready((const sidestep_mesh *)(const void *)&on_stack, 0, &error));
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_wait_ready((const sidestep_mesh *)(const void *)on_heap, 0, &error));
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_wait_ready((const sidestep_mesh *)1, 0, &error));
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_wait_ready((const sidestep_mesh *)-1, 0, &error));
    free(on_heap);

    /* A handle that is freed twice, and used after it was freed, also when a new handle uses its slot. */
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
    CHECK(sidestep_settings_free(settings) == SIDESTEP_E_BAD_HANDLE);
    sidestep_settings *another = settings_of(arguments);
    CHECK(another != settings);
    CHECK(sidestep_settings_free(settings) == SIDESTEP_E_BAD_HANDLE);
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_settings_set(settings, "mtls", "required", &error));
    CHECK(sidestep_settings_free(another) == SIDESTEP_OK);

    WORKS(sidestep_queue_new(mesh, &queue, &error));
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_E_BAD_HANDLE);
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_connect(mesh, FORECAST, 3002, 0, -1, &fd, &error));
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_E_BAD_HANDLE);
    CHECK(sidestep_queue_fd(queue) == -1);
}

static void texts(sidestep_mesh *mesh) {
    int fd = -1;
    struct addrinfo *list = NULL;
    static char endless[1 << 20];
    char long_name[300], long_label[80];

    memset(endless, 'a', sizeof endless - 1);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    for (size_t at = 10; at < sizeof long_name - 1; at += 10) {
        long_name[at] = '.';
    }
    memset(long_label, 'b', sizeof long_label - 1);
    long_label[sizeof long_label - 1] = 0;

    FAILS(SIDESTEP_E_INVALID_UTF8, sidestep_connect(mesh, "fore\xff" "cast", 3002, 0, -1, &fd, &error));
    FAILS(SIDESTEP_E_INVALID_TARGET, sidestep_connect(mesh, long_name, 3002, 0, -1, &fd, &error));
    FAILS(SIDESTEP_E_INVALID_TARGET, sidestep_connect(mesh, long_label, 3002, 0, -1, &fd, &error));
    FAILS(SIDESTEP_E_INVALID_TARGET, sidestep_connect(mesh, "", 3002, 0, -1, &fd, &error));
    FAILS(SIDESTEP_E_INVALID_TARGET, sidestep_connect(mesh, FORECAST, 0, 0, -1, &fd, &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_connect(mesh, endless, 3002, 0, -1, &fd, &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_connect(mesh, FORECAST, 3002, 3, -1, &fd, &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_connect(mesh, FORECAST, 3002, 0x8000, -1, &fd, &error));
    CHECK(fd == -1);
    CHECK(sidestep_getaddrinfo(mesh, long_name, NULL, NULL, &list, NULL) == EAI_NONAME);
    CHECK(sidestep_getaddrinfo(mesh, endless, NULL, NULL, &list, NULL) == EAI_NONAME);
    CHECK(sidestep_getaddrinfo(mesh, "a\xff", NULL, NULL, &list, NULL) == EAI_NONAME);
    CHECK(sidestep_getaddrinfo(mesh, "", NULL, NULL, &list, NULL) == EAI_NONAME);
    CHECK(list == NULL);
}

/* The longest DNS name has 253 bytes, or 254 with its final dot. */
static void lengths(sidestep_mesh *mesh) {
    static const struct {
        size_t length;
        char last;
        sidestep_status status;
    } names[] = {
        {253, 'a', SIDESTEP_E_UNKNOWN_HOST},   {254, '.', SIDESTEP_E_UNKNOWN_HOST},   {254, 'a', SIDESTEP_E_INVALID_TARGET},
        {255, 'a', SIDESTEP_E_INVALID_TARGET}, {256, 'a', SIDESTEP_E_INVALID_TARGET}, {255, '.', SIDESTEP_E_INVALID_TARGET},
    };
    for (size_t index = 0; index < sizeof names / sizeof *names; index++) {
        struct addrinfo *list = NULL;
        char name[300];
        int fd = -1;
        for (size_t at = 0; at < names[index].length; at++) {
            name[at] = at % 10 == 9 && at + 2 < names[index].length ? '.' : 'a';
        }
        name[names[index].length - 1] = names[index].last;
        name[names[index].length] = 0;
        FAILS(names[index].status, sidestep_connect(mesh, name, 3002, 0, -1, &fd, &error));
        CHECK(sidestep_getaddrinfo(mesh, name, "80", NULL, &list, NULL) == EAI_NONAME && list == NULL);
    }
}

/* A negative timeout is the same as -1, and the largest timeout does not overflow. */
static void times(sidestep_mesh *mesh) {
    static const int64_t forever[] = {INT64_MAX, INT64_MIN, -2};
    for (size_t index = 0; index < sizeof forever / sizeof *forever; index++) {
        const int64_t time = forever[index];
        sidestep_stream *stream = NULL;
        sidestep_queue *queue = NULL;
        size_t count = 0;
        uint8_t byte = 0;
        int fd = -1;
        WORKS(sidestep_wait_ready(mesh, time, &error));
        WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, time, &fd, &error));
        CHECK(close(fd) == 0);
        WORKS(sidestep_stream_connect(mesh, LEDGER, 5432, 0, time, &stream, &error));
        WORKS(sidestep_stream_write(stream, (const uint8_t *)"x\n", 2, time, &count, &error));
        WORKS(sidestep_stream_read(stream, &byte, 1, time, &count, &error));
        WORKS(sidestep_stream_shutdown(stream, time, &error));
        CHECK(sidestep_stream_free(stream) == SIDESTEP_OK);
        WORKS(sidestep_queue_new(mesh, &queue, &error));
        WORKS(sidestep_queue_wait_ready(queue, time, NULL, NULL, &error));
        struct pollfd waited = {.fd = sidestep_queue_fd(queue), .events = POLLIN};
        CHECK(poll(&waited, 1, TIMEOUT) == 1);
        CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    }
    WORKS(sidestep_shutdown(mesh, INT64_MAX, &error));
}

static void settings(char **arguments) {
    sidestep_settings *set = NULL;
    sidestep_mesh *mesh = NULL;
    WORKS(sidestep_settings_new(&set, &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_settings_set(set, "no-such-setting", "1", &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_settings_set(set, "threads", "1000000", &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_settings_set(set, "outbound-traffic-policy", "refused", &error));
    WORKS(sidestep_settings_set(set, "outbound-traffic-policy", "registry-only", &error));
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_settings_log(set, 77, (sidestep_log_fn)abort, NULL, &error));
    /* Empty settings contain no istiod address. */
    FAILS(SIDESTEP_E_CONFIG, sidestep_join(set, &mesh, &error));
    WORKS(sidestep_settings_set(set, "vm-files", "/no/such/folder", &error));
    FAILS(SIDESTEP_E_CONFIG, sidestep_join(set, &mesh, &error));
    CHECK(mesh == NULL);
    CHECK(sidestep_settings_free(set) == SIDESTEP_OK);

    /* No istiod listens on the address: the call fails when its timeout expires. */
    set = settings_of(arguments);
    WORKS(sidestep_settings_set(set, "istiod-address", "127.0.0.1:1", &error));
    WORKS(sidestep_join(set, &mesh, &error));
    FAILS(SIDESTEP_E_TIMEOUT, sidestep_wait_ready(mesh, 0, &error));
    FAILS(SIDESTEP_E_TIMEOUT, sidestep_wait_ready(mesh, 300, &error));
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(sidestep_settings_free(set) == SIDESTEP_OK);
}

static void *free_it(void *mesh) {
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return NULL;
}

/* Another thread frees the mesh during a call, which fails. */
static void freed_during_a_call(char **arguments) {
    sidestep_settings *set = settings_of(arguments);
    sidestep_mesh *mesh = NULL;
    pthread_t other;
    WORKS(sidestep_settings_set(set, "istiod-address", "127.0.0.1:1", &error));
    WORKS(sidestep_join(set, &mesh, &error));
    CHECK(pthread_create(&other, NULL, free_it, mesh) == 0);
    sidestep_status status = sidestep_wait_ready(mesh, 200, NULL);
    CHECK(status == SIDESTEP_E_TIMEOUT || status == SIDESTEP_E_BAD_HANDLE || status == SIDESTEP_E_CLOSED);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(sidestep_settings_free(set) == SIDESTEP_OK);
}

struct shared {
    sidestep_mesh *mesh;
    sidestep_stream *stream;
    sidestep_queue *queue;
};

/* Uses handles until all of them are freed. */
static void *use_them(void *argument) {
    const struct shared *shared = argument;
    sidestep_completion completion;
    sidestep_text *text = NULL;
    uint8_t byte;
    size_t count;
    int left = 3;
    while (left > 0) {
        left = 0;
        sidestep_status status = sidestep_health(shared->mesh, &text, NULL);
        CHECK(status == SIDESTEP_OK || status == SIDESTEP_E_BAD_HANDLE);
        CHECK(sidestep_text_free(text) == SIDESTEP_OK);
        left += status == SIDESTEP_OK;
        status = sidestep_stream_read(shared->stream, &byte, 1, 1, &count, NULL);
        CHECK(status == SIDESTEP_E_TIMEOUT || status == SIDESTEP_E_BAD_HANDLE);
        left += status == SIDESTEP_E_TIMEOUT;
        status = sidestep_queue_next(shared->queue, &completion, sizeof completion, NULL);
        CHECK(status == SIDESTEP_E_AGAIN || status == SIDESTEP_E_BAD_HANDLE);
        left += status == SIDESTEP_E_AGAIN;
    }
    return NULL;
}

static void freed_while_used(char **arguments) {
    for (int round = 0; round < ROUNDS; round++) {
        struct shared shared = {.mesh = join(arguments)};
        pthread_t users[3];
        WORKS(sidestep_stream_connect(shared.mesh, LEDGER, 5432, 0, TIMEOUT, &shared.stream, &error));
        WORKS(sidestep_queue_new(shared.mesh, &shared.queue, &error));
        for (int user = 0; user < 3; user++) {
            CHECK(pthread_create(&users[user], NULL, use_them, &shared) == 0);
        }
        CHECK(sidestep_mesh_free(shared.mesh) == SIDESTEP_OK);
        CHECK(sidestep_stream_free(shared.stream) == SIDESTEP_OK);
        CHECK(sidestep_queue_free(shared.queue) == SIDESTEP_OK);
        for (int user = 0; user < 3; user++) {
            CHECK(pthread_join(users[user], NULL) == 0);
        }
    }
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    CHECK(sidestep_abi_version() == SIDESTEP_ABI_VERSION);
    CHECK(sidestep_version_number() == SIDESTEP_VERSION_NUMBER);
    CHECK(strcmp(sidestep_version(), SIDESTEP_VERSION_STRING) == 0);
    CHECK(strcmp(sidestep_status_name(SIDESTEP_E_TIMEOUT), "SIDESTEP_E_TIMEOUT") == 0);
    CHECK(strcmp(sidestep_status_text(SIDESTEP_E_TIMEOUT), "the timeout expired") == 0);
    CHECK(strlen(sidestep_status_name(4711)) > 0 && strlen(sidestep_status_text(4711)) > 0);
    FAILS(SIDESTEP_E_BAD_HANDLE, sidestep_wait_ready((const sidestep_mesh *)64, 0, &error));

    sidestep_mesh *mesh = join(arguments);
    nulls(mesh);
    texts(mesh);
    lengths(mesh);
    times(mesh);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    handles(arguments);
    settings(arguments);
    freed_during_a_call(arguments);
    freed_while_used(arguments);
    return 0;
}
