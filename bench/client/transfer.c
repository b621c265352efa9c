/* Long streams, in parts:
 *
 * transfer open SLOT HOW HEAD        connects and writes a request head, in which "|" is the end of a line
 * transfer receive SLOT BYTES CHUNK  reads BYTES and returns the CPU time of the process per byte in nanoseconds
 * transfer send SLOT BYTES CHUNK     writes BYTES and returns the CPU time of the process per byte in nanoseconds
 */
#include <stdio.h>
#include <string.h>

#include "client.h"

#define SLOTS 16
#define LARGEST (1 << 20)

static struct connection open_ones[SLOTS];
static char buffer[LARGEST];

static struct figures start(const struct service *service, const char *arguments) {
    unsigned slot = SLOTS;
    char how[16], text[512];
    int read = 0;
    if (sscanf(arguments, "open %u %15s %n", &slot, how, &read) != 2 || slot >= SLOTS) {
        return failed("transfer: arguments", NULL);
    }
    if (open_ones[slot].stream || open_ones[slot].fd > 0) {
        connection_close(&open_ones[slot]);
    }
    size_t length = 0;
    for (const char *at = arguments + read; *at && length + 2 < sizeof text; at++) {
        if (*at == '|') {
            text[length++] = '\r';
            text[length++] = '\n';
        } else {
            text[length++] = *at;
        }
    }
    if (connection_open(service, how, &open_ones[slot]) || connection_write(&open_ones[slot], text, length)) {
        return (struct figures){.count = -1};
    }
    return (struct figures){0, {0}};
}

struct figures transfer(const struct service *service, const char *arguments) {
    unsigned slot = SLOTS;
    size_t bytes = 0, chunk = 0, passed = 0;
    char direction[16];
    if (strncmp(arguments, "open", 4) == 0) {
        return start(service, arguments);
    }
    if (sscanf(arguments, "%15s %u %zu %zu", direction, &slot, &bytes, &chunk) != 4 || slot >= SLOTS ||
        chunk > sizeof buffer || bytes == 0) {
        return failed("transfer: arguments", NULL);
    }
    const struct connection *connection = &open_ones[slot];
    int sends = strcmp(direction, "send") == 0;
    double before = now(CLOCK_PROCESS_CPUTIME_ID);
    while (passed < bytes) {
        long count = (long)chunk;
        if (!sends) {
            count = connection_read(connection, buffer, chunk);
        } else if (connection_write(connection, buffer, chunk)) {
            return (struct figures){.count = -1};
        }
        if (count <= 0) {
            return failed("the stream ended early", NULL);
        }
        passed += (size_t)count;
    }
    return (struct figures){2, {(now(CLOCK_PROCESS_CPUTIME_ID) - before) / (double)passed, (double)passed}};
}
