// Sends requests from C++: one over a blocking socket, and several simultaneously with poll. Objects free their handles, and
// errors are exceptions.
//
//     request VM-FILES [HOST PORT [PATH]] [KEY=VALUE]...
//     c++ -std=c++17 request.cc $(pkg-config --cflags --libs sidestep)
//
// KEY is a setting of the library, such as istiod-name. The mesh runs in this process. No other process is needed.
#include <array>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <poll.h>

#include <sidestep.hpp>

namespace {

std::string ask(const sidestep::connection &connection, const std::string &request) {
    if (::write(connection.fd(), request.data(), request.size()) != static_cast<ssize_t>(request.size())) {
        throw std::runtime_error("the request was not written");
    }
    std::string answer;
    std::array<char, 4096> buffer{};
    for (ssize_t length = 0; (length = ::read(connection.fd(), buffer.data(), buffer.size())) > 0;) {
        answer.append(buffer.data(), static_cast<std::size_t>(length));
    }
    return answer;
}

// Opens `count` connections simultaneously, and uses each one when it is connected.
void send_simultaneously(const sidestep::mesh &mesh, int count, const std::string &host, std::uint16_t port,
                         const std::string &request) {
    sidestep::queue queue(mesh);
    for (int index = 0; index < count; index++) {
        queue.connect(host, port, SIDESTEP_PROTOCOL_HTTP1, 30000);
    }
    for (pollfd waited{queue.fd(), POLLIN, 0}; count > 0 && ::poll(&waited, 1, -1) > 0;) {
        while (auto ended = queue.next()) {
            if (ended->error) {
                throw *ended->error;
            }
            const std::string answer = ask(ended->connection, request);
            std::cout << "connection " << ended->operation << ": " << answer.substr(0, answer.find('\r')) << '\n';
            count--;
        }
    }
}

} // namespace

int main(int argc, char **argv) {
    sidestep::settings settings;
    std::vector<std::string> places;
    try {
        for (const std::string &argument : std::vector<std::string>(argv + 1, argv + argc)) {
            const auto equals = argument.find('=');
            if (places.empty() || equals == argument.npos) {
                places.push_back(argument);
            } else {
                settings.set(argument.substr(0, equals), argument.substr(equals + 1));
            }
        }
        if (places.empty()) {
            std::cerr << "usage: request VM-FILES [HOST PORT [PATH]] [KEY=VALUE]...\n";
            return EXIT_FAILURE;
        }
        const std::string host = places.size() > 2 ? places[1] : "forecast.weather";
        const auto port = static_cast<std::uint16_t>(places.size() > 2 ? std::stoi(places[2]) : 3002);
        const std::string path = places.size() > 3 ? places[3] : "/";
        const std::string request = "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";

        const sidestep::mesh mesh(settings.set("vm-files", places[0]).set("mtls", "required"));
        mesh.wait_ready(30000);
        const sidestep::connection connection = mesh.connect(host, port, SIDESTEP_PROTOCOL_HTTP1);
        const sidestep::info info = mesh.connection_info(connection);
        std::cout << info.get(SIDESTEP_INFO_PEER).value_or("plaintext") << ", "
                  << info.get(SIDESTEP_INFO_GATEWAY).value_or("no gateway") << '\n'
                  << ask(connection, request);
        send_simultaneously(mesh, 4, host, port, request);
        try {
            mesh.connect(host, 1);
        } catch (const sidestep::error &error) {
            std::cout << error.status_name() << ", as expected: " << error.what() << '\n' << error.next_step() << '\n';
        }
        return EXIT_SUCCESS;
    } catch (const sidestep::error &error) {
        std::cerr << error.what() << '\n' << error.next_step() << '\n';
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
    }
    return EXIT_FAILURE;
}
