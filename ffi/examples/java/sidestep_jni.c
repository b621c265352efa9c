/*
 * The native methods of Sidestep.java: they join the mesh, return the URL of the bridge, and leave the mesh.
 *
 *     cc -shared -fPIC -I$JAVA_HOME/include -I$JAVA_HOME/include/linux -o libsidestep_jni.so sidestep_jni.c \
 *         $(pkg-config --cflags --libs sidestep)
 */
#include <jni.h>
#include <stdint.h>
#include <stdio.h>

#include <sidestep.h>

static void raise_error(JNIEnv *env, sidestep_error *error) {
    char text[4096];
    jclass kind = (*env)->FindClass(env, "java/io/IOException");
    snprintf(text, sizeof text, "%s (%s)", sidestep_error_message(error), sidestep_error_next_step(error));
    sidestep_error_free(error);
    if (kind) {
        (*env)->ThrowNew(env, kind, text);
    }
}

/* Returns the handles of the mesh and the bridge. */
JNIEXPORT jlongArray JNICALL Java_Sidestep_join(JNIEnv *env, jclass type, jstring folder, jlong timeout_ms) {
    const char *path = (*env)->GetStringUTFChars(env, folder, NULL);
    sidestep_mesh *mesh = NULL;
    sidestep_bridge *bridge = NULL;
    sidestep_error *error = NULL;
    jlongArray handles = NULL;
    (void)type;
    if (!path) {
        return NULL;
    }
    if (sidestep_join_vm_files(path, &mesh, &error) || sidestep_wait_ready(mesh, timeout_ms, &error) ||
        sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error)) {
        raise_error(env, error);
    } else if ((handles = (*env)->NewLongArray(env, 2))) {
        const jlong both[2] = {(jlong)(intptr_t)mesh, (jlong)(intptr_t)bridge};
        (*env)->SetLongArrayRegion(env, handles, 0, 2, both);
    }
    if (!handles) {
        sidestep_bridge_free(bridge);
        sidestep_mesh_free(mesh);
    }
    (*env)->ReleaseStringUTFChars(env, folder, path);
    return handles;
}

JNIEXPORT jstring JNICALL Java_Sidestep_proxyUrl(JNIEnv *env, jclass type, jlong bridge) {
    const char *url = sidestep_bridge_http_url((const sidestep_bridge *)(intptr_t)bridge);
    (void)type;
    return url ? (*env)->NewStringUTF(env, url) : NULL;
}

JNIEXPORT void JNICALL Java_Sidestep_leave(JNIEnv *env, jclass type, jlong mesh, jlong bridge) {
    (void)env, (void)type;
    sidestep_bridge_free((sidestep_bridge *)(intptr_t)bridge);
    sidestep_mesh_free((sidestep_mesh *)(intptr_t)mesh);
}
