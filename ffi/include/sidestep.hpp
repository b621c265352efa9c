/*
 * The C++17 interface of libsidestep: objects that free their handles, and errors as exceptions. The functions have the same
 * names and behaviour as those of sidestep.h, which documents them, and the same rules for threads, blocking and processes.
 *
 * Objects can be moved but not copied. close() frees an object early. A call on an object that is closed or was moved from
 * throws SIDESTEP_E_BAD_HANDLE with a message that says so.
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

/* The reason why a call failed. what() is the message: it names hosts, files and identities. */
class error : public std::runtime_error {
public:
    error(sidestep_status status, const std::string &message, std::string next_step, bool is_transient = false, int eai = 0)
        : std::runtime_error(message), status_(status), next_step_(std::move(next_step)), is_transient_(is_transient),
          eai_(eai) {}

    sidestep_status status() const noexcept { return status_; }
    /* Returns the name of the status, such as "SIDESTEP_E_TIMEOUT". */
    const char *status_name() const noexcept { return sidestep_status_name(status_); }
    const char *status_text() const noexcept { return sidestep_status_text(status_); }
    const std::string &next_step() const noexcept { return next_step_; }
    bool is_transient() const noexcept { return is_transient_; }
    /* Returns the EAI_ code of a name resolution, and 0 for other calls. */
    int eai() const noexcept { return eai_; }
    /* Returns the errno that is closest to the status. (`errno` is a macro, so the function has another name than in C.) */
    int error_number() const noexcept { return sidestep_errno(status_); }

private:
    sidestep_status status_;
    std::string next_step_;
    bool is_transient_;
    int eai_;
};

namespace detail {

struct free_handle {
    void operator()(sidestep_error *handle) const noexcept { sidestep_error_free(handle); }
    void operator()(sidestep_settings *handle) const noexcept { sidestep_settings_free(handle); }
    void operator()(sidestep_mesh *handle) const noexcept { sidestep_mesh_free(handle); }
    void operator()(sidestep_info *handle) const noexcept { sidestep_info_free(handle); }
    void operator()(sidestep_stream *handle) const noexcept { sidestep_stream_free(handle); }
    void operator()(sidestep_text *handle) const noexcept { sidestep_text_free(handle); }
    void operator()(sidestep_queue *handle) const noexcept { sidestep_queue_free(handle); }
    void operator()(sidestep_bridge *handle) const noexcept { sidestep_bridge_free(handle); }
    void operator()(sidestep_dns *handle) const noexcept { sidestep_dns_free(handle); }
    void operator()(addrinfo *list) const noexcept { sidestep_freeaddrinfo(list); }
};

template <class Handle> using owned = std::unique_ptr<Handle, free_handle>;

inline const char *type_name(const sidestep_settings *) { return "sidestep::settings"; }
inline const char *type_name(const sidestep_mesh *) { return "sidestep::mesh"; }
inline const char *type_name(const sidestep_info *) { return "sidestep::info"; }
inline const char *type_name(const sidestep_stream *) { return "sidestep::stream"; }
inline const char *type_name(const sidestep_queue *) { return "sidestep::queue"; }
inline const char *type_name(const sidestep_bridge *) { return "sidestep::bridge"; }
inline const char *type_name(const sidestep_dns *) { return "sidestep::dns"; }

/* The base of all objects with a handle. */
template <class Handle> class object {
public:
    explicit object(owned<Handle> handle) noexcept : handle_(std::move(handle)) {}

    /* Returns the C handle. Throws SIDESTEP_E_BAD_HANDLE if the object is closed or was moved from. */
    Handle *get() const {
        if (!handle_) {
            throw error(SIDESTEP_E_BAD_HANDLE, std::string("this ") + type_name(handle_.get()) + " is closed or was moved from",
                        "use the object before it is closed, or create another one");
        }
        return handle_.get();
    }
    /* Whether the object is open. */
    explicit operator bool() const noexcept { return static_cast<bool>(handle_); }
    /* Frees the object, as its destructor does. */
    void close() noexcept { handle_.reset(); }

private:
    owned<Handle> handle_;
};

inline std::string text(const char *from) { return from ? from : ""; }

/* Copies a text for C, where a zero byte would end it. */
inline std::string for_c(std::string_view from) {
    if (from.find('\0') != from.npos) {
        throw error(SIDESTEP_E_INVALID_ARGUMENT, "a text contains a zero byte", "pass texts without zero bytes");
    }
    return std::string(from);
}

inline error failure(sidestep_status status, const sidestep_error *raw, int eai = 0) {
    if (raw == nullptr) {
        /* The process has too many error objects. */
        return error(status, text(sidestep_status_text(status)), "", false, eai);
    }
    return error(status, text(sidestep_error_message(raw)), text(sidestep_error_next_step(raw)),
                 sidestep_error_is_transient(raw) != 0, eai);
}

/* Makes a call that returns a status. The last argument of the call is the output for the error. */
template <class Call> void checked(Call &&call) {
    sidestep_error *raw = nullptr;
    const sidestep_status status = call(&raw);
    const owned<sidestep_error> guard(raw);
    if (status != SIDESTEP_OK) {
        throw failure(status, raw);
    }
}

/* Makes a call that creates an object. */
template <class Handle, class Call> owned<Handle> created(Call &&call) {
    Handle *raw = nullptr;
    checked([&](sidestep_error **err) { return call(&raw, err); });
    return owned<Handle>(raw);
}

/* Makes a call that returns a text. */
template <class Call> std::string text_of(Call &&call) {
    return text(sidestep_text_get(created<sidestep_text>(std::forward<Call>(call)).get()));
}

/* Makes a call that returns an EAI_ code. */
template <class Call> owned<addrinfo> resolved(Call &&call) {
    addrinfo *list = nullptr;
    sidestep_error *raw = nullptr;
    const int eai = call(&list, &raw);
    const owned<sidestep_error> guard(raw);
    if (eai != 0) {
        throw failure(raw ? sidestep_error_status(raw) : SIDESTEP_E_RESOLVE, raw, eai);
    }
    return owned<addrinfo>(list);
}

} // namespace detail

/* A list of addresses, which it frees. */
using addresses = detail::owned<addrinfo>;

/* The descriptor of a connection, which it closes. */
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
    /* Returns the descriptor. The caller closes it. */
    int release() noexcept { return std::exchange(fd_, -1); }
    void close() noexcept { reset(); }
    void reset(int fd = -1) noexcept {
        const int old = std::exchange(fd_, fd);
        if (old >= 0) {
            ::close(old);
        }
    }

private:
    int fd_;
};

/* Information about a connection. */
class info : public detail::object<sidestep_info> {
public:
    using object::object;

    /* Returns the text of a SIDESTEP_INFO_... constant, or nothing if the connection has none. */
    std::optional<std::string> get(std::int32_t what) const {
        const char *found = sidestep_info_get(object::get(), what);
        return found ? std::optional<std::string>(found) : std::nullopt;
    }
};

/* A connection that the program reads and writes by calls. */
class stream : public detail::object<sidestep_stream> {
public:
    using object::object;

    /* Returns the number of bytes that were read. 0 is the end of the stream. */
    std::size_t read(void *data, std::size_t size, std::int64_t timeout_ms = -1) {
        std::size_t count = 0;
        detail::checked([&](sidestep_error **err) {
            return sidestep_stream_read(get(), static_cast<std::uint8_t *>(data), size, timeout_ms, &count, err);
        });
        return count;
    }

    /* Writes all of the data. */
    void write(std::string_view data, std::int64_t timeout_ms = -1) {
        std::size_t count = 0;
        detail::checked([&](sidestep_error **err) {
            const auto *bytes = reinterpret_cast<const std::uint8_t *>(data.data());
            return sidestep_stream_write(get(), bytes, data.size(), timeout_ms, &count, err);
        });
    }

    /* Ends the write direction. */
    void shutdown(std::int64_t timeout_ms = -1) {
        detail::checked([&](sidestep_error **err) { return sidestep_stream_shutdown(get(), timeout_ms, err); });
    }

    sidestep::info info() const {
        return sidestep::info(detail::created<sidestep_info>(
            [&](sidestep_info **raw, sidestep_error **err) { return sidestep_stream_info(get(), raw, err); }));
    }
};

/* The settings with which a mesh is joined. sidestep_settings_set lists the keys. */
class settings : public detail::object<sidestep_settings> {
public:
    settings()
        : object(detail::created<sidestep_settings>(
              [](sidestep_settings **raw, sidestep_error **err) { return sidestep_settings_new(raw, err); })) {}

    settings &set(std::string_view key, std::string_view value) {
        const std::string name = detail::for_c(key), text = detail::for_c(value);
        detail::checked(
            [&](sidestep_error **err) { return sidestep_settings_set(get(), name.c_str(), text.c_str(), err); });
        return *this;
    }

    /* Sets the log callback. It is called on the mesh's threads and must not throw. */
    settings &log(std::int32_t level, sidestep_log_fn callback, void *user_data = nullptr) {
        detail::checked(
            [&](sidestep_error **err) { return sidestep_settings_log(get(), level, callback, user_data, err); });
        return *this;
    }
};

/* A bridge: local listeners in this process that forward connections into the mesh. */
class bridge : public detail::object<sidestep_bridge> {
public:
    using object::object;

    std::string socks_url() const { return detail::text(sidestep_bridge_socks_url(get())); }
    std::string http_url() const { return detail::text(sidestep_bridge_http_url(get())); }

    void listen_unix(std::string_view path, std::string_view host, std::uint16_t port,
                     std::uint32_t flags = SIDESTEP_PROTOCOL_TCP) const {
        const std::string file = detail::for_c(path), name = detail::for_c(host);
        detail::checked([&](sidestep_error **err) {
            return sidestep_bridge_listen_unix(get(), file.c_str(), name.c_str(), port, flags, err);
        });
    }

    void listen_postgres(std::string_view folder, std::string_view host, std::uint16_t port) const {
        const std::string path = detail::for_c(folder), name = detail::for_c(host);
        detail::checked([&](sidestep_error **err) {
            return sidestep_bridge_listen_postgres(get(), path.c_str(), name.c_str(), port, err);
        });
    }

    /* Returns the address and the port of the listener. */
    std::pair<std::string, std::uint16_t> listen_local(std::string_view host, std::uint16_t port,
                                                       std::uint32_t flags = SIDESTEP_PROTOCOL_TCP,
                                                       std::uint16_t local_port = 0) const {
        const std::string name = detail::for_c(host);
        char address[SIDESTEP_ADDRESS_SIZE] = "";
        detail::checked([&](sidestep_error **err) {
            return sidestep_bridge_listen_local(get(), name.c_str(), port, flags, address, &local_port, err);
        });
        return {address, local_port};
    }

    /* Resolves a name to addresses that accept connections. */
    addresses getaddrinfo(std::string_view node, std::string_view service, const addrinfo *hints = nullptr) const {
        const std::string name = detail::for_c(node), port = detail::for_c(service);
        return detail::resolved([&](addrinfo **list, sidestep_error **err) {
            return sidestep_bridge_getaddrinfo(get(), name.c_str(), port.c_str(), hints, list, err);
        });
    }
};

/* A DNS server that answers mesh names. */
class dns : public detail::object<sidestep_dns> {
public:
    using object::object;

    std::uint16_t port() const { return sidestep_dns_port(get()); }
};

/* A mesh that this process joins. */
class mesh : public detail::object<sidestep_mesh> {
public:
    explicit mesh(const settings &from)
        : object(detail::created<sidestep_mesh>(
              [&](sidestep_mesh **raw, sidestep_error **err) { return sidestep_join(from.get(), raw, err); })) {}

    void wait_ready(std::int64_t timeout_ms = -1) const {
        detail::checked([&](sidestep_error **err) { return sidestep_wait_ready(get(), timeout_ms, err); });
    }

    sidestep::connection connect(std::string_view host, std::uint16_t port, std::uint32_t flags = SIDESTEP_PROTOCOL_TCP,
                                 std::int64_t timeout_ms = -1) const {
        const std::string name = detail::for_c(host);
        int fd = -1;
        detail::checked([&](sidestep_error **err) {
            return sidestep_connect(get(), name.c_str(), port, flags, timeout_ms, &fd, err);
        });
        return sidestep::connection(fd);
    }

    sidestep::info connection_info(const sidestep::connection &of) const {
        return sidestep::info(detail::created<sidestep_info>([&](sidestep_info **raw, sidestep_error **err) {
            return sidestep_connection_info(get(), of.fd(), raw, err);
        }));
    }

    sidestep::stream stream_connect(std::string_view host, std::uint16_t port,
                                    std::uint32_t flags = SIDESTEP_PROTOCOL_TCP, std::int64_t timeout_ms = -1) const {
        const std::string name = detail::for_c(host);
        return sidestep::stream(detail::created<sidestep_stream>([&](sidestep_stream **raw, sidestep_error **err) {
            return sidestep_stream_connect(get(), name.c_str(), port, flags, timeout_ms, raw, err);
        }));
    }

    /* Resolves a name to the addresses of the mesh. Pass them to connect() of this class only. */
    addresses getaddrinfo(std::string_view node, std::string_view service, const addrinfo *hints = nullptr) const {
        const std::string name = detail::for_c(node), port = detail::for_c(service);
        return detail::resolved([&](addrinfo **list, sidestep_error **err) {
            return sidestep_getaddrinfo(get(), name.c_str(), port.c_str(), hints, list, err);
        });
    }

    sidestep::bridge bridge_start(std::int32_t access = SIDESTEP_ACCESS_SAME_PROCESS) const {
        return sidestep::bridge(detail::created<sidestep_bridge>([&](sidestep_bridge **raw, sidestep_error **err) {
            return sidestep_bridge_start(get(), access, raw, err);
        }));
    }

    /* Starts a DNS server. With a bridge, its answers are addresses that accept connections. */
    sidestep::dns dns_start(std::string_view address, const sidestep::bridge *bridge = nullptr) const {
        const std::string at = detail::for_c(address);
        return sidestep::dns(detail::created<sidestep_dns>([&](sidestep_dns **raw, sidestep_error **err) {
            return sidestep_dns_start(get(), at.c_str(), bridge ? bridge->get() : nullptr, raw, err);
        }));
    }

    std::string explain(std::string_view host, std::uint16_t port, std::uint32_t flags = SIDESTEP_PROTOCOL_TCP) const {
        const std::string name = detail::for_c(host);
        return detail::text_of([&](sidestep_text **raw, sidestep_error **err) {
            return sidestep_explain(get(), name.c_str(), port, flags, raw, err);
        });
    }

    /* Returns JSON. */
    std::string health() const {
        return detail::text_of(
            [&](sidestep_text **raw, sidestep_error **err) { return sidestep_health(get(), raw, err); });
    }

    /* Returns the text format of Prometheus. */
    std::string metrics() const {
        return detail::text_of(
            [&](sidestep_text **raw, sidestep_error **err) { return sidestep_metrics(get(), raw, err); });
    }

    /* Leaves the mesh, and waits for open connections. */
    void shutdown(std::int64_t timeout_ms = -1) const {
        detail::checked([&](sidestep_error **err) { return sidestep_shutdown(get(), timeout_ms, err); });
    }
};

/* The result of an operation of a queue. */
struct completion {
    std::uint64_t operation;
    void *user_data;
    sidestep_status status;
    /* The result of a name resolution: 0 or an EAI_ code. */
    int eai;
    sidestep::connection connection;
    sidestep::addresses addresses;
    std::string text;
    std::optional<sidestep::stream> stream;
    std::optional<sidestep::bridge> bridge;
    std::optional<sidestep::dns> dns;
    /* The reason why the operation failed. */
    std::optional<sidestep::error> error;
};

/* A queue of operations, for event loops. The functions that start an operation return its number; the completion contains the
 * `user_data` that was passed to them. */
class queue : public detail::object<sidestep_queue> {
public:
    explicit queue(const mesh &of)
        : object(detail::created<sidestep_queue>(
              [&](sidestep_queue **raw, sidestep_error **err) { return sidestep_queue_new(of.get(), raw, err); })) {}

    /* Returns the descriptor, which is readable while next() returns completions: for poll, epoll, libuv, GLib. */
    int fd() const { return sidestep_queue_fd(get()); }

    /* Returns the next completion, or nothing if there is none. It does not wait. */
    std::optional<completion> next() {
        sidestep_completion raw{};
        sidestep_error *unexpected = nullptr;
        const sidestep_status status = sidestep_queue_next(get(), &raw, sizeof raw, &unexpected);
        const detail::owned<sidestep_error> guard(unexpected);
        if (status == SIDESTEP_E_AGAIN) {
            return std::nullopt;
        }
        if (status != SIDESTEP_OK) {
            throw detail::failure(status, unexpected);
        }
        const detail::owned<sidestep_error> failed(raw.error);
        const detail::owned<sidestep_text> text(raw.text);
        detail::owned<sidestep_stream> stream(raw.stream);
        detail::owned<sidestep_bridge> bridge(raw.bridge);
        detail::owned<sidestep_dns> dns(raw.dns);
        completion ended{raw.operation, raw.user_data, raw.status, raw.eai, sidestep::connection(raw.fd),
                         sidestep::addresses(raw.addresses), {}, std::nullopt, std::nullopt, std::nullopt, std::nullopt};
        ended.text = detail::text(sidestep_text_get(text.get()));
        if (stream) {
            ended.stream.emplace(std::move(stream));
        }
        if (bridge) {
            ended.bridge.emplace(std::move(bridge));
        }
        if (dns) {
            ended.dns.emplace(std::move(dns));
        }
        if (raw.status != SIDESTEP_OK) {
            ended.error = detail::failure(raw.status, failed.get(), raw.eai);
        }
        return ended;
    }

    std::uint64_t wait_ready(std::int64_t timeout_ms = -1, void *user_data = nullptr) {
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_wait_ready(get(), timeout_ms, user_data, operation, err);
        });
    }

    std::uint64_t connect(std::string_view host, std::uint16_t port, std::uint32_t flags = SIDESTEP_PROTOCOL_TCP,
                          std::int64_t timeout_ms = -1, void *user_data = nullptr) {
        const std::string name = detail::for_c(host);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_connect(get(), name.c_str(), port, flags, timeout_ms, user_data, operation, err);
        });
    }

    std::uint64_t stream_connect(std::string_view host, std::uint16_t port, std::uint32_t flags = SIDESTEP_PROTOCOL_TCP,
                                 std::int64_t timeout_ms = -1, void *user_data = nullptr) {
        const std::string name = detail::for_c(host);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_stream_connect(get(), name.c_str(), port, flags, timeout_ms, user_data, operation, err);
        });
    }

    std::uint64_t explain(std::string_view host, std::uint16_t port, std::uint32_t flags = SIDESTEP_PROTOCOL_TCP,
                          void *user_data = nullptr) {
        const std::string name = detail::for_c(host);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_explain(get(), name.c_str(), port, flags, user_data, operation, err);
        });
    }

    /* Resolves a name to the addresses of the mesh. */
    std::uint64_t getaddrinfo(std::string_view node, std::string_view service, const addrinfo *hints = nullptr,
                              void *user_data = nullptr) {
        const std::string name = detail::for_c(node), port = detail::for_c(service);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_getaddrinfo(get(), name.c_str(), port.c_str(), hints, user_data, operation, err);
        });
    }

    std::uint64_t bridge_start(std::int32_t access = SIDESTEP_ACCESS_SAME_PROCESS, void *user_data = nullptr) {
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_bridge_start(get(), access, user_data, operation, err);
        });
    }

    std::uint64_t bridge_listen_unix(const bridge &by, std::string_view path, std::string_view host, std::uint16_t port,
                                     std::uint32_t flags = SIDESTEP_PROTOCOL_TCP, void *user_data = nullptr) {
        const std::string file = detail::for_c(path), name = detail::for_c(host);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_bridge_listen_unix(get(), by.get(), file.c_str(), name.c_str(), port, flags, user_data,
                                                     operation, err);
        });
    }

    std::uint64_t bridge_listen_postgres(const bridge &by, std::string_view folder, std::string_view host,
                                         std::uint16_t port, void *user_data = nullptr) {
        const std::string path = detail::for_c(folder), name = detail::for_c(host);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_bridge_listen_postgres(get(), by.get(), path.c_str(), name.c_str(), port, user_data,
                                                         operation, err);
        });
    }

    /* The completion contains the address and the port of the listener as a list with one entry. */
    std::uint64_t bridge_listen_local(const bridge &by, std::string_view host, std::uint16_t port,
                                      std::uint32_t flags = SIDESTEP_PROTOCOL_TCP, std::uint16_t local_port = 0,
                                      void *user_data = nullptr) {
        const std::string name = detail::for_c(host);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_bridge_listen_local(get(), by.get(), name.c_str(), port, flags, local_port, user_data,
                                                      operation, err);
        });
    }

    /* Resolves a name to addresses that accept connections. */
    std::uint64_t bridge_getaddrinfo(const bridge &by, std::string_view node, std::string_view service,
                                     const addrinfo *hints = nullptr, void *user_data = nullptr) {
        const std::string name = detail::for_c(node), port = detail::for_c(service);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_bridge_getaddrinfo(get(), by.get(), name.c_str(), port.c_str(), hints, user_data,
                                                     operation, err);
        });
    }

    std::uint64_t dns_start(std::string_view address, const bridge *by = nullptr, void *user_data = nullptr) {
        const std::string at = detail::for_c(address);
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_dns_start(get(), at.c_str(), by ? by->get() : nullptr, user_data, operation, err);
        });
    }

    /* Leaves the mesh. */
    std::uint64_t shutdown(std::int64_t timeout_ms = -1, void *user_data = nullptr) {
        return started([&](std::uint64_t *operation, sidestep_error **err) {
            return sidestep_queue_shutdown(get(), timeout_ms, user_data, operation, err);
        });
    }

    void cancel(std::uint64_t operation) {
        detail::checked([&](sidestep_error **err) { return sidestep_queue_cancel(get(), operation, err); });
    }

private:
    template <class Call> static std::uint64_t started(Call &&call) {
        std::uint64_t operation = 0;
        detail::checked([&](sidestep_error **err) { return call(&operation, err); });
        return operation;
    }
};

} // namespace sidestep

#endif
