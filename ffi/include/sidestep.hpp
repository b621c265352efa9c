/*
 * sidestep.h for C++17: handles that free themselves, errors as exceptions. Nothing here but what sidestep.h has.
 */
#ifndef SIDESTEP_HPP
#define SIDESTEP_HPP

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <unistd.h>

#include "sidestep.h"

namespace sidestep {

/* What a call failed with. */
class error : public std::runtime_error {
public:
    error(sidestep_status code, const std::string &message, std::string next_step)
        : std::runtime_error(message), code_(code), next_step_(std::move(next_step)) {}

    sidestep_status code() const noexcept { return code_; }
    const std::string &next_step() const noexcept { return next_step_; }

private:
    sidestep_status code_;
    std::string next_step_;
};

namespace detail {

struct free_it {
    void operator()(sidestep_error *handle) const noexcept { sidestep_error_free(handle); }
    void operator()(sidestep_settings *handle) const noexcept { sidestep_settings_free(handle); }
    void operator()(sidestep_mesh *handle) const noexcept { sidestep_mesh_free(handle); }
    void operator()(sidestep_text *handle) const noexcept { sidestep_text_free(handle); }
    void operator()(sidestep_bridge *handle) const noexcept { sidestep_bridge_free(handle); }
    void operator()(addrinfo *list) const noexcept { sidestep_freeaddrinfo(list); }
};

template <class Handle> using owned = std::unique_ptr<Handle, free_it>;

inline std::string text(const char *from) { return from ? from : ""; }

/* Makes a call, whose last argument is where the error goes. */
template <class Call> void checked(Call &&call) {
    sidestep_error *raw = nullptr;
    const sidestep_status status = call(&raw);
    const owned<sidestep_error> failed(raw);
    if (status != SIDESTEP_OK) {
        throw error(status, text(sidestep_error_message(raw)), text(sidestep_error_next_step(raw)));
    }
}

} // namespace detail

/* A list of addresses. */
using addresses = detail::owned<addrinfo>;

/* A descriptor that closes itself. */
class connection {
public:
    explicit connection(int fd) noexcept : fd_(fd) {}
    connection(connection &&other) noexcept : fd_(other.release()) {}
    connection &operator=(connection &&other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    connection(const connection &) = delete;
    connection &operator=(const connection &) = delete;
    ~connection() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }

    int fd() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

/* How a mesh is to be joined: see sidestep_settings_set. */
class settings {
public:
    settings() {
        sidestep_settings *raw = nullptr;
        detail::checked([&](sidestep_error **err) { return sidestep_settings_new(&raw, err); });
        handle_.reset(raw);
    }

    settings &set(const std::string &key, const std::string &value) {
        detail::checked([&](sidestep_error **err) {
            return sidestep_settings_set(handle_.get(), key.c_str(), value.c_str(), err);
        });
        return *this;
    }

    const sidestep_settings *get() const noexcept { return handle_.get(); }

private:
    detail::owned<sidestep_settings> handle_;
};

/* A proxy of this process behind which the mesh is. */
class bridge {
public:
    explicit bridge(sidestep_bridge *raw) noexcept : handle_(raw) {}

    std::string socks_url() const { return detail::text(sidestep_bridge_socks_url(handle_.get())); }
    std::string http_url() const { return detail::text(sidestep_bridge_http_url(handle_.get())); }
    const sidestep_bridge *get() const noexcept { return handle_.get(); }

private:
    detail::owned<sidestep_bridge> handle_;
};

/* A process in a mesh. */
class mesh {
public:
    explicit mesh(const settings &how) {
        sidestep_mesh *raw = nullptr;
        detail::checked([&](sidestep_error **err) { return sidestep_join(how.get(), &raw, err); });
        handle_.reset(raw);
    }

    void wait_ready(std::int64_t timeout_ms = -1) const {
        detail::checked([&](sidestep_error **err) { return sidestep_wait_ready(handle_.get(), timeout_ms, err); });
    }

    connection connect(const std::string &host, std::uint16_t port, std::uint32_t how = SIDESTEP_TCP,
                       std::int64_t timeout_ms = -1) const {
        int fd = -1;
        detail::checked([&](sidestep_error **err) {
            return sidestep_connect(handle_.get(), host.c_str(), port, how, timeout_ms, &fd, err);
        });
        return connection(fd);
    }

    addresses lookup(const std::string &host, const std::string &service) const {
        addrinfo *list = nullptr;
        detail::checked([&](sidestep_error **err) {
            sidestep_getaddrinfo(handle_.get(), host.c_str(), service.c_str(), nullptr, &list, err);
            return *err ? sidestep_error_code(*err) : SIDESTEP_OK;
        });
        return addresses(list);
    }

    bridge start_bridge(std::int32_t access = SIDESTEP_ACCESS_SAME_PROCESS) const {
        sidestep_bridge *raw = nullptr;
        detail::checked([&](sidestep_error **err) {
            return sidestep_bridge_start(handle_.get(), access, &raw, err);
        });
        return bridge(raw);
    }

    std::string explain(const std::string &host, std::uint16_t port, std::uint32_t how = SIDESTEP_TCP) const {
        sidestep_text *raw = nullptr;
        detail::checked([&](sidestep_error **err) {
            return sidestep_explain(handle_.get(), host.c_str(), port, how, &raw, err);
        });
        const detail::owned<sidestep_text> explanation(raw);
        return detail::text(sidestep_text_get(raw));
    }

    const sidestep_mesh *get() const noexcept { return handle_.get(); }

private:
    detail::owned<sidestep_mesh> handle_;
};

} // namespace sidestep

#endif
