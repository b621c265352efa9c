/*
 * sidestep.h for C++17: handles that free themselves, errors as exceptions. Nothing here but what sidestep.h has, and
 * what it says of threads, blocking and processes holds here too. Objects are moved and not copied; one that was moved
 * from may be destroyed or assigned to, and every call of it throws SIDESTEP_NULL_POINTER.
 */
#ifndef SIDESTEP_HPP
#define SIDESTEP_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

#include "sidestep.h"

namespace sidestep {

/* What a call failed with: what() has hosts, files and identities in it. */
class error : public std::runtime_error {
public:
    error(sidestep_status code, const std::string &message, std::string next_step)
        : std::runtime_error(message), code_(code), next_step_(std::move(next_step)) {}

    sidestep_status code() const noexcept { return code_; }
    const std::string &next_step() const noexcept { return next_step_; }
    /* The nearest errno. */
    int system_code() const noexcept { return sidestep_errno(code_); }

private:
    sidestep_status code_;
    std::string next_step_;
};

namespace detail {

struct free_it {
    void operator()(sidestep_error *handle) const noexcept { sidestep_error_free(handle); }
    void operator()(sidestep_settings *handle) const noexcept { sidestep_settings_free(handle); }
    void operator()(sidestep_mesh *handle) const noexcept { sidestep_mesh_free(handle); }
    void operator()(sidestep_info *handle) const noexcept { sidestep_info_free(handle); }
    void operator()(sidestep_stream *handle) const noexcept { sidestep_stream_close(handle); }
    void operator()(sidestep_text *handle) const noexcept { sidestep_text_free(handle); }
    void operator()(sidestep_queue *handle) const noexcept { sidestep_queue_free(handle); }
    void operator()(sidestep_bridge *handle) const noexcept { sidestep_bridge_free(handle); }
    void operator()(sidestep_dns *handle) const noexcept { sidestep_dns_free(handle); }
    void operator()(addrinfo *list) const noexcept { sidestep_freeaddrinfo(list); }
};

template <class Handle> using owned = std::unique_ptr<Handle, free_it>;

inline std::string text(const char *from) { return from ? from : ""; }

/* For C, which ends texts at a zero byte. */
inline std::string for_c(std::string_view from) {
    if (from.find('\0') != from.npos) {
        throw error(SIDESTEP_INVALID_ARGUMENT, "a text with a zero byte in it", "pass a text without one");
    }
    return std::string(from);
}

inline error failure(sidestep_status status, const sidestep_error *raw) {
    return error(status, text(sidestep_error_message(raw)), text(sidestep_error_next_step(raw)));
}

/* Makes a call, whose last argument is where the error goes. */
template <class Call> void checked(Call &&call) {
    sidestep_error *raw = nullptr;
    const sidestep_status status = call(&raw);
    const owned<sidestep_error> failed(raw);
    if (status != SIDESTEP_OK) {
        throw failure(status, raw);
    }
}

/* Makes a call that gives a handle. */
template <class Handle, class Call> owned<Handle> made(Call &&call) {
    Handle *raw = nullptr;
    checked([&](sidestep_error **err) { return call(&raw, err); });
    return owned<Handle>(raw);
}

template <class Call> std::string told(Call &&call) {
    return text(sidestep_text_get(made<sidestep_text>(std::forward<Call>(call)).get()));
}

/* Makes a call that answers as getaddrinfo does. */
template <class Call> owned<addrinfo> looked_up(Call &&call) {
    return made<addrinfo>([&](addrinfo **list, sidestep_error **err) {
        const int answer = call(list, err);
        return answer == 0 ? SIDESTEP_OK : *err ? sidestep_error_code(*err) : SIDESTEP_RESOLVE;
    });
}

} // namespace detail

/* A list of addresses. */
using addresses = detail::owned<addrinfo>;

/* A descriptor that closes itself. */
class connection {
public:
    explicit connection(int fd = -1) noexcept : fd_(fd) {}
    connection(connection &&other) noexcept : fd_(other.release()) {}
    connection &operator=(connection &&other) noexcept {
        reset(other.release());
        return *this;
    }
    ~connection() { reset(); }

    int fd() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    /* Hands it over to the caller, who closes it. */
    int release() noexcept { return std::exchange(fd_, -1); }
    void reset(int fd = -1) noexcept {
        const int old = std::exchange(fd_, fd);
        if (old >= 0) {
            ::close(old);
        }
    }

private:
    int fd_;
};

/* What a connection is. */
class info {
public:
    explicit info(detail::owned<sidestep_info> handle) noexcept : handle_(std::move(handle)) {}

    /* One of SIDESTEP_INFO_...; nothing where there is none. */
    std::optional<std::string> get(std::int32_t what) const {
        const char *found = sidestep_info_get(handle_.get(), what);
        return found ? std::optional<std::string>(found) : std::nullopt;
    }

private:
    detail::owned<sidestep_info> handle_;
};

/* A connection that is read and written by calls. */
class stream {
public:
    explicit stream(detail::owned<sidestep_stream> handle) noexcept : handle_(std::move(handle)) {}

    /* How many bytes came; 0 is the end. */
    std::size_t read(void *data, std::size_t size, std::int64_t timeout_ms = -1) {
        std::size_t count = 0;
        detail::checked([&](sidestep_error **err) {
            return sidestep_stream_read(handle_.get(), static_cast<std::uint8_t *>(data), size, timeout_ms, &count, err);
        });
        return count;
    }

    void write(std::string_view data, std::int64_t timeout_ms = -1) {
        std::size_t count = 0;
        detail::checked([&](sidestep_error **err) {
            const auto *bytes = reinterpret_cast<const std::uint8_t *>(data.data());
            return sidestep_stream_write(handle_.get(), bytes, data.size(), timeout_ms, &count, err);
        });
    }

    void shutdown(std::int64_t timeout_ms = -1) {
        detail::checked(
            [&](sidestep_error **err) { return sidestep_stream_shutdown(handle_.get(), timeout_ms, err); });
    }

    sidestep::info info() const {
        return sidestep::info(detail::made<sidestep_info>([&](sidestep_info **raw, sidestep_error **err) {
            return sidestep_stream_info(handle_.get(), raw, err);
        }));
    }

    sidestep_stream *get() const noexcept { return handle_.get(); }

private:
    detail::owned<sidestep_stream> handle_;
};

/* How a mesh is to be joined: see sidestep_settings_set. */
class settings {
public:
    settings()
        : handle_(detail::made<sidestep_settings>(
              [](sidestep_settings **raw, sidestep_error **err) { return sidestep_settings_new(raw, err); })) {}

    settings &set(std::string_view key, std::string_view value) {
        const std::string name = detail::for_c(key), text = detail::for_c(value);
        detail::checked([&](sidestep_error **err) {
            return sidestep_settings_set(handle_.get(), name.c_str(), text.c_str(), err);
        });
        return *this;
    }

    /* Called on the mesh's threads; must not throw. `user_data` lives as long as the mesh. */
    settings &log(std::int32_t level, sidestep_log_fn callback, void *user_data = nullptr) {
        detail::checked([&](sidestep_error **err) {
            return sidestep_settings_log(handle_.get(), level, callback, user_data, err);
        });
        return *this;
    }

    const sidestep_settings *get() const noexcept { return handle_.get(); }

private:
    detail::owned<sidestep_settings> handle_;
};

/* Listeners of this process behind which the mesh is. */
class bridge {
public:
    explicit bridge(detail::owned<sidestep_bridge> handle) noexcept : handle_(std::move(handle)) {}

    std::string socks_url() const { return detail::text(sidestep_bridge_socks_url(handle_.get())); }
    std::string http_url() const { return detail::text(sidestep_bridge_http_url(handle_.get())); }

    void listen_unix(std::string_view path, std::string_view host, std::uint16_t port, std::uint32_t how = SIDESTEP_TCP) {
        const std::string file = detail::for_c(path), name = detail::for_c(host);
        detail::checked([&](sidestep_error **err) {
            return sidestep_bridge_listen_unix(handle_.get(), file.c_str(), name.c_str(), port, how, err);
        });
    }

    void listen_postgres(std::string_view folder, std::string_view host, std::uint16_t port) {
        const std::string path = detail::for_c(folder), name = detail::for_c(host);
        detail::checked([&](sidestep_error **err) {
            return sidestep_bridge_listen_postgres(handle_.get(), path.c_str(), name.c_str(), port, err);
        });
    }

    /* The address and the port that are listened on. */
    std::pair<std::string, std::uint16_t> listen_local(std::string_view host, std::uint16_t port,
                                                       std::uint32_t how = SIDESTEP_TCP, std::uint16_t local_port = 0) {
        const std::string name = detail::for_c(host);
        char address[SIDESTEP_ADDRESS_SIZE] = "";
        detail::checked([&](sidestep_error **err) {
            return sidestep_bridge_listen_local(handle_.get(), name.c_str(), port, how, address, &local_port, err);
        });
        return {address, local_port};
    }

    /* Addresses and ports that may be dialled. */
    addresses lookup(std::string_view host, std::string_view service, const addrinfo *hints = nullptr) const {
        const std::string name = detail::for_c(host), port = detail::for_c(service);
        return detail::looked_up([&](addrinfo **list, sidestep_error **err) {
            return sidestep_bridge_getaddrinfo(handle_.get(), name.c_str(), port.c_str(), hints, list, err);
        });
    }

    const sidestep_bridge *get() const noexcept { return handle_.get(); }

private:
    detail::owned<sidestep_bridge> handle_;
};

/* A DNS server that knows the mesh's names. */
class dns {
public:
    explicit dns(detail::owned<sidestep_dns> handle) noexcept : handle_(std::move(handle)) {}

    std::uint16_t port() const noexcept { return sidestep_dns_port(handle_.get()); }

private:
    detail::owned<sidestep_dns> handle_;
};

/* A process in a mesh. */
class mesh {
public:
    explicit mesh(const settings &how)
        : handle_(detail::made<sidestep_mesh>(
              [&](sidestep_mesh **raw, sidestep_error **err) { return sidestep_join(how.get(), raw, err); })) {}

    void wait_ready(std::int64_t timeout_ms = -1) const {
        detail::checked([&](sidestep_error **err) { return sidestep_wait_ready(get(), timeout_ms, err); });
    }

    sidestep::connection connect(std::string_view host, std::uint16_t port, std::uint32_t how = SIDESTEP_TCP,
                                 std::int64_t timeout_ms = -1) const {
        const std::string name = detail::for_c(host);
        int fd = -1;
        detail::checked([&](sidestep_error **err) {
            return sidestep_connect(get(), name.c_str(), port, how, timeout_ms, &fd, err);
        });
        return sidestep::connection(fd);
    }

    sidestep::info info(const sidestep::connection &of) const {
        return sidestep::info(detail::made<sidestep_info>([&](sidestep_info **raw, sidestep_error **err) {
            return sidestep_connection_info(get(), of.fd(), raw, err);
        }));
    }

    sidestep::stream connect_stream(std::string_view host, std::uint16_t port, std::uint32_t how = SIDESTEP_TCP,
                                    std::int64_t timeout_ms = -1) const {
        const std::string name = detail::for_c(host);
        return sidestep::stream(detail::made<sidestep_stream>([&](sidestep_stream **raw, sidestep_error **err) {
            return sidestep_stream_connect(get(), name.c_str(), port, how, timeout_ms, raw, err);
        }));
    }

    /* The mesh's own addresses. */
    addresses lookup(std::string_view host, std::string_view service, const addrinfo *hints = nullptr) const {
        const std::string name = detail::for_c(host), port = detail::for_c(service);
        return detail::looked_up([&](addrinfo **list, sidestep_error **err) {
            return sidestep_getaddrinfo(get(), name.c_str(), port.c_str(), hints, list, err);
        });
    }

    sidestep::bridge start_bridge(std::int32_t access = SIDESTEP_ACCESS_SAME_PROCESS) const {
        return sidestep::bridge(detail::made<sidestep_bridge>([&](sidestep_bridge **raw, sidestep_error **err) {
            return sidestep_bridge_start(get(), access, raw, err);
        }));
    }

    /* With a bridge the names have addresses that may be dialled. */
    sidestep::dns start_dns(std::string_view address, const sidestep::bridge *by = nullptr) const {
        const std::string at = detail::for_c(address);
        return sidestep::dns(detail::made<sidestep_dns>([&](sidestep_dns **raw, sidestep_error **err) {
            return sidestep_dns_start(get(), at.c_str(), by ? by->get() : nullptr, raw, err);
        }));
    }

    std::string explain(std::string_view host, std::uint16_t port, std::uint32_t how = SIDESTEP_TCP) const {
        const std::string name = detail::for_c(host);
        return detail::told([&](sidestep_text **raw, sidestep_error **err) {
            return sidestep_explain(get(), name.c_str(), port, how, raw, err);
        });
    }

    /* JSON. */
    std::string health() const {
        return detail::told(
            [&](sidestep_text **raw, sidestep_error **err) { return sidestep_health(get(), raw, err); });
    }

    /* Prometheus' text. */
    std::string metrics() const {
        return detail::told(
            [&](sidestep_text **raw, sidestep_error **err) { return sidestep_metrics(get(), raw, err); });
    }

    /* Leaves the mesh, and waits until open connections have ended. */
    void shutdown(std::int64_t timeout_ms = -1) const {
        detail::checked([&](sidestep_error **err) { return sidestep_shutdown(get(), timeout_ms, err); });
    }

    const sidestep_mesh *get() const noexcept { return handle_.get(); }

private:
    detail::owned<sidestep_mesh> handle_;
};

/* What an operation of a queue came to. */
struct completion {
    std::uint64_t operation;
    void *user_data;
    sidestep::connection connection;
    sidestep::addresses addresses;
    std::string text;
    /* Why it failed. */
    std::optional<sidestep::error> failure;
};

/* Operations under way. `user_data` comes back with the completion. */
class queue {
public:
    explicit queue(const mesh &of)
        : handle_(detail::made<sidestep_queue>(
              [&](sidestep_queue **raw, sidestep_error **err) { return sidestep_queue_new(of.get(), raw, err); })) {}

    /* Readable while next() has something: for poll, epoll, libuv, GLib. */
    int fd() const noexcept { return sidestep_queue_fd(handle_.get()); }

    /* What one operation came to; nothing while nothing has ended. It does not wait. */
    std::optional<completion> next() {
        sidestep_completion raw{};
        sidestep_error *unexpected = nullptr;
        const sidestep_status status = sidestep_queue_next(handle_.get(), &raw, sizeof raw, &unexpected);
        const detail::owned<sidestep_error> owned(unexpected);
        if (status == SIDESTEP_AGAIN) {
            return std::nullopt;
        }
        if (status != SIDESTEP_OK) {
            throw detail::failure(status, unexpected);
        }
        const detail::owned<sidestep_error> failed(raw.error);
        const detail::owned<sidestep_text> text(raw.text);
        completion ended{raw.operation, raw.user_data, sidestep::connection(raw.fd), sidestep::addresses(raw.addresses),
                         {}, std::nullopt};
        ended.text = detail::text(sidestep_text_get(text.get()));
        if (raw.status != SIDESTEP_OK) {
            ended.failure = detail::failure(raw.status, failed.get());
        }
        return ended;
    }

    std::uint64_t wait_ready(std::int64_t timeout_ms = -1, void *user_data = nullptr) {
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_start_wait_ready(handle_.get(), timeout_ms, user_data, operation, err);
        });
    }

    std::uint64_t connect(std::string_view host, std::uint16_t port, std::uint32_t how = SIDESTEP_TCP,
                          std::int64_t timeout_ms = -1, void *user_data = nullptr) {
        const std::string name = detail::for_c(host);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_start_connect(handle_.get(), name.c_str(), port, how, timeout_ms, user_data, operation, err);
        });
    }

    std::uint64_t explain(std::string_view host, std::uint16_t port, std::uint32_t how = SIDESTEP_TCP,
                          void *user_data = nullptr) {
        const std::string name = detail::for_c(host);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_start_explain(handle_.get(), name.c_str(), port, how, user_data, operation, err);
        });
    }

    /* The mesh's own addresses. */
    std::uint64_t lookup(std::string_view host, std::string_view service, const addrinfo *hints = nullptr,
                         void *user_data = nullptr) {
        const std::string name = detail::for_c(host), port = detail::for_c(service);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_start_getaddrinfo(handle_.get(), name.c_str(), port.c_str(), hints, user_data, operation, err);
        });
    }

    /* Addresses and ports that may be dialled. */
    std::uint64_t lookup(const bridge &by, std::string_view host, std::string_view service,
                         const addrinfo *hints = nullptr, void *user_data = nullptr) {
        const std::string name = detail::for_c(host), port = detail::for_c(service);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_start_bridge_getaddrinfo(handle_.get(), by.get(), name.c_str(), port.c_str(), hints, user_data,
                                                     operation, err);
        });
    }

    /* Leaves the mesh. */
    std::uint64_t shutdown(std::int64_t timeout_ms = -1, void *user_data = nullptr) {
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_start_shutdown(handle_.get(), timeout_ms, user_data, operation, err);
        });
    }

    void cancel(std::uint64_t operation) {
        detail::checked([&](sidestep_error **err) { return sidestep_cancel(handle_.get(), operation, err); });
    }

    sidestep_queue *get() const noexcept { return handle_.get(); }

private:
    template <class Call> static std::uint64_t started(Call &&call) {
        std::uint64_t operation = 0;
        detail::checked([&](sidestep_error **err) { return call(&operation, err); });
        return operation;
    }

    detail::owned<sidestep_queue> handle_;
};

} // namespace sidestep

#endif
