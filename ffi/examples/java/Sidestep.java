import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;

/**
 * This JVM in a mesh, with a proxy on a loopback port behind which the mesh is. It speaks SOCKS 5 and HTTP, needs no
 * password from this JVM's own sockets, and serves no other process.
 */
final class Sidestep implements AutoCloseable {
    static {
        System.loadLibrary("sidestep_jni");
    }

    private final long mesh;
    private final long bridge;
    private final InetSocketAddress proxy;
    private boolean closed;

    /** Joins the mesh that a folder of VM files describes, and waits until it may be used. */
    Sidestep(Path vmFiles, Duration timeout) throws IOException {
        long[] handles = join(vmFiles.toString(), timeout.toMillis());
        mesh = handles[0];
        bridge = handles[1];
        URI url = URI.create(proxyUrl(bridge));
        proxy = new InetSocketAddress(url.getHost(), url.getPort());
    }

    /** Where the proxy is. */
    InetSocketAddress proxy() {
        return proxy;
    }

    /** Leaves the mesh, with all connections through the proxy. */
    @Override
    public synchronized void close() {
        if (!closed) {
            closed = true;
            leave(mesh, bridge);
        }
    }

    private static native long[] join(String vmFiles, long timeoutMs) throws IOException;

    private static native String proxyUrl(long bridge);

    private static native void leave(long mesh, long bridge);
}
