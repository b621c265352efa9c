/* A program that exits with everything open. */
#include "check.h"

static sidestep_mesh *mesh;

static void at_the_end(void) {
    sidestep_text *text = NULL;
    /* Handlers of exit may still ask. */
    WORKS(sidestep_health(mesh, &text, &error));
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    sidestep_stream *stream = NULL;
    sidestep_queue *queue = NULL;
    sidestep_bridge *bridge = NULL;
    mesh = join(arguments);
    CHECK(atexit(at_the_end) == 0);
    for (int round = 0; round < 8; round++) {
        int fd = -1;
        WORKS(sidestep_connect(mesh, FORECAST, 3002, SIDESTEP_HTTP1, PATIENCE, &fd, &error));
        send_all(fd, "GET /bytes/8388608 HTTP/1.1\r\nHost: forecast.weather\r\n\r\n");
    }
    WORKS(sidestep_stream_connect(mesh, LEDGER, 5432, 0, PATIENCE, &stream, &error));
    WORKS(sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error));
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_start_connect(queue, FORECAST, 3002, 0, PATIENCE, NULL, NULL, &error));
    return 0;
}
