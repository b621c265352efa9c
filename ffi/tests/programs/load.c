/* dlopen and dlclose while threads of the library run: the library stays loaded. */
#include <dlfcn.h>

#include "check.h"

int main(int count, char **arguments) {
    CHECK(count == 4);
    for (int round = 0; round < 3; round++) {
        /* ISO C cannot convert a data pointer to a function pointer. */
        union {
            void *data;
            sidestep_status (*join)(const char *, sidestep_mesh **, sidestep_error **);
            sidestep_status (*wait)(const sidestep_mesh *, int64_t, sidestep_error **);
            sidestep_status (*free)(sidestep_mesh *);
        } join_vm_files, wait_ready, mesh_free;
        sidestep_mesh *mesh = NULL;
        void *library = dlopen("./libsidestep.so", RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            fprintf(stderr, "%s\n", dlerror());
        }
        CHECK(library);
        join_vm_files.data = dlsym(library, "sidestep_join_vm_files");
        wait_ready.data = dlsym(library, "sidestep_wait_ready");
        mesh_free.data = dlsym(library, "sidestep_mesh_free");
        CHECK(join_vm_files.data && wait_ready.data && mesh_free.data);
        CHECK(join_vm_files.join(arguments[1], &mesh, NULL) == SIDESTEP_OK);
        CHECK(dlclose(library) == 0);
        CHECK(wait_ready.wait(mesh, TIMEOUT, NULL) == SIDESTEP_OK);
        CHECK(mesh_free.free(mesh) == SIDESTEP_OK);
    }
    return 0;
}
