import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;

/**
 * A mesh that this JVM has joined, with a SOCKS5 and HTTP proxy on a loopback port. The proxy serves only this JVM,
 * whose sockets need no password.
 */
final class Sidestep implements AutoCloseable {
    static {
        System.loadLibrary("sidestep_jni");
    }

    private final long mesh;
    private final long bridge;
    private final InetSocketAddress proxy;
    private boolean closed;

    /** Joins a mesh with a directory of VM files, and waits until it is ready. */
    Sidestep(Path vmFiles, Duration timeout) throws IOException {
        long[] handles = join(vmFiles.toString(), timeout.toMillis());
        mesh = handles[0];
        bridge = handles[1];
        URI url = URI.create(proxyUrl(bridge));
        proxy = new InetSocketAddress(url.getHost(), url.getPort());
    }

    /** Returns the address of the proxy. */
    InetSocketAddress proxy() {
        return proxy;
    }

    /** Leaves the mesh, and closes all connections through the proxy. */
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
