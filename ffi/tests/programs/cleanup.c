/* Freed objects leave no thread and no descriptor in the process. */
#include <dirent.h>
#include <limits.h>

#include "check.h"

/* The entries of a directory of this process in /proc, one on each line. */
struct list {
    int count;
    char lines[16384];
};

static void add(struct list *list, const char *name, const char *what) {
    size_t length = strlen(list->lines), room = sizeof list->lines - length;
    CHECK((size_t)snprintf(list->lines + length, room, "  %s %s\n", name, what) < room);
    list->count++;
}

static struct list descriptors(void) {
    struct list list = {0};
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char target[PATH_MAX];
        ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (length >= 0 && atoi(entry->d_name) != dirfd(dir)) {
            target[length] = 0;
            add(&list, entry->d_name, target);
        }
    }
    CHECK(closedir(dir) == 0);
    return list;
}

/* PF_EXITING: a joined thread may still be in /proc for a moment, with this flag in its `stat` file. */
#define EXITING 0x4

static struct list threads(void) {
    struct list list = {0};
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[PATH_MAX], stat[512];
        unsigned flags = EXITING;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) {
            continue;
        }
        const char *after_name = fgets(stat, sizeof stat, file) ? strrchr(stat, ')') : NULL;
        /* The fields: state, parent, group, session, terminal, terminal's group, flags. */
        if (after_name && sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && !(flags & EXITING)) {
            add(&list, entry->d_name, stat);
        }
        CHECK(fclose(file) == 0);
    }
    CHECK(closedir(dir) == 0);
    return list;
}

static void same(const char *what, const struct list *before, const struct list *after) {
    if (before->count != after->count) {
        fprintf(stderr, "%s before:\n%safter:\n%s", what, before->lines, after->lines);
        exit(1);
    }
}

static void use(char **arguments, int idle) {
    sidestep_mesh *mesh = join(arguments);
    sidestep_queue *queue = NULL;
    sidestep_bridge *bridge = NULL;
    sidestep_stream *stream = NULL;
    sidestep_dns *dns = NULL;
    struct addrinfo *list = NULL;
    int fd = -1;
    char byte;
    WORKS(sidestep_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &fd, &error));
    send_all(fd, "x\n");
    CHECK(read(fd, &byte, 1) == 1);
    WORKS(sidestep_stream_connect(mesh, LEDGER, 5432, 0, TIMEOUT, &stream, &error));
    WORKS(sidestep_queue_new(mesh, &queue, &error));
    WORKS(sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error));
    CHECK(sidestep_getaddrinfo(mesh, FORECAST, "80", NULL, &list, NULL) == 0);
    sidestep_freeaddrinfo(list);
    /* One worker thread, and possibly one for the system's getaddrinfo. */
    CHECK(threads().count <= idle + 2);
    WORKS(sidestep_dns_start(mesh, "127.0.0.1:0", bridge, &dns, &error));
    CHECK(threads().count <= idle + 3);
    CHECK(close(fd) == 0);
    CHECK(sidestep_dns_free(dns) == SIDESTEP_OK);
    CHECK(sidestep_bridge_free(bridge) == SIDESTEP_OK);
    CHECK(sidestep_queue_free(queue) == SIDESTEP_OK);
    CHECK(sidestep_stream_free(stream) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    struct list idle = threads(), before = descriptors();
    for (int round = 0; round < 5; round++) {
        use(arguments, idle.count);
        struct list now = threads(), open = descriptors();
        same("threads", &idle, &now);
        /* In a build of the whole workspace, other crates enable tokio's signal handling, which opens a pair of sockets once per
         * process. A build of the library alone does not have it. */
        if (round == 0 && open.count == before.count + 2) {
            before = open;
        }
        same("descriptors", &before, &open);
    }
    return 0;
}
