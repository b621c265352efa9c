// What sidestep.hpp promises beside what the example shows: ownership, moves, errors.
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

template <class Call> sidestep_status code_of(Call &&call) {
    try {
        call();
    } catch (const sidestep::error &error) {
        CHECK(!std::string_view(error.what()).empty() && !error.next_step().empty());
        CHECK(error.system_code() != 0);
        return error.code();
    }
    return SIDESTEP_OK;
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1 || errno != EBADF; }

void connections_close_themselves(const sidestep::mesh &mesh, std::string_view host, std::uint16_t port) {
    sidestep::connection one = mesh.connect(host, port, SIDESTEP_HTTP1);
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
    CHECK(mesh.info(one).get(SIDESTEP_INFO_TRANSPORT) == "mutual_tls");
    CHECK(!mesh.info(one).get(12345));
    const int released = one.release();
    one.reset();
    CHECK(is_open(released));
    sidestep::connection(released).reset();
    CHECK(!is_open(released));
}

void what_fails_is_thrown(sidestep::mesh &mesh, std::string_view host, std::uint16_t port) {
    CHECK(code_of([&] { mesh.connect(host, 1); }) == SIDESTEP_UNKNOWN_PORT);
    mesh.connect(host, port); // now it has its endpoints
    CHECK(code_of([&] { mesh.connect(host, port, SIDESTEP_TCP, 0); }) == SIDESTEP_TIMEOUT);
    const std::string cut = std::string(host) + '\0' + ".example";
    CHECK(code_of([&] { mesh.connect(cut, port); }) == SIDESTEP_INVALID_ARGUMENT);
    CHECK(code_of([&] { mesh.lookup("nosuch.weather", "http"); }) == SIDESTEP_UNKNOWN_HOST);
    CHECK(code_of([&] { sidestep::settings().set("nosuch", "1"); }) == SIDESTEP_INVALID_ARGUMENT);
    CHECK(code_of([&] { mesh.info(sidestep::connection(::dup(0))); }) == SIDESTEP_NOT_A_CONNECTION);
    const sidestep::mesh moved(std::move(mesh));
    CHECK(code_of([&] { mesh.wait_ready(0); }) == SIDESTEP_NULL_POINTER); // NOLINT: that is the question
    CHECK(code_of([&] { mesh.start_bridge(); }) == SIDESTEP_NULL_POINTER);
    CHECK(code_of([&] { mesh = sidestep::mesh(sidestep::settings().set("vm-files", "/nowhere")); }) == SIDESTEP_CONFIG);
}

void a_stream_reads_and_writes(const sidestep::mesh &mesh, const std::string &host, std::uint16_t port) {
    sidestep::stream stream = mesh.connect_stream(host, port, SIDESTEP_HTTP1);
    stream.write("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
    std::string answer(64 * 1024, '\0');
    CHECK(stream.read(answer.data(), answer.size(), 10000) > 0 && answer.rfind("HTTP/1.1 200", 0) == 0);
    CHECK(stream.info().get(SIDESTEP_INFO_PEER).has_value());
    stream.shutdown();
}

void listeners_lead_there(const sidestep::mesh &mesh, const std::string &host, std::uint16_t port) {
    sidestep::bridge bridge = mesh.start_bridge();
    CHECK(bridge.http_url().rfind("http://", 0) == 0 && bridge.socks_url().rfind("socks5h://", 0) == 0);
    const auto [address, local_port] = bridge.listen_local(host, port, SIDESTEP_HTTP1);
    addrinfo hints{};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    const sidestep::addresses found = bridge.lookup(host, std::to_string(port), &hints);
    const sidestep::connection client(::socket(found->ai_family, found->ai_socktype, found->ai_protocol));
    CHECK(::connect(client.fd(), found->ai_addr, found->ai_addrlen) == 0);
    CHECK(address.rfind("127.", 0) == 0 && local_port != 0);
    CHECK(mesh.start_dns("127.0.0.1:0", &bridge).port() != 0);
    CHECK(mesh.lookup(host, std::to_string(port)) != nullptr);
}

void a_queue_has_each_operation_once(const sidestep::mesh &mesh, std::string_view host, std::uint16_t port) {
    sidestep::queue queue(mesh);
    CHECK(!queue.next());
    int here = 0;
    const auto connecting = queue.connect(host, port, SIDESTEP_HTTP1, 10000, &here);
    const auto failing = queue.connect(host, 1);
    const auto explaining = queue.explain(host, port);
    const sidestep::bridge bridge = mesh.start_bridge();
    const auto looking = queue.lookup(host, std::to_string(port));
    const auto dialling = queue.lookup(bridge, host, std::to_string(port));
    for (int left = 5; left > 0;) {
        pollfd waited{queue.fd(), POLLIN, 0};
        CHECK(::poll(&waited, 1, 20000) == 1);
        while (auto ended = queue.next()) {
            left--;
            CHECK((ended->operation == connecting) == static_cast<bool>(ended->connection));
            CHECK((ended->operation == connecting) == (ended->user_data == &here));
            CHECK((ended->operation == failing) == ended->failure.has_value());
            CHECK((ended->operation == explaining) == !ended->text.empty());
            const bool has_addresses = ended->operation == looking || ended->operation == dialling;
            CHECK(has_addresses == (ended->addresses != nullptr));
        }
    }
    queue.cancel(queue.connect(host, port));
}

void leaving_is_an_operation_too(const sidestep::mesh &mesh) {
    sidestep::queue queue(mesh);
    const auto leaving = queue.shutdown(20000);
    pollfd waited{queue.fd(), POLLIN, 0};
    CHECK(::poll(&waited, 1, 20000) == 1);
    const auto ended = queue.next();
    CHECK(ended && ended->operation == leaving && !ended->failure);
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
    listeners_lead_there(mesh, host, port);
    a_queue_has_each_operation_once(mesh, host, port);
    CHECK(mesh.explain(host, port).find(host) != std::string::npos && mesh.health().front() == '{');
    CHECK(mesh.metrics().find("istio_") != std::string::npos);
    sidestep::mesh other = join();
    other.wait_ready(30000);
    what_fails_is_thrown(other, host, port);
    leaving_is_an_operation_too(mesh);
    mesh.shutdown(20000);
    CHECK(code_of([&] { mesh.connect(host, port); }) == SIDESTEP_CLOSED);
    std::cout << "sidestep.hpp is as it says\n";
}
