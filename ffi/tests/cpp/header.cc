// Tests of sidestep.hpp: ownership, moves, closed objects and errors.
//
//     header VM-FILES HOST PORT
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <sidestep.hpp>

namespace {

template <class Owner> constexpr bool moves_and_does_not_copy() {
    return std::is_nothrow_move_constructible_v<Owner> && std::is_nothrow_move_assignable_v<Owner> &&
           !std::is_copy_constructible_v<Owner> && !std::is_copy_assignable_v<Owner>;
}

static_assert(moves_and_does_not_copy<sidestep::connection>() && moves_and_does_not_copy<sidestep::settings>());
static_assert(moves_and_does_not_copy<sidestep::mesh>() && moves_and_does_not_copy<sidestep::bridge>());
static_assert(moves_and_does_not_copy<sidestep::stream>() && moves_and_does_not_copy<sidestep::queue>());
static_assert(moves_and_does_not_copy<sidestep::info>() && moves_and_does_not_copy<sidestep::dns>());
static_assert(std::is_nothrow_move_constructible_v<sidestep::completion>);

void check(bool holds, const char *what, int line) {
    if (!holds) {
        std::cerr << "line " << line << ": " << what << '\n';
        std::exit(EXIT_FAILURE);
    }
}
#define CHECK(what) check(what, #what, __LINE__)

template <class Call> sidestep_status status_of(Call &&call) {
    try {
        call();
    } catch (const sidestep::error &error) {
        CHECK(!std::string_view(error.what()).empty() && !error.next_step().empty());
        CHECK(error.error_number() != 0 && std::string_view(error.status_name()).rfind("SIDESTEP_E_", 0) == 0);
        return error.status();
    }
    return SIDESTEP_OK;
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1 || errno != EBADF; }

void connections_close_themselves(const sidestep::mesh &mesh, std::string_view host, std::uint16_t port) {
    sidestep::connection one = mesh.connect(host, port, SIDESTEP_PROTOCOL_HTTP1);
    const int first = one.fd();
    sidestep::connection other(std::move(one));
    CHECK(!one && other.fd() == first && is_open(first)); // NOLINT: what was moved from is empty
    one = mesh.connect(host, port);
    const int second = one.fd();
    one = std::move(other);
    CHECK(one.fd() == first && !is_open(second));
    sidestep::connection &same = one;
    one = std::move(same);
    CHECK(one.fd() == first && is_open(first));
    CHECK(mesh.connection_info(one).get(SIDESTEP_INFO_TRANSPORT) == "mutual_tls");
    CHECK(!mesh.connection_info(one).get(12345));
    const int released = one.release();
    one.reset();
    CHECK(is_open(released));
    sidestep::connection(released).reset();
    CHECK(!is_open(released));
}

// Checks that a call on an object that is closed or was moved from fails, with a message that says so.
template <class Call> void check_closed(const char *type, Call &&call) {
    try {
        call();
    } catch (const sidestep::error &error) {
        CHECK(error.status() == SIDESTEP_E_BAD_HANDLE && !error.is_transient());
        CHECK(error.what() == std::string("this ") + type + " is closed or was moved from");
        return;
    }
    CHECK(!"no error");
}

void closed_objects_throw(sidestep::mesh &mesh, std::string_view host, std::uint16_t port) {
    sidestep::stream stream = mesh.stream_connect(host, port);
    sidestep::info info = stream.info();
    sidestep::queue queue(mesh);
    sidestep::bridge bridge = mesh.bridge_start();
    sidestep::dns dns = mesh.dns_start("127.0.0.1:0");
    sidestep::settings settings;
    CHECK(stream && info && queue && bridge && dns && settings);
    stream.close();
    stream.close();
    info.close();
    queue.close();
    bridge.close();
    dns.close();
    settings.close();
    check_closed("sidestep::stream", [&] { stream.write("x"); });
    check_closed("sidestep::info", [&] { info.get(SIDESTEP_INFO_PEER); });
    check_closed("sidestep::queue", [&] { queue.fd(); });
    check_closed("sidestep::queue", [&] { queue.next(); });
    check_closed("sidestep::bridge", [&] { bridge.http_url(); });
    check_closed("sidestep::bridge", [&] { mesh.dns_start("127.0.0.1:0", &bridge); });
    check_closed("sidestep::dns", [&] { dns.port(); });
    check_closed("sidestep::settings", [&] { sidestep::mesh joined(settings); });
    const sidestep::mesh moved(std::move(mesh));
    CHECK(!mesh && moved); // NOLINT: the test uses an object that was moved from
    check_closed("sidestep::mesh", [&] { mesh.wait_ready(0); });
    check_closed("sidestep::mesh", [&] { mesh.bridge_start(); });
}

void failures_are_thrown(sidestep::mesh &mesh, std::string_view host, std::uint16_t port) {
    CHECK(status_of([&] { mesh.connect(host, 1); }) == SIDESTEP_E_UNKNOWN_PORT);
    mesh.connect(host, port); // the mesh has the endpoints of the service now
    CHECK(status_of([&] { mesh.connect(host, port, SIDESTEP_PROTOCOL_TCP, 0); }) == SIDESTEP_E_TIMEOUT);
    const std::string cut = std::string(host) + '\0' + ".example";
    CHECK(status_of([&] { mesh.connect(cut, port); }) == SIDESTEP_E_INVALID_ARGUMENT);
    CHECK(status_of([&] { mesh.getaddrinfo("nosuch.weather", "http"); }) == SIDESTEP_E_UNKNOWN_HOST);
    try {
        mesh.getaddrinfo("nosuch.weather", "http");
    } catch (const sidestep::error &error) {
        CHECK(error.eai() == EAI_NONAME);
    }
    CHECK(status_of([&] { sidestep::settings().set("nosuch", "1"); }) == SIDESTEP_E_INVALID_ARGUMENT);
    CHECK(status_of([&] { mesh.connection_info(sidestep::connection(::dup(0))); }) == SIDESTEP_E_NOT_A_CONNECTION);
    const auto join = [] { sidestep::mesh joined(sidestep::settings().set("vm-files", "/nowhere")); };
    CHECK(status_of(join) == SIDESTEP_E_CONFIG);
}

void a_stream_reads_and_writes(const sidestep::mesh &mesh, const std::string &host, std::uint16_t port) {
    sidestep::stream stream = mesh.stream_connect(host, port, SIDESTEP_PROTOCOL_HTTP1);
    stream.write("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
    std::string answer(64 * 1024, '\0');
    CHECK(stream.read(answer.data(), answer.size(), 10000) > 0 && answer.rfind("HTTP/1.1 200", 0) == 0);
    CHECK(stream.info().get(SIDESTEP_INFO_PEER).has_value());
    stream.shutdown();
}

void listeners_forward_to_the_service(const sidestep::mesh &mesh, const std::string &host, std::uint16_t port) {
    const sidestep::bridge bridge = mesh.bridge_start();
    CHECK(bridge.http_url().rfind("http://", 0) == 0 && bridge.socks_url().rfind("socks5h://", 0) == 0);
    const auto [address, local_port] = bridge.listen_local(host, port, SIDESTEP_PROTOCOL_HTTP1);
    addrinfo hints{};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    const sidestep::addresses found = bridge.getaddrinfo(host, std::to_string(port), &hints);
    const sidestep::connection client(::socket(found->ai_family, found->ai_socktype, found->ai_protocol));
    CHECK(::connect(client.fd(), found->ai_addr, found->ai_addrlen) == 0);
    CHECK(address.rfind("127.", 0) == 0 && local_port != 0);
    CHECK(mesh.dns_start("127.0.0.1:0", &bridge).port() != 0);
    CHECK(mesh.getaddrinfo(host, std::to_string(port)) != nullptr);
}

void each_operation_has_one_completion(const sidestep::mesh &mesh, std::string_view host, std::uint16_t port) {
    sidestep::queue queue(mesh);
    CHECK(!queue.next());
    int here = 0;
    const auto connecting = queue.connect(host, port, SIDESTEP_PROTOCOL_HTTP1, 10000, &here);
    const auto failing = queue.connect(host, 1);
    const auto explaining = queue.explain(host, port);
    const sidestep::bridge bridge = mesh.bridge_start();
    const auto resolving = queue.getaddrinfo(host, std::to_string(port));
    const auto bridged = queue.bridge_getaddrinfo(bridge, host, std::to_string(port));
    const auto unresolved = queue.getaddrinfo("nosuch.weather", "http");
    const auto streaming = queue.stream_connect(host, port);
    const auto bridging = queue.bridge_start();
    const auto serving = queue.dns_start("127.0.0.1:0", &bridge);
    const auto listening = queue.bridge_listen_local(bridge, host, port);
    queue.bridge_listen_unix(bridge, "/no/such/folder/socket", host, port);
    queue.bridge_listen_postgres(bridge, "/no/such/folder", host, port);
    for (int left = 12; left > 0;) {
        pollfd waited{queue.fd(), POLLIN, 0};
        CHECK(::poll(&waited, 1, 20000) == 1);
        while (auto ended = queue.next()) {
            left--;
            CHECK((ended->operation == connecting) == static_cast<bool>(ended->connection));
            CHECK((ended->operation == connecting) == (ended->user_data == &here));
            const bool fails = ended->operation == failing || ended->operation == unresolved || ended->operation > listening;
            CHECK(fails == ended->error.has_value() && fails == (ended->status != SIDESTEP_OK));
            CHECK(ended->operation != unresolved || (ended->eai == EAI_NONAME && ended->error->eai() == EAI_NONAME));
            CHECK(ended->operation <= listening || ended->status == SIDESTEP_E_LISTEN);
            CHECK((ended->operation == explaining) == !ended->text.empty());
            const bool has_addresses =
                ended->operation == resolving || ended->operation == bridged || ended->operation == listening;
            CHECK(has_addresses == (ended->addresses != nullptr));
            CHECK((ended->operation == streaming) == ended->stream.has_value());
            CHECK(ended->operation != streaming || ended->stream->info().get(SIDESTEP_INFO_PEER));
            CHECK((ended->operation == bridging) == ended->bridge.has_value());
            CHECK(ended->operation != bridging || !ended->bridge->socks_url().empty());
            CHECK((ended->operation == serving) == ended->dns.has_value());
        }
    }
    queue.cancel(queue.connect(host, port));
}

void a_shutdown_is_an_operation(const sidestep::mesh &mesh) {
    sidestep::queue queue(mesh);
    const auto leaving = queue.shutdown(20000);
    pollfd waited{queue.fd(), POLLIN, 0};
    CHECK(::poll(&waited, 1, 20000) == 1);
    const auto ended = queue.next();
    CHECK(ended && ended->operation == leaving && !ended->error);
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc > 3);
    const std::string host = argv[2];
    const auto port = static_cast<std::uint16_t>(std::stoi(argv[3]));
    const auto join = [&] { return sidestep::mesh(sidestep::settings().set("vm-files", argv[1])); };
    sidestep::mesh mesh = join();
    mesh.wait_ready(30000);
    connections_close_themselves(mesh, host, port);
    a_stream_reads_and_writes(mesh, host, port);
    listeners_forward_to_the_service(mesh, host, port);
    each_operation_has_one_completion(mesh, host, port);
    CHECK(mesh.explain(host, port).find(host) != std::string::npos && mesh.health().front() == '{');
    CHECK(mesh.metrics().find("istio_") != std::string::npos);
    sidestep::mesh other = join();
    other.wait_ready(30000);
    failures_are_thrown(other, host, port);
    closed_objects_throw(other, host, port);
    a_shutdown_is_an_operation(mesh);
    mesh.shutdown(20000);
    CHECK(status_of([&] { mesh.connect(host, port); }) == SIDESTEP_E_CLOSED);
    std::cout << "all tests of sidestep.hpp passed\n";
}
