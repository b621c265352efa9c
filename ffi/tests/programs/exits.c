/* Programs that exit with open connections, by each function that ends a process. */
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"

static sidestep_mesh *mesh;

static void at_the_end(void) {
    sidestep_text *text = NULL;
    /* Exit handlers may still call the library. */
    WORKS(sidestep_health(mesh, &text, &error));
}

static void *wait_for_ever(void *blocked) {
    sidestep_stream *stream = NULL;
    uint8_t byte;
    size_t count = 0;
    WORKS(sidestep_stream_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &stream, &error));
    CHECK(write(*(int *)blocked, "", 1) == 1);
    /* The main thread ends the process during this call. */
    return sidestep_stream_read(stream, &byte, 1, -1, &count, NULL) ? stream : NULL;
}

static void open_everything(char **arguments) {
    sidestep_queue *queue = NULL;
    sidestep_bridge *bridge = NULL;
    pthread_t thread;
    int blocked[2];
    char byte;
    mesh = join(arguments);
    for (int round = 0; round < 8; round++) {
        int fd = -1;
        WORKS(sidestep_connect(mesh, FORECAST, 3002, SIDESTEP_PROTOCOL_HTTP1, TIMEOUT, &fd, &error));
        send_all(fd, "GET /bytes/8388608 HTTP/1.1\r\nHost: forecast.weather\r\n\r\n");
    }
    WORKS(sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error));
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_queue_connect(queue, FORECAST, 3002, 0, TIMEOUT, NULL, NULL, &error));
    CHECK(pipe(blocked) == 0);
    CHECK(pthread_create(&thread, NULL, wait_for_ever, &blocked[1]) == 0);
    CHECK(read(blocked[0], &byte, 1) == 1);
}

/* Runs a child process that opens everything and calls `end`. */
static void process(char **arguments, void (*end)(void)) {
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        open_everything(arguments);
        end();
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void by_exit(void) {
    exit(0);
}

static void by__exit(void) {
    _exit(0);
}

static void by_quick_exit(void) {
    quick_exit(0);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    process(arguments, by_exit);
    process(arguments, by__exit);
    process(arguments, by_quick_exit);
    open_everything(arguments);
    CHECK(atexit(at_the_end) == 0);
    return 0;
}
