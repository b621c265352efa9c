/* Operations through one descriptor, by poll. */
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
        CHECK(status == SIDESTEP_AGAIN);
        struct pollfd waited = {.fd = sidestep_queue_fd(queue), .events = POLLIN};
        CHECK(poll(&waited, 1, PATIENCE) == 1 && waited.revents == POLLIN);
    }
}

static void nothing_is_left(sidestep_queue *queue) {
    sidestep_completion completion;
    struct pollfd looked = {.fd = sidestep_queue_fd(queue), .events = POLLIN};
    CHECK(sidestep_queue_next(queue, &completion, sizeof completion, NULL) == SIDESTEP_AGAIN);
    CHECK(completion.fd == -1 && completion.error == NULL);
    CHECK(poll(&looked, 1, 0) == 0);
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
    nothing_is_left(queue);

    WORKS(sidestep_start_wait_ready(queue, PATIENCE, &completion, &operation, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.user_data == &completion && completion.operation == operation);
    nothing_is_left(queue);

    /* Each is answered exactly once, with its own user_data. */
    for (int index = 0; index < OPERATIONS; index++) {
        numbers[index] = index;
        WORKS(sidestep_start_connect(queue, FORECAST, 3002, SIDESTEP_HTTP1, PATIENCE, &numbers[index], NULL, &error));
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
    nothing_is_left(queue);

    WORKS(sidestep_start_getaddrinfo(queue, FORECAST, "3002", NULL, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.eai == 0 && completion.addresses->ai_family == AF_INET);
    sidestep_freeaddrinfo(completion.addresses);
    WORKS(sidestep_start_getaddrinfo(queue, "nobody.example.com", NULL, NULL, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_UNKNOWN_HOST && completion.eai == EAI_NONAME && completion.addresses == NULL);
    CHECK(sidestep_error_free(completion.error) == SIDESTEP_OK);
    FAILS(SIDESTEP_INVALID_ARGUMENT, sidestep_start_getaddrinfo(queue, NULL, NULL, NULL, NULL, NULL, &error));

    WORKS(sidestep_start_explain(queue, FORECAST, 3002, SIDESTEP_HTTP1, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK && completion.error == NULL);
    CHECK(strstr(sidestep_text_get(completion.text), "outbound_.3002_._.forecast.weather.svc.cluster.local") != NULL);
    CHECK(sidestep_text_free(completion.text) == SIDESTEP_OK);
    FAILS(SIDESTEP_INVALID_TARGET, sidestep_start_explain(queue, "a b", 80, 0, NULL, NULL, &error));

    /* Cancelled, or too late for that: one completion either way. */
    for (int index = 0; index < OPERATIONS; index++) {
        WORKS(sidestep_start_connect(queue, LEDGER, 5432, 0, PATIENCE, NULL, &operation, &error));
        WORKS(sidestep_cancel(queue, operation, &error));
        completion = fetch(queue);
        CHECK(completion.operation == operation);
        CHECK(completion.status == SIDESTEP_CANCELLED || completion.status == SIDESTEP_OK);
        CHECK((completion.fd >= 0) == (completion.status == SIDESTEP_OK));
        CHECK((completion.error != NULL) == (completion.status != SIDESTEP_OK));
        if (completion.fd >= 0) {
            CHECK(close(completion.fd) == 0);
        }
        CHECK(sidestep_error_free(completion.error) == SIDESTEP_OK);
    }
    WORKS(sidestep_cancel(queue, operation, &error));
    WORKS(sidestep_cancel(queue, 4711, &error));
    nothing_is_left(queue);
    FAILS(SIDESTEP_INVALID_ARGUMENT, sidestep_queue_next(queue, &completion, 8, &error));
    FAILS(SIDESTEP_NULL_POINTER, sidestep_queue_next(queue, NULL, sizeof completion, &error));

    /* Freed with some under way, and some that nobody fetches. */
    for (int index = 0; index < OPERATIONS; index++) {
        WORKS(sidestep_start_connect(queue, FORECAST, 3002, 0, PATIENCE, NULL, NULL, &error));
    }
    completion = fetch(queue);
    CHECK(close(completion.fd) == 0);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);

    /* Leaving waits for what is open. */
    int fd = -1;
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, PATIENCE, &fd, &error));
    WORKS(sidestep_start_shutdown(queue, 1, NULL, NULL, &error));
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_TIMEOUT && sidestep_error_free(completion.error) == SIDESTEP_OK);
    WORKS(sidestep_start_shutdown(queue, -1, NULL, NULL, &error));
    nothing_is_left(queue);
    CHECK(close(fd) == 0);
    completion = fetch(queue);
    CHECK(completion.status == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    return 0;
}
