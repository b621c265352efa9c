import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;

/**
 * Sends requests from Java: over a socket and with HttpURLConnection through the SOCKS5 proxy of the bridge, and with
 * java.net.http through its HTTP proxy.
 *
 * <pre>java -Djava.library.path=. Requests VM-FILES [HOST PORT [PATH]]</pre>
 *
 * The mesh and the bridge run in this JVM, which loads the JNI library sidestep_jni.c. No other process is needed.
 */
final class Requests {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 1) {
            System.err.println("usage: Requests VM-FILES [HOST PORT [PATH]]");
            System.exit(1);
        }
        String host = arguments.length > 1 ? arguments[1] : "forecast.weather";
        int port = arguments.length > 2 ? Integer.parseInt(arguments[2]) : 3002;
        String path = arguments.length > 3 ? arguments[3] : "/";
        URI url = URI.create("http://" + host + ":" + port + path);
        try (Sidestep mesh = new Sidestep(Path.of(arguments[0]), Duration.ofSeconds(30))) {
            Proxy socks = new Proxy(Proxy.Type.SOCKS, mesh.proxy());
            System.out.println("socket: " + bySocket(socks, host, port, path));
            System.out.println("HttpURLConnection: " + byUrlConnection(socks, url));
            System.out.println("java.net.http: " + byHttpClient(mesh.proxy(), url));
        }
    }

    static String bySocket(Proxy socks, String host, int port, String path) throws IOException {
        try (Socket socket = new Socket(socks)) {
            // The mesh resolves the name.
            socket.connect(InetSocketAddress.createUnresolved(host, port), 30_000);
            String request = "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
            socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    static String byUrlConnection(Proxy socks, URI url) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) url.toURL().openConnection(socks);
        try (InputStream body = connection.getInputStream()) {
            return connection.getResponseCode() + " " + new String(body.readAllBytes(), StandardCharsets.UTF_8);
        } finally {
            connection.disconnect();
        }
    }

    static String byHttpClient(InetSocketAddress proxy, URI url) throws IOException, InterruptedException {
        HttpClient client = HttpClient.newBuilder().proxy(ProxySelector.of(proxy)).build();
        HttpRequest request = HttpRequest.newBuilder(url).timeout(Duration.ofSeconds(30)).build();
        var answer = client.send(request, BodyHandlers.ofString());
        return answer.statusCode() + " " + answer.body();
    }

    private Requests() {}
}
