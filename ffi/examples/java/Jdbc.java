import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.Socket;
import java.net.SocketAddress;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.time.Duration;
import java.util.Properties;

import javax.net.SocketFactory;

/**
 * Sends a query with PostgreSQL's JDBC driver through the mesh. The driver gets its sockets from a factory, which uses
 * the SOCKS5 proxy of the bridge.
 *
 * <pre>java -Djava.library.path=. -cp .:postgresql.jar Jdbc VM-FILES [HOST PORT [OPTIONS [QUERY]]]</pre>
 *
 * OPTIONS are connection options, such as "user=me dbname=orders". The mesh and the bridge run in this JVM. No other process is
 * needed.
 */
public final class Jdbc {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 1) {
            System.err.println("usage: Jdbc VM-FILES [HOST PORT [OPTIONS [QUERY]]]");
            System.exit(1);
        }
        String host = arguments.length > 1 ? arguments[1] : "ledger.payments.example";
        String port = arguments.length > 2 ? arguments[2] : "5432";
        String options = arguments.length > 3 ? arguments[3] : "user=postgres dbname=postgres";
        String query = arguments.length > 4 ? arguments[4] : "select version()";
        Properties properties = new Properties();
        for (String option : options.split(" ")) {
            properties.setProperty(option.split("=")[0], option.split("=")[1]);
        }
        try (Sidestep mesh = new Sidestep(Path.of(arguments[0]), Duration.ofSeconds(30))) {
            properties.setProperty("socketFactory", MeshSockets.class.getName());
            properties.setProperty("socketFactoryArg", String.valueOf(mesh.proxy().getPort()));
            String url = "jdbc:postgresql://" + host + ":" + port + "/" + properties.remove("dbname");
            try (var server = DriverManager.getConnection(url, properties);
                    var statement = server.createStatement();
                    var result = statement.executeQuery(query)) {
                System.out.println("by socket factory: " + (result.next() ? result.getString(1) : "nothing"));
            }
        }
    }

    /** A factory of sockets that use a SOCKS5 proxy on loopback. The argument is the port of the proxy. */
    public static final class MeshSockets extends SocketFactory {
        private final Proxy proxy;

        public MeshSockets(String port) {
            proxy = new Proxy(Proxy.Type.SOCKS, new InetSocketAddress("127.0.0.1", Integer.parseInt(port)));
        }

        @Override
        public Socket createSocket() {
            return new Socket(proxy) {
                @Override
                public void connect(SocketAddress to, int timeout) throws IOException {
                    InetSocketAddress address = (InetSocketAddress) to;
                    // The mesh resolves the name. The address that the driver has resolved is not used.
                    String host = address.getHostString();
                    super.connect(InetSocketAddress.createUnresolved(host, address.getPort()), timeout);
                }
            };
        }

        @Override
        public Socket createSocket(String host, int port) throws IOException {
            Socket socket = createSocket();
            socket.connect(InetSocketAddress.createUnresolved(host, port), 0);
            return socket;
        }

        @Override
        public Socket createSocket(InetAddress host, int port) throws IOException {
            return createSocket(host.getHostAddress(), port);
        }

        @Override
        public Socket createSocket(String host, int port, InetAddress from, int fromPort) throws IOException {
            return createSocket(host, port);
        }

        @Override
        public Socket createSocket(InetAddress host, int port, InetAddress from, int fromPort)
                throws IOException {
            return createSocket(host, port);
        }
    }

    private Jdbc() {}
}
