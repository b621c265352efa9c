/* A program that does not free its error objects. */
#include "check.h"

/* The number of objects of one type from which no more are created. */
#define LIMIT (1 << 20)

static int warned[2];

static void note_warning(void *user_data, int32_t level, const char *line) {
    (void)user_data;
    if (level == SIDESTEP_LOG_WARN && strstr(line, "sidestep_error objects") && strstr(line, "sidestep_error_free")) {
        CHECK(write(warned[1], "", 1) == 1);
    }
}

static sidestep_error *leaked(void) {
    sidestep_text *text = NULL;
    sidestep_error *error = NULL;
    CHECK(sidestep_metrics(NULL, &text, &error) == SIDESTEP_E_NULL_POINTER && text == NULL);
    return error;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    CHECK(pipe(warned) == 0);
    sidestep_settings *settings = settings_of(arguments), *others = NULL;
    WORKS(sidestep_settings_log(settings, SIDESTEP_LOG_WARN, note_warning, NULL, &error));
    sidestep_mesh *mesh = NULL;
    WORKS(sidestep_join(settings, &mesh, &error));

    /* The log of the mesh contains a warning. */
    sidestep_error *first = leaked();
    CHECK(first != NULL);
    for (int created = 1; created < 10000; created++) {
        CHECK(leaked() != NULL);
    }
    char byte;
    struct pollfd waited = {.fd = warned[0], .events = POLLIN};
    CHECK(poll(&waited, 1, TIMEOUT) == 1 && read(warned[0], &byte, 1) == 1);

    /* Not with the address sanitizer, which needs much memory for each object. */
#ifndef __SANITIZE_ADDRESS__
    for (int created = 10000; created < LIMIT; created++) {
        CHECK(leaked() != NULL);
    }
    /* At the limit, calls still return the status of their failure, and objects of other types can be created. */
    CHECK(leaked() == NULL);
    WORKS(sidestep_settings_new(&others, &error));
    CHECK(sidestep_settings_free(others) == SIDESTEP_OK);
    CHECK(sidestep_error_free(first) == SIDESTEP_OK);
    CHECK(sidestep_error_free(first) == SIDESTEP_E_BAD_HANDLE);
    CHECK(leaked() != NULL && leaked() == NULL);
#else
    (void)others;
#endif
    CHECK(sidestep_settings_free(settings) == SIDESTEP_OK);
    CHECK(sidestep_mesh_free(mesh) == SIDESTEP_OK);
    return 0;
}
