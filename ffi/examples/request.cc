// A request in C++: handles free themselves, errors are exceptions.
//
//     request VM-FILES
//     c++ -std=c++17 request.cc $(pkg-config --cflags --libs sidestep)
//
// The mesh is in this process; there is no other.
#include <array>
#include <cstdlib>
#include <iostream>
#include <string>

#include <sidestep.hpp>

int main(int argc, char **argv) {
    if (argc < 2) {
        std::cerr << "usage: request VM-FILES\n";
        return EXIT_FAILURE;
    }
    try {
        const sidestep::mesh mesh(sidestep::settings().set("vm-files", argv[1]).set("mtls", "required"));
        mesh.wait_ready(30000);
        const sidestep::connection connection = mesh.connect("forecast.weather", 3002, SIDESTEP_HTTP1);
        const std::string request = "GET / HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n";
        if (::write(connection.fd(), request.data(), request.size()) < 0) {
            throw std::runtime_error("the request was not written");
        }
        std::array<char, 4096> buffer{};
        for (ssize_t length = 0; (length = ::read(connection.fd(), buffer.data(), buffer.size())) > 0;) {
            std::cout.write(buffer.data(), length);
        }
        try {
            mesh.connect("forecast.weather", 80);
        } catch (const sidestep::error &error) {
            std::cerr << "as expected: " << error.what() << '\n' << error.next_step() << '\n';
        }
        return EXIT_SUCCESS;
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return EXIT_FAILURE;
    }
}
