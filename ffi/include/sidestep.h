/*
 * libsidestep: a process in an Istio mesh, without a sidecar, without iptables and without root.
 *
 *     sidestep_mesh *mesh = NULL;
 *     sidestep_error *error = NULL;
 *     int fd = -1;
 *     if (sidestep_join_vm_files("/var/lib/sidestep", &mesh, &error) ||
 *         sidestep_wait_ready(mesh, 30000, &error) ||
 *         sidestep_connect(mesh, "forecast.weather", 3002, SIDESTEP_HTTP1, 10000, &fd, &error)) {
 *         fprintf(stderr, "%s\n", sidestep_error_message(error));
 *         sidestep_error_free(error);
 *     }
 *     ... read(fd, ...), write(fd, ...): plaintext here, mTLS in the mesh ...
 *     close(fd);
 *     sidestep_mesh_free(mesh);
 *
 * For all functions:
 *
 * Handles (sidestep_mesh *, sidestep_stream *, and so on) look like pointers and are not: nothing is behind them, and
 * each is checked. One that was freed is SIDESTEP_BAD_HANDLE, one of another kind SIDESTEP_WRONG_HANDLE. Each has a
 * function that frees it. Freeing a handle while another thread uses it is safe: that call ends first.
 *
 * Results. A function returns SIDESTEP_OK or what failed. Outputs are set to NULL, 0 or -1 first and filled where the
 * function succeeds. The last argument, where it is an error, may be NULL; else *err is set to NULL first, and to an
 * error object where the function fails, which the caller frees. errno is neither used nor promised to be kept.
 *
 * Texts are UTF-8, terminated by a zero byte. Those that are passed in are copied. Those that are returned belong to
 * the handle that was asked, until it is freed.
 *
 * Threads. Every function may be called from any thread at any time. A mesh has one thread of its own, and one more
 * while the system's name lookup is asked; they sleep while nothing happens. None of them takes a signal, and no
 * function raises one.
 *
 * Blocking. Functions with timeout_ms (milliseconds; -1 as each says) block, and so do sidestep_shutdown,
 * sidestep_explain, sidestep_getaddrinfo for names that are not the mesh's, and those that start or add listeners,
 * for a moment. The others do not. sidestep_start_... are what blocks, without blocking.
 *
 * Processes. A mesh belongs to the process that joined it: after fork(), its handles are SIDESTEP_FORKED in the child,
 * which may join for itself. Nothing is done at exit. The library stays loaded after dlclose().
 */


#ifndef SIDESTEP_H
#define SIDESTEP_H

/* Made by cbindgen from the crate sidestep-ffi; do not edit. */

#include <netdb.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The version that this header is of: `SIDESTEP_VERSION_NUMBER` is 1000000 * major + 1000 * minor + patch.
 */
#define SIDESTEP_VERSION_MAJOR 0

/**
 * See `SIDESTEP_VERSION_MAJOR`.
 */
#define SIDESTEP_VERSION_MINOR 1

/**
 * See `SIDESTEP_VERSION_MAJOR`.
 */
#define SIDESTEP_VERSION_PATCH 0

/**
 * See `SIDESTEP_VERSION_MAJOR`.
 */
#define SIDESTEP_VERSION_NUMBER 1000

/**
 * The binary interface that this header is of. Before 1.0 it is the minor version, and the shared library's name has
 * it too.
 */
#define SIDESTEP_ABI_VERSION 1

/**
 * What failed and what follows from it.
 */
#define SIDESTEP_LOG_ERROR 1

/**
 * What does not work, while what is known goes on working.
 */
#define SIDESTEP_LOG_WARN 2

/**
 * Certificates and streams that come and go.
 */
#define SIDESTEP_LOG_INFO 3

/**
 * Pushes, connections.
 */
#define SIDESTEP_LOG_DEBUG 4

/**
 * Everything.
 */
#define SIDESTEP_LOG_TRACE 5

/**
 * `how`: anything is spoken over the connection.
 */
#define SIDESTEP_TCP 0

/**
 * `how`: HTTP/1.1 is spoken over the connection.
 */
#define SIDESTEP_HTTP1 1

/**
 * `how`: HTTP/2 is spoken over the connection, gRPC for instance.
 */
#define SIDESTEP_HTTP2 2

/**
 * `how`, beside a protocol: the descriptor is a TCP socket of loopback instead of a Unix socket, for programs that set TCP
 * options or have to tell a reset from an end.
 */
#define SIDESTEP_TCP_PAIR 16

/**
 * `how` of `sidestep_explain`, beside a protocol: JSON.
 */
#define SIDESTEP_EXPLAIN_JSON 256

/**
 * `how` of `sidestep_explain`, beside a protocol: connect and see.
 */
#define SIDESTEP_EXPLAIN_PROBE 512

/**
 * The peer's verified name: `spiffe://cluster.local/ns/weather/sa/forecast`. None in plaintext.
 */
#define SIDESTEP_INFO_PEER 1

/**
 * The mesh's own name of the service. None outside of the mesh.
 */
#define SIDESTEP_INFO_SERVICE 2

/**
 * The cluster: `outbound|3002||forecast.weather.svc.cluster.local`. None outside of the mesh.
 */
#define SIDESTEP_INFO_CLUSTER 3

/**
 * The endpoint that was chosen, as the control plane names it.
 */
#define SIDESTEP_INFO_ENDPOINT 4

/**
 * The address that was dialled, if it is an east-west gateway's. None where the workload was dialled itself.
 */
#define SIDESTEP_INFO_GATEWAY 5

/**
 * The server name that was sent. None in plaintext.
 */
#define SIDESTEP_INFO_SNI 6

/**
 * The application protocol that the peer chose. None is usual.
 */
#define SIDESTEP_INFO_ALPN 7

/**
 * `mutual_tls`, `tls` or `plaintext`.
 */
#define SIDESTEP_INFO_TRANSPORT 8

/**
 * The address that was dialled.
 */
#define SIDESTEP_INFO_ADDRESS 9

/**
 * The bridge serves this process' own connections, and whoever has its password.
 */
#define SIDESTEP_ACCESS_SAME_PROCESS 0

/**
 * The bridge serves connections of processes of the same user.
 */
#define SIDESTEP_ACCESS_SAME_USER 1

/**
 * The bridge serves everybody on this host, with this process' identity.
 */
#define SIDESTEP_ACCESS_ANY 2

/**
 * The room that an address needs as a text, with its zero byte.
 */
#define SIDESTEP_ADDRESS_SIZE 46

/**
 * Listeners of this process behind which the mesh is. Any thread may use it.
 */
typedef struct sidestep_bridge sidestep_bridge;

/**
 * A DNS server that knows the mesh's names.
 */
typedef struct sidestep_dns sidestep_dns;

/**
 * Why a call failed: code, message, next step.
 */
typedef struct sidestep_error sidestep_error;

/**
 * What a connection is: who is at the other end, and how it leads there. It stays as it is when the connection ends.
 */
typedef struct sidestep_info sidestep_info;

/**
 * A process in a mesh: its identity, its connection to istiod, its threads. Any number of threads may use it at a time.
 */
typedef struct sidestep_mesh sidestep_mesh;

/**
 * Operations under way and what they came to. Any thread may use it.
 */
typedef struct sidestep_queue sidestep_queue;

/**
 * How a mesh is to be joined. Any thread may use it.
 */
typedef struct sidestep_settings sidestep_settings;

/**
 * A connection that is read and written by calls. One thread may read while another writes.
 */
typedef struct sidestep_stream sidestep_stream;

/**
 * A text that the library made: an explanation, metrics, health.
 */
typedef struct sidestep_text sidestep_text;

/**
 * What a call came to: `SIDESTEP_OK` or one of the codes below. Codes never change their meaning, and later versions
 * add some: treat one that you do not know as an error. What stands behind each is the `errno` that `sidestep_errno` gives.
 *
 * Beside what is said of each function, all may fail with what is wrong with their arguments (`SIDESTEP_NULL_POINTER`,
 * `SIDESTEP_BAD_HANDLE`, `SIDESTEP_WRONG_HANDLE`, `SIDESTEP_INVALID_UTF8`, `SIDESTEP_INVALID_ARGUMENT`, `SIDESTEP_FORKED`), with
 * `SIDESTEP_PANIC`, and, where they block, with `SIDESTEP_WOULD_DEADLOCK` and `SIDESTEP_SYSTEM`.
 */
typedef int32_t sidestep_status;

/**
 * Takes a line of the log. See `sidestep_settings_log`.
 */
typedef void (*sidestep_log_fn)(void *user_data, int32_t level, const char *line);

/**
 * What an operation came to. What is in it belongs to the program.
 *
 * It does not change within an ABI version.
 */
typedef struct {
    /**
     * What the program gave when it started the operation.
     */
    void *user_data;
    /**
     * The number that the operation was given when it was started.
     */
    uint64_t operation;
    /**
     * What it came to.
     */
    sidestep_status status;
    /**
     * The same for an operation that asked for addresses: 0 or an EAI_ code.
     */
    int eai;
    /**
     * The descriptor of a connection; -1 for none.
     */
    int32_t fd;
    /**
     * Zero.
     */
    int32_t reserved;
    /**
     * The explanation, for `sidestep_text_free`; NULL for none.
     */
    sidestep_text *text;
    /**
     * The addresses, for `sidestep_freeaddrinfo`; NULL for none.
     */
    struct addrinfo *addresses;
    /**
     * Why it failed, for `sidestep_error_free`; NULL where it did not.
     */
    sidestep_error *error;
} sidestep_completion;

/**
 * It worked.
 */
#define SIDESTEP_OK 0

/**
 * A pointer that must not be NULL is NULL. (`EFAULT`)
 */
#define SIDESTEP_NULL_POINTER 1

/**
 * A handle that was freed, or that never was one. (`EBADF`)
 */
#define SIDESTEP_BAD_HANDLE 2

/**
 * A handle of another kind. (`EINVAL`)
 */
#define SIDESTEP_WRONG_HANDLE 3

/**
 * A text that is not UTF-8. (`EILSEQ`)
 */
#define SIDESTEP_INVALID_UTF8 4

/**
 * A number, key or text that means nothing here. (`EINVAL`)
 */
#define SIDESTEP_INVALID_ARGUMENT 5

/**
 * A handle from before fork(): its threads are not in this process. (`EBADF`)
 */
#define SIDESTEP_FORKED 6

/**
 * A blocking call from a log callback, which would wait for itself. (`EDEADLK`)
 */
#define SIDESTEP_WOULD_DEADLOCK 7

/**
 * The mesh was shut down. (`ESHUTDOWN`)
 */
#define SIDESTEP_CLOSED 8

/**
 * A descriptor that is no open connection of this mesh. (`EBADF`)
 */
#define SIDESTEP_NOT_A_CONNECTION 9

/**
 * Nothing has come yet. (`EAGAIN`)
 */
#define SIDESTEP_AGAIN 10

/**
 * The operation was cancelled. (`ECANCELED`)
 */
#define SIDESTEP_CANCELLED 11

/**
 * The configuration cannot be used; the message lists every problem with its file and key. (`EINVAL`)
 */
#define SIDESTEP_CONFIG 100

/**
 * istiod has not said what is needed. (`ENETDOWN`)
 */
#define SIDESTEP_CONTROL_PLANE 200

/**
 * This process has no valid certificate. (`EACCES`)
 */
#define SIDESTEP_CREDENTIALS 201

/**
 * Upstream DNS failed. (`EHOSTUNREACH`)
 */
#define SIDESTEP_RESOLVE 300

/**
 * Nobody knows the host. (`EHOSTUNREACH`)
 */
#define SIDESTEP_UNKNOWN_HOST 301

/**
 * The host has no address of the family that was asked for. (`EHOSTUNREACH`)
 */
#define SIDESTEP_NO_ADDRESS 302

/**
 * No TCP connection came about. (`ECONNREFUSED`)
 */
#define SIDESTEP_DIAL 400

/**
 * A deadline passed. (`ETIMEDOUT`)
 */
#define SIDESTEP_TIMEOUT 401

/**
 * The TLS handshake failed. (`EPROTO`)
 */
#define SIDESTEP_TLS 402

/**
 * The peer is not who it should be. (`EPROTO`)
 */
#define SIDESTEP_PEER_IDENTITY 403

/**
 * Only plaintext leads there, and it is refused. (`EACCES`)
 */
#define SIDESTEP_PLAINTEXT_REFUSED 404

/**
 * The service has no endpoint that may be used. (`EHOSTUNREACH`)
 */
#define SIDESTEP_NO_ENDPOINT 405

/**
 * The service does not have this port. (`ECONNREFUSED`)
 */
#define SIDESTEP_UNKNOWN_PORT 406

/**
 * The service does not have this subset. (`ECONNREFUSED`)
 */
#define SIDESTEP_UNKNOWN_SUBSET 407

/**
 * As many connections as the DestinationRule allows. (`EBUSY`)
 */
#define SIDESTEP_TOO_MANY_CONNECTIONS 408

/**
 * An address of several services. (`ENOTUNIQ`)
 */
#define SIDESTEP_AMBIGUOUS 409

/**
 * The connection broke. (`ECONNRESET`)
 */
#define SIDESTEP_BROKEN 410

/**
 * A listener of this host did not come about. (`EADDRNOTAVAIL`)
 */
#define SIDESTEP_LISTEN 411

/**
 * No host and port that can be dialled. (`EINVAL`)
 */
#define SIDESTEP_INVALID_TARGET 412

/**
 * The control plane asks for something that this library does not do. (`EOPNOTSUPP`)
 */
#define SIDESTEP_UNSUPPORTED 413

/**
 * The system refused something: descriptors, threads. (`EIO`)
 */
#define SIDESTEP_SYSTEM 900

/**
 * A defect of the library's. (`EIO`)
 */
#define SIDESTEP_PANIC 901

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is loaded, as `SIDESTEP_VERSION_NUMBER` has it.
 */
uint32_t sidestep_version_number(void);

/**
 * The version of the library that is loaded, such as "0.1.0".
 */
const char *sidestep_version(void);

/**
 * The binary interface of the library that is loaded: equal to `SIDESTEP_ABI_VERSION`, or the program was made for
 * another library. For programs that load it themselves.
 */
uint32_t sidestep_abi_version(void);

/**
 * The error's code; `SIDESTEP_BAD_HANDLE` where `error` is none.
 */
sidestep_status sidestep_error_code(const sidestep_error *error);

/**
 * What failed and why, on one line, naming hosts, files, keys, endpoints and identities as far as they are known. It
 * belongs to the error. NULL where `error` is none.
 */
const char *sidestep_error_message(const sidestep_error *error);

/**
 * What to do about it. It belongs to the error. NULL where `error` is none.
 */
const char *sidestep_error_next_step(const sidestep_error *error);

/**
 * The number of `errno` that is nearest to a code: `ETIMEDOUT` for `SIDESTEP_TIMEOUT`, `ECONNREFUSED` for
 * `SIDESTEP_DIAL`, and so on; 0 for `SIDESTEP_OK`.
 */
int sidestep_errno(sidestep_status code);

/**
 * Frees an error. NULL is nothing to free.
 */
sidestep_status sidestep_error_free(sidestep_error *error);

/**
 * The text, terminated by a zero byte. It belongs to `text`. NULL where `text` is none.
 */
const char *sidestep_text_get(const sidestep_text *text);

/**
 * Frees a text. NULL is nothing to free.
 */
sidestep_status sidestep_text_free(sidestep_text *text);

/**
 * Settings with nothing set.
 */
sidestep_status sidestep_settings_new(sidestep_settings **settings, sidestep_error **err);

/**
 * Sets one thing. What is set twice has the later value, but for `env.NAME`, of which there is one for each name.
 *
 * key                   | value
 * ----------------------|---------------------------------------------------------------------------------------------
 * `vm-files`            | folder that `istioctl x workload entry configure` wrote
 * `installed`           | root of a system on which Istio's package for VMs is installed, usually `/`
 * `env.NAME`            | variable as Istio's agent reads it, over those of files; `env.POD_NAMESPACE` for instance
 * `namespace`           | the workload's namespace
 * `service-account`     | the workload's service account
 * `token-file`          | bootstrap token, read again at each use
 * `roots-file`          | the mesh's roots in PEM, read again at each use
 * `istiod-address`      | `HOST:PORT` of istiod
 * `istiod-name`         | name in istiod's certificate
 * `state-dir`           | folder for certificate and snapshot, so that a restart needs neither token nor istiod
 * `join-timeout-ms`     | how long `sidestep_wait_ready` waits where it is given -1
 * `connect-timeout-ms`  | how long a connection may take to come about where -1 is given; 10000
 * `mtls`                | `required`: mTLS or nothing; `as-configured`: as the control plane says
 * `outside`             | `refused`: the mesh's hosts alone; `allowed`: others by upstream DNS, unprotected
 * `upstream-dns`        | `IP:PORT` of the DNS server for other names; the host's own where it is not set
 * `threads`             | threads that work, 1 to 64; 1. One more may be started for the system's name lookup
 *
 * Files are read by `sidestep_join`, not here. A key that is none, and a value that its key does not take, are
 * `SIDESTEP_INVALID_ARGUMENT`.
 */
sidestep_status sidestep_settings_set(sidestep_settings *settings,
                                      const char *key,
                                      const char *value,
                                      sidestep_error **err);

/**
 * Has the mesh tell its log to `callback`, up to `level` (`SIDESTEP_LOG_ERROR` to `SIDESTEP_LOG_TRACE`). Without it there
 * is no log, and nothing is ever written to standard output or error.
 *
 * The callback is called on the mesh's threads, on several at a time where there are several; it gets `user_data`, a
 * level and a line without an end of line, which belongs to the library. It may call whatever does not block; what blocks
 * returns `SIDESTEP_WOULD_DEADLOCK` there. It must not unwind or jump out, nor wait for a thread that frees the mesh. It
 * is called until the mesh has been freed and all that was made from it; `user_data` must live as long. NULL for none.
 */
sidestep_status sidestep_settings_log(sidestep_settings *settings,
                                      int32_t level,
                                      sidestep_log_fn callback,
                                      void *user_data,
                                      sidestep_error **err);

/**
 * Frees settings; meshes that were joined with them keep what they were told. NULL is nothing to free.
 */
sidestep_status sidestep_settings_free(sidestep_settings *settings);

/**
 * Begins to join a mesh as `settings` say, and returns at once: `sidestep_wait_ready` waits. Joining goes on until the mesh
 * is freed, whatever fails meanwhile, and calls that need something that has not come yet wait for it, within their own
 * deadlines.
 *
 * Fails with `SIDESTEP_CONFIG` where files and settings cannot be used. `settings` may be freed afterwards.
 */
sidestep_status sidestep_join(const sidestep_settings *settings,
                              sidestep_mesh **mesh,
                              sidestep_error **err);

/**
 * `sidestep_join` with the folder that `istioctl x workload entry configure` wrote, and nothing else set.
 */
sidestep_status sidestep_join_vm_files(const char *folder, sidestep_mesh **mesh, sidestep_error **err);

/**
 * Waits until this process has its identity and the mesh's names. `timeout_ms` 0 only asks; -1 is the setting
 * `join-timeout-ms`.
 *
 * Fails at once where waiting cannot help (`SIDESTEP_CREDENTIALS`: istiod refuses the token, `SIDESTEP_CONFIG`), and with
 * `SIDESTEP_TIMEOUT` or `SIDESTEP_CONTROL_PLANE` after the time, saying what is in the way. It may be called again.
 */
sidestep_status sidestep_wait_ready(const sidestep_mesh *mesh,
                                    int64_t timeout_ms,
                                    sidestep_error **err);

/**
 * Leaves the mesh: new connections are refused with `SIDESTEP_CLOSED`, the connection to istiod ends. Then waits until the
 * connections that are open have ended, and fails with `SIDESTEP_TIMEOUT` if some are still open after `timeout_ms`
 * (-1: however long it takes). They stay open then, until the mesh is freed.
 */
sidestep_status sidestep_shutdown(const sidestep_mesh *mesh,
                                  int64_t timeout_ms,
                                  sidestep_error **err);

/**
 * How this process is doing in the mesh, as JSON: `ok`, `state` (`connecting`, `from_disk`, `synced`, `stale`), `identity`,
 * `problems` (each with `part` and `message`), `connections`, `endpoints`.
 */
sidestep_status sidestep_health(const sidestep_mesh *mesh,
                                sidestep_text **json,
                                sidestep_error **err);

/**
 * Frees a mesh. What was made from it (streams, bridges, queues, DNS listeners) keeps it until it is freed too; the last
 * one ends its threads, which is waited for (five seconds at most: the system's name lookup may not come back), and with
 * them the descriptors of `sidestep_connect`: their readers see the end. What a program has written and closed, and is
 * still on its way, is lost then: `sidestep_shutdown` waits for it. NULL is nothing to free.
 */
sidestep_status sidestep_mesh_free(sidestep_mesh *mesh);

/**
 * Connects to `port` of `host` (a service's name, short names included, its address, or a host outside of the mesh) and
 * gives a connected descriptor, over which the program reads and writes plaintext: blocking, closed on exec, the program's
 * to close. Behind it the mesh's threads speak mTLS.
 *
 * `how` is what will be spoken (`SIDESTEP_TCP`, `SIDESTEP_HTTP1`, `SIDESTEP_HTTP2`), by which Istio's proxies choose how to
 * treat the connection, and may have `SIDESTEP_TCP_PAIR`. `timeout_ms` is for everything from route to handshake; -1 is the
 * setting `connect-timeout-ms`.
 *
 * The end of one direction (`shutdown`) leaves the other open; close sends what was written. A connection that breaks, also
 * because a peer refuses this process' certificate, which TLS 1.3 tells late, is a reset of a TCP socket and the end of a
 * Unix socket. After `fork` the descriptor works in both processes as long as the parent lives.
 *
 * Fails with what is wrong with the target (`SIDESTEP_INVALID_TARGET`, `SIDESTEP_UNKNOWN_HOST`, `SIDESTEP_UNKNOWN_PORT`,
 * `SIDESTEP_UNKNOWN_SUBSET`, `SIDESTEP_AMBIGUOUS`, `SIDESTEP_RESOLVE`), with the way there (`SIDESTEP_NO_ENDPOINT`,
 * `SIDESTEP_TOO_MANY_CONNECTIONS`, `SIDESTEP_DIAL`, `SIDESTEP_TLS`, `SIDESTEP_PEER_IDENTITY`, `SIDESTEP_PLAINTEXT_REFUSED`,
 * `SIDESTEP_UNSUPPORTED`, `SIDESTEP_TIMEOUT`) or with this process' membership (`SIDESTEP_CONTROL_PLANE`,
 * `SIDESTEP_CREDENTIALS`, `SIDESTEP_CLOSED`); with `SIDESTEP_SYSTEM` where descriptors have run out.
 */
sidestep_status sidestep_connect(const sidestep_mesh *mesh,
                                 const char *host,
                                 uint16_t port,
                                 uint32_t how,
                                 int64_t timeout_ms,
                                 int32_t *fd,
                                 sidestep_error **err);

/**
 * Tells what the connection behind a descriptor of `sidestep_connect` is; copies of it (`dup`) are the same connection.
 * Fails with `SIDESTEP_NOT_A_CONNECTION` for all other descriptors, and when the connection has ended.
 */
sidestep_status sidestep_connection_info(const sidestep_mesh *mesh,
                                         int32_t fd,
                                         sidestep_info **info,
                                         sidestep_error **err);

/**
 * One of the texts `SIDESTEP_INFO_…`; NULL where there is none. It belongs to `info`.
 */
const char *sidestep_info_get(const sidestep_info *info, int32_t what);

/**
 * Frees what was told about a connection. NULL is nothing to free.
 */
sidestep_status sidestep_info_free(sidestep_info *info);

/**
 * Connects as `sidestep_connect` does, for reading and writing by the calls below. `how` is a protocol.
 */
sidestep_status sidestep_stream_connect(const sidestep_mesh *mesh,
                                        const char *host,
                                        uint16_t port,
                                        uint32_t how,
                                        int64_t timeout_ms,
                                        sidestep_stream **stream,
                                        sidestep_error **err);

/**
 * Reads what there is, `size` bytes at most, and waits for something while there is nothing. `*count` 0 is the end.
 *
 * Fails with `SIDESTEP_TIMEOUT` after `timeout_ms` (-1: never), when nothing is lost; with `SIDESTEP_TLS` where the peer
 * refuses this process' certificate, when nothing that was written has reached the application; with `SIDESTEP_BROKEN`.
 */
sidestep_status sidestep_stream_read(sidestep_stream *stream,
                                     uint8_t *data,
                                     size_t size,
                                     int64_t timeout_ms,
                                     size_t *count,
                                     sidestep_error **err);

/**
 * Writes all `size` bytes. `*count` is how many of them were taken, also where it fails: with `SIDESTEP_TIMEOUT` after
 * `timeout_ms` (-1: never), or with `SIDESTEP_BROKEN`. It never raises SIGPIPE.
 */
sidestep_status sidestep_stream_write(sidestep_stream *stream,
                                      const uint8_t *data,
                                      size_t size,
                                      int64_t timeout_ms,
                                      size_t *count,
                                      sidestep_error **err);

/**
 * Tells the peer that nothing follows; reading goes on.
 */
sidestep_status sidestep_stream_shutdown(sidestep_stream *stream, int64_t timeout_ms, sidestep_error **err);

/**
 * Tells what the connection is.
 */
sidestep_status sidestep_stream_info(const sidestep_stream *stream,
                                     sidestep_info **info,
                                     sidestep_error **err);

/**
 * Closes a stream and frees it, at once: what was written arrives. A call that another thread has under way on it ends
 * first. NULL is nothing to close.
 */
sidestep_status sidestep_stream_close(sidestep_stream *stream);

/**
 * The system's `getaddrinfo`, with the mesh's names: short ones (`forecast.weather`) too, which the mesh answers at once
 * and without a system call. Other names are upstream DNS's. A literal address, and what AI_NUMERICHOST asks for, is the
 * system's own answer.
 *
 * Returns 0 or one of the system's EAI_ codes, for `gai_strerror`; `err` says more. `errno` stays as it is. The list is
 * freed by `sidestep_freeaddrinfo`.
 *
 * Names and numbers of services, families, socket types, protocols, AI_CANONNAME, AI_NUMERICHOST, AI_NUMERICSERV,
 * AI_V4MAPPED and AI_ALL are as with the system's; AI_ADDRCONFIG changes nothing. A `node` of NULL (addresses to listen on,
 * with AI_PASSIVE) is none of the mesh's business: EAI_NONAME, ask the system.
 *
 * The addresses of a mesh name are the mesh's own (ClusterIPs and virtual ones): pass them, or better the name, to
 * `sidestep_connect`; dialled by the program itself they lead nowhere from outside of the cluster's network
 * (`sidestep_bridge_getaddrinfo` gives such as do). Before istiod has sent its names, this waits for them a while.
 *
 * EAI_NONAME: nobody knows the name; EAI_NODATA: it has no address of the family; EAI_AGAIN: upstream DNS failed or took too
 * long, or istiod has sent no names yet; EAI_SERVICE, EAI_SOCKTYPE, EAI_FAMILY, EAI_BADFLAGS: as with the system's; EAI_FAIL:
 * everything else, such as a handle that is none.
 */
int sidestep_getaddrinfo(const sidestep_mesh *mesh,
                         const char *node,
                         const char *service,
                         const struct addrinfo *hints,
                         struct addrinfo **list,
                         sidestep_error **err);

/**
 * Frees a list of `sidestep_getaddrinfo`, and none of the system's. NULL is nothing to free.
 */
void sidestep_freeaddrinfo(struct addrinfo *list);

/**
 * A queue for operations on a mesh.
 */
sidestep_status sidestep_queue_new(const sidestep_mesh *mesh, sidestep_queue **queue, sidestep_error **err);

/**
 * The queue's descriptor, which is readable while there is something to fetch: for poll, epoll, libuv, GLib. Wait for it,
 * and do not read, write or close it. -1 where `queue` is none.
 */
int32_t sidestep_queue_fd(const sidestep_queue *queue);

/**
 * Fetches what one operation came to, in the order in which they ended: `size` is `sizeof(sidestep_completion)`. Returns
 * `SIDESTEP_AGAIN`, without an error object, where there is nothing; it never waits. Whether the operation worked stands in
 * the completion.
 */
sidestep_status sidestep_queue_next(sidestep_queue *queue,
                                    sidestep_completion *completion,
                                    size_t size,
                                    sidestep_error **err);

/**
 * Cancels an operation: it ends soon, with `SIDESTEP_CANCELLED`, unless it has ended already. Either way there is exactly
 * one completion of it.
 */
sidestep_status sidestep_cancel(sidestep_queue *queue,
                                uint64_t operation,
                                sidestep_error **err);

/**
 * Frees a queue, its descriptor, the operations under way, and what was not fetched. NULL is nothing to free.
 */
sidestep_status sidestep_queue_free(sidestep_queue *queue);

/**
 * `sidestep_wait_ready` through a queue. `*operation`, which may be NULL, is for `sidestep_cancel`.
 */
sidestep_status sidestep_start_wait_ready(sidestep_queue *queue,
                                          int64_t timeout_ms,
                                          void *user_data,
                                          uint64_t *operation,
                                          sidestep_error **err);

/**
 * `sidestep_connect` through a queue: the completion has the descriptor.
 */
sidestep_status sidestep_start_connect(sidestep_queue *queue,
                                       const char *host,
                                       uint16_t port,
                                       uint32_t how,
                                       int64_t timeout_ms,
                                       void *user_data,
                                       uint64_t *operation,
                                       sidestep_error **err);

/**
 * `sidestep_getaddrinfo` through a queue: the completion has the list. What is wrong with the arguments is told at once.
 */
sidestep_status sidestep_start_getaddrinfo(sidestep_queue *queue,
                                           const char *node,
                                           const char *service,
                                           const struct addrinfo *hints,
                                           void *user_data,
                                           uint64_t *operation,
                                           sidestep_error **err);

/**
 * `sidestep_explain` through a queue: the completion has the text.
 */
sidestep_status sidestep_start_explain(sidestep_queue *queue,
                                       const char *host,
                                       uint16_t port,
                                       uint32_t how,
                                       void *user_data,
                                       uint64_t *operation,
                                       sidestep_error **err);

/**
 * `sidestep_shutdown` through a queue.
 */
sidestep_status sidestep_start_shutdown(sidestep_queue *queue,
                                        int64_t timeout_ms,
                                        void *user_data,
                                        uint64_t *operation,
                                        sidestep_error **err);

/**
 * Starts a proxy (SOCKS5 and HTTP) on a port of loopback, for clients that take nothing else; Unix sockets and loopback
 * addresses for single services are added afterwards. `access` is one of `SIDESTEP_ACCESS_…`: whom it serves without the
 * password that is in its URLs.
 *
 * Fails with `SIDESTEP_LISTEN` where there is no port, and with `SIDESTEP_CLOSED` after `sidestep_shutdown`.
 */
sidestep_status sidestep_bridge_start(const sidestep_mesh *mesh,
                                      int32_t access,
                                      sidestep_bridge **bridge,
                                      sidestep_error **err);

/**
 * The proxy as a `socks5h://` URL with its password: any protocol, and the mesh resolves. It belongs to the bridge. NULL
 * where `bridge` is none.
 */
const char *sidestep_bridge_socks_url(const sidestep_bridge *bridge);

/**
 * The proxy as an `http://` URL with its password: for `http://` URLs, and for what is tunnelled with CONNECT. It belongs
 * to the bridge. NULL where `bridge` is none.
 */
const char *sidestep_bridge_http_url(const sidestep_bridge *bridge);

/**
 * Ends a bridge, its listeners and the connections through it, and frees it. NULL is nothing to free.
 */
sidestep_status sidestep_bridge_free(sidestep_bridge *bridge);

/**
 * Listens on a Unix socket behind which a service is: for `CURLOPT_UNIX_SOCKET_PATH` and the like. The file belongs to the
 * bridge, which removes it at its end. `how` is a protocol.
 *
 * Fails with `SIDESTEP_LISTEN`: somebody listens there, the path is too long, the folder is not there or not writable. Whether
 * the service is there is seen by who connects.
 */
sidestep_status sidestep_bridge_listen_unix(const sidestep_bridge *bridge,
                                            const char *path,
                                            const char *host,
                                            uint16_t port,
                                            uint32_t how,
                                            sidestep_error **err);

/**
 * Listens on a Unix socket as libpq expects it, `folder/.s.PGSQL.port`: for `host=folder port=port` of a connection string.
 */
sidestep_status sidestep_bridge_listen_postgres(const sidestep_bridge *bridge,
                                                const char *folder,
                                                const char *host,
                                                uint16_t port,
                                                sidestep_error **err);

/**
 * Listens on a loopback address of the service's own, out of 127.64.0.0/10, for clients that take an address. `*local_port`
 * says on which port: give 0 for one that the system chooses, or the service's own for clients that take the port from a
 * URL, which fails with `SIDESTEP_LISTEN` where another program has it; it becomes the one that is listened on. `address`
 * has room for `SIDESTEP_ADDRESS_SIZE` bytes. Asking again gives the same. `how` is a protocol.
 */
sidestep_status sidestep_bridge_listen_local(const sidestep_bridge *bridge,
                                             const char *host,
                                             uint16_t port,
                                             uint32_t how,
                                             char *address,
                                             uint16_t *local_port,
                                             sidestep_error **err);

/**
 * `sidestep_getaddrinfo` for programs that `connect` to what it gives: a name of the mesh has an address of this host and a
 * port that the system chose, and what is connected there goes through the bridge. Other names are upstream DNS's, literal
 * addresses the system's.
 *
 * `service` has to be there, and is the service's own port: EAI_SERVICE where the mesh's service does not have it, or where
 * there is none. Such addresses are IPv4, for streams; they stay as they are as long as the bridge lives.
 */
int sidestep_bridge_getaddrinfo(const sidestep_bridge *bridge,
                                const char *node,
                                const char *service,
                                const struct addrinfo *hints,
                                struct addrinfo **list,
                                sidestep_error **err);

/**
 * `sidestep_bridge_getaddrinfo` through a queue, which may be another mesh's: the completion has the list. What is wrong with
 * the arguments is told at once.
 */
sidestep_status sidestep_start_bridge_getaddrinfo(sidestep_queue *queue,
                                                  const sidestep_bridge *bridge,
                                                  const char *node,
                                                  const char *service,
                                                  const struct addrinfo *hints,
                                                  void *user_data,
                                                  uint64_t *operation,
                                                  sidestep_error **err);

/**
 * Answers DNS, UDP and TCP, at `address` (`127.0.0.1:15053`, port 0 for one that the system chooses), with one thread of its
 * own. Mesh names have the mesh's addresses; with a `bridge`, which may be NULL, they have loopback addresses behind which
 * it listens on the services' own ports.
 *
 * Fails with `SIDESTEP_LISTEN` where `address` cannot be listened on, and with a `bridge` where istiod has not sent its
 * clusters within the setting `connect-timeout-ms` (`SIDESTEP_CONTROL_PLANE`).
 */
sidestep_status sidestep_dns_start(const sidestep_mesh *mesh,
                                   const char *address,
                                   const sidestep_bridge *bridge,
                                   sidestep_dns **dns,
                                   sidestep_error **err);

/**
 * The port that is listened on; 0 where `dns` is none.
 */
uint16_t sidestep_dns_port(const sidestep_dns *dns);

/**
 * Ends a DNS server and frees it. NULL is nothing to free.
 */
sidestep_status sidestep_dns_free(sidestep_dns *dns);

/**
 * Explains how a connection to `port` of `host` is made: name, cluster, endpoints and why each was kept or dropped,
 * gateway, SNI, ALPN, identities. What stands in the way is part of the explanation, and no error. `how` is a protocol, and
 * `SIDESTEP_EXPLAIN_JSON` for JSON instead of text for people, and `SIDESTEP_EXPLAIN_PROBE` to connect and see.
 *
 * It takes as long as a connection may take, at most.
 */
sidestep_status sidestep_explain(const sidestep_mesh *mesh,
                                 const char *host,
                                 uint16_t port,
                                 uint32_t how,
                                 sidestep_text **explanation,
                                 sidestep_error **err);

/**
 * What this mesh has counted, in Prometheus' text format: Istio's standard metrics of connections (`istio_tcp_…`, with
 * `reporter="source"`), those of Istio's agent (`istio_agent_…`), and some of Sidestep's own. For the program's own
 * `/metrics`.
 */
sidestep_status sidestep_metrics(const sidestep_mesh *mesh,
                                 sidestep_text **metrics,
                                 sidestep_error **err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SIDESTEP_H */
