/* Operations of a queue, with poll on its descriptor. */
#include "check.h"

#define OPERATIONS 40

static sidestep_completion fetch(sidestep_queue *queue) {
    sidestep_completion completion;
    for (;;) {
        sidestep_error *error = NULL;
        sidestep_status status = sidestep_queue_next(queue, &completion, sizeof completion, &error);
        CHECK(error == NULL);
        if (status == SIDESTEP_OK) {
            return completion;
        }
        CHECK(status == SIDESTEP_E_AGAIN);
        struct pollfd waited = {.fd = sidestep_queue_fd(queue), .events = POLLIN};
        CHECK(poll(&waited, 1, TIMEOUT) == 1 && waited.revents == POLLIN);
    }
}

static void is_empty(sidestep_queue *queue) {
    sidestep_completion completion;
    struct pollfd polled = {.fd = sidestep_queue_fd(queue), .events = POLLIN};
    CHECK(sidestep_queue_next(queue, &completion, sizeof completion, NULL) == SIDESTEP_E_AGAIN);
    CHECK(completion.fd == -1 && completion.error == NULL);
    CHECK(poll(&polled, 1, 0) == 0);
}

/* A stream of a queue is used like any other, also after the queue is freed. */
static void stream(sidestep_mesh *mesh) {
    sidestep_queue *queue = NULL;
    uint64_t operation = 0;
    uint8_t answer[64];
    size_t length = 0;
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_queue_stream_connect(queue, LEDGER, 5432, 0, TIMEOUT, &operation, &operation, &error));
    sidestep_completion completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.operation == operation && completion.fd == -1);
    CHECK(completion.stream != NULL && completion.error == NULL && completion.user_data == &operation);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    WORKS(sidestep_stream_write(completion.stream, (const uint8_t *)"x\n", 2, TIMEOUT, &length, &error));
    WORKS(sidestep_stream_read(completion.stream, answer, sizeof answer, TIMEOUT, &length, &error));
    CHECK(length > 0 && sidestep_stream_free(completion.stream) == SIDESTEP_OK);

    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_queue_stream_connect(queue, FORECAST, 1, 0, TIMEOUT, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_E_UNKNOWN_PORT && completion.stream == NULL);
    CHECK(!sidestep_error_is_transient(completion.error) && sidestep_error_free(completion.error) == SIDESTEP_OK);
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_queue_stream_connect(queue, FORECAST, 3002, SIDESTEP_FLAG_TCP_PAIR,
                                                                     TIMEOUT, NULL, NULL, &error));
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    sidestep_settings *settings = settings_of(arguments);
    sidestep_mesh *mesh = NULL;
    sidestep_queue *queue = NULL;
    sidestep_completion completion;
    int numbers[OPERATIONS], seen[OPERATIONS] = {0};
    uint64_t operation = 0;

    WORKS(sidestep_join(settings, &mesh, &error));
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    is_empty(queue);

    WORKS(sidestep_queue_wait_ready(queue, TIMEOUT, &completion, &operation, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.user_data == &completion && completion.operation == operation);
    is_empty(queue);

    /* Each operation has exactly one completion, with its own user_data. */
    for (int index = 0; index < OPERATIONS; index++) {
        numbers[index] = index;
        WORKS(sidestep_queue_connect(queue, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, TIMEOUT, &numbers[index], NULL, &error));
    }
    for (int index = 0; index < OPERATIONS; index++) {
        char answer[4096];
        completion = fetch(queue);
        CHECK(completion.status == SIDESTEP_OK && completion.fd >= 0 && completion.error == NULL);
        CHECK(seen[*(int *)completion.user_data]++ == 0);
        send_all(completion.fd, "GET / HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n");
        receive_all(completion.fd, answer, sizeof answer);
        CHECK(strncmp(answer, "HTTP/1.1 200", 12) == 0);
        CHECK(close(completion.fd) == 0);
    }
    is_empty(queue);

    WORKS(sidestep_queue_getaddrinfo(queue, FORECAST, "3002", NULL, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.eai == 0 && completion.addresses->ai_family == AF_INET);
    sidestep_freeaddrinfo(completion.addresses);
    WORKS(sidestep_queue_getaddrinfo(queue, "nobody.example.com", NULL, NULL, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_E_UNKNOWN_HOST && completion.eai == EAI_NONAME && completion.addresses == NULL);
    CHECK(sidestep_error_free(completion.error) == SIDESTEP_OK);
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_queue_getaddrinfo(queue, NULL, NULL, NULL, NULL, NULL, &error));

    WORKS(sidestep_queue_explain(queue, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.error == NULL);
    CHECK(strstr(sidestep_text_get(completion.text), "outbound_.3002_._.forecast.weather.svc.cluster.local") != NULL);
    CHECK(sidestep_text_free(completion.text) == SIDESTEP_OK);
    FAILS(SIDESTEP_E_INVALID_TARGET, sidestep_queue_explain(queue, "a b", 80, 0, NULL, NULL, &error));

    /* An operation has one completion, whether it is cancelled in time or not. */
    for (int index = 0; index < OPERATIONS; index++) {
        WORKS(sidestep_queue_connect(queue, LEDGER, 5432, 0, TIMEOUT, NULL, &operation, &error));
        WORKS(sidestep_queue_cancel(queue, operation, &error));
        completion = fetch(queue);
        CHECK(completion.operation == operation);
        CHECK(completion.status == SIDESTEP_E_CANCELLED || completion.status == SIDESTEP_OK);
        CHECK((completion.fd >= 0) == (completion.status == SIDESTEP_OK));
        CHECK((completion.error != NULL) == (completion.status != SIDESTEP_OK));
        if (completion.fd >= 0) {
            CHECK(close(completion.fd) == 0);
        }
        CHECK(sidestep_error_free(completion.error) == SIDESTEP_OK);
    }
    WORKS(sidestep_queue_cancel(queue, operation, &error));
    WORKS(sidestep_queue_cancel(queue, 4711, &error));
    is_empty(queue);
    FAILS(SIDESTEP_E_INVALID_ARGUMENT, sidestep_queue_next(queue, &completion, 8, &error));
    FAILS(SIDESTEP_E_NULL_POINTER, sidestep_queue_next(queue, NULL, sizeof completion, &error));

    /* Freed with operations in progress and with completions that are not fetched. */
    for (int index = 0; index < OPERATIONS; index++) {
        WORKS(sidestep_queue_connect(queue, FORECAST, 3002, 0, TIMEOUT, NULL, NULL, &error));
        WORKS(sidestep_queue_stream_connect(queue, FORECAST, 3002, 0, TIMEOUT, NULL, NULL, &error));
    }
    do {
        completion = fetch(queue);
        CHECK(sidestep_stream_free(completion.stream) == SIDESTEP_OK);
    } while (completion.fd == -1);
    CHECK(close(completion.fd) == 0);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);

    /* A shutdown waits for open connections. */
    int fd = -1;
    stream(mesh);
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fd, &error));
    WORKS(sidestep_queue_shutdown(queue, 1, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(sidestep_error_is_transient(completion.error));
    CHECK(completion.status == SIDESTEP_E_TIMEOUT && sidestep_error_free(completion.error) == SIDESTEP_OK);
    WORKS(sidestep_queue_shutdown(queue, -1, NULL, NULL, &error));
    is_empty(queue);
    CHECK(close(fd) == 0);
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    return 0;
}
