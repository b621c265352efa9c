"""The Python interface of libsidestep, which connects programs on virtual machines to an Istio mesh, without a sidecar.

    import requests, sidestep

    with sidestep.Mesh(vm_files="/var/lib/sidestep") as mesh:
        mesh.wait_ready(30)
        with mesh.bridge_start() as bridge:
            requests.get("http://forecast.weather:3002/", proxies=bridge.proxies)
            with bridge.resolving():                   # for clients without a proxy option
                requests.get("http://forecast.weather:3002/")
        with mesh.connect("ledger.payments.example", 5432) as connection:
            connection.sendall(b"hello\\n")
        async with sidestep.Queue(mesh) as queue:      # in a coroutine
            reader, writer = await queue.open_connection("forecast.weather", 3002, sidestep.PROTOCOL_HTTP1)

The mesh runs in this process. Classes, functions and constants have the same names as in sidestep.h, which documents them. Any
thread may call any function; other threads run while a call blocks. A child of os.fork() must join the mesh itself. Timeouts
are in seconds; None is the default of the library.

The module needs Python 3.9 and the shared library. The system's loader finds the library, unless the environment variable
SIDESTEP_LIBRARY contains its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import enum
import json
import os
import socket
import struct
import weakref
from typing import Any, Callable, Iterator, NamedTuple, Optional, cast

PROTOCOL_TCP, PROTOCOL_HTTP1, PROTOCOL_HTTP2 = 0, 1, 2
"""The protocol of a connection."""
FLAG_TCP_PAIR = 0x10
"""Combined with a protocol: the socket of a connection is a TCP socket instead of a Unix socket."""
FLAG_EXPLAIN_JSON, FLAG_EXPLAIN_PROBE = 0x100, 0x200
"""Combined with a protocol: `explain` returns JSON; `explain` opens a connection."""
ACCESS_SAME_PROCESS, ACCESS_SAME_USER, ACCESS_ANY = 0, 1, 2
"""The clients that a bridge serves without its password."""

_lib = ctypes.CDLL(os.environ.get("SIDESTEP_LIBRARY", "libsidestep.so.0.1"))
_Handle = ctypes.c_void_p
_Status = ctypes.c_int32
_Text = ctypes.c_char_p
_Port, _Flags, _Milliseconds = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_int64


class _AddrInfo(ctypes.Structure):
    pass


_AddrInfo._fields_ = [
    ("flags", ctypes.c_int), ("family", ctypes.c_int), ("socktype", ctypes.c_int), ("protocol", ctypes.c_int),
    ("addrlen", ctypes.c_uint32), ("addr", ctypes.c_void_p), ("canonname", ctypes.c_char_p),
    ("next", ctypes.POINTER(_AddrInfo)),
]


class _Completion(ctypes.Structure):
    _fields_ = [
        ("user_data", ctypes.c_void_p), ("operation", ctypes.c_uint64), ("status", _Status), ("eai", ctypes.c_int),
        ("fd", ctypes.c_int), ("reserved", ctypes.c_int), ("text", _Handle), ("addresses", ctypes.POINTER(_AddrInfo)),
        ("stream", _Handle), ("bridge", _Handle), ("dns", _Handle), ("error", _Handle),
    ]


def _declare(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function: Any = getattr(_lib, "sidestep_" + name)
    function.restype, function.argtypes = result, arguments
    return cast("Callable[..., Any]", function)


_out = ctypes.POINTER(_Handle)
_list = ctypes.POINTER(ctypes.POINTER(_AddrInfo))
_abi_version = _declare("abi_version", ctypes.c_uint32)
_status_name = _declare("status_name", _Text, _Status)
_status_text = _declare("status_text", _Text, _Status)
_errno = _declare("errno", ctypes.c_int, _Status)
_error_message = _declare("error_message", _Text, _Handle)
_error_next_step = _declare("error_next_step", _Text, _Handle)
_error_status = _declare("error_status", _Status, _Handle)
_error_is_transient = _declare("error_is_transient", ctypes.c_int, _Handle)
_error_free = _declare("error_free", _Status, _Handle)
_text_get = _declare("text_get", _Text, _Handle)
_text_free = _declare("text_free", _Status, _Handle)
_settings_new = _declare("settings_new", _Status, _out, _out)
_settings_set = _declare("settings_set", _Status, _Handle, _Text, _Text, _out)
_settings_free = _declare("settings_free", _Status, _Handle)
_join = _declare("join", _Status, _Handle, _out, _out)
_wait_ready = _declare("wait_ready", _Status, _Handle, _Milliseconds, _out)
_shutdown = _declare("shutdown", _Status, _Handle, _Milliseconds, _out)
_mesh_free = _declare("mesh_free", _Status, _Handle)
_connect = _declare(
    "connect", _Status, _Handle, _Text, _Port, _Flags, _Milliseconds, ctypes.POINTER(ctypes.c_int), _out
)
_connection_info = _declare("connection_info", _Status, _Handle, ctypes.c_int, _out, _out)
_info_get = _declare("info_get", _Text, _Handle, ctypes.c_int32)
_info_free = _declare("info_free", _Status, _Handle)
_stream_connect = _declare("stream_connect", _Status, _Handle, _Text, _Port, _Flags, _Milliseconds, _out, _out)
_stream_read = _declare(
    "stream_read", _Status, _Handle, ctypes.c_void_p, ctypes.c_size_t, _Milliseconds, ctypes.POINTER(ctypes.c_size_t), _out
)
_stream_write = _declare(
    "stream_write", _Status, _Handle, _Text, ctypes.c_size_t, _Milliseconds, ctypes.POINTER(ctypes.c_size_t), _out
)
_stream_shutdown = _declare("stream_shutdown", _Status, _Handle, _Milliseconds, _out)
_stream_info = _declare("stream_info", _Status, _Handle, _out, _out)
_stream_free = _declare("stream_free", _Status, _Handle)
_getaddrinfo = _declare(
    "getaddrinfo", ctypes.c_int, _Handle, _Text, _Text, ctypes.POINTER(_AddrInfo), _list, _out
)
_freeaddrinfo = _declare("freeaddrinfo", None, ctypes.c_void_p)
_explain = _declare("explain", _Status, _Handle, _Text, _Port, _Flags, _out, _out)
_health = _declare("health", _Status, _Handle, _out, _out)
_metrics = _declare("metrics", _Status, _Handle, _out, _out)
_bridge_start = _declare("bridge_start", _Status, _Handle, ctypes.c_int32, _out, _out)
_bridge_http_url = _declare("bridge_http_url", _Text, _Handle)
_bridge_socks_url = _declare("bridge_socks_url", _Text, _Handle)
_bridge_listen_unix = _declare("bridge_listen_unix", _Status, _Handle, _Text, _Text, _Port, _Flags, _out)
_bridge_listen_postgres = _declare("bridge_listen_postgres", _Status, _Handle, _Text, _Text, _Port, _out)
_bridge_listen_local = _declare(
    "bridge_listen_local", _Status, _Handle, _Text, _Port, _Flags, _Text, ctypes.POINTER(_Port), _out
)
_bridge_getaddrinfo = _declare(
    "bridge_getaddrinfo", ctypes.c_int, _Handle, _Text, _Text, ctypes.POINTER(_AddrInfo), _list, _out
)
_bridge_free = _declare("bridge_free", _Status, _Handle)
_dns_start = _declare("dns_start", _Status, _Handle, _Text, _Handle, _out, _out)
_dns_port = _declare("dns_port", _Port, _Handle)
_dns_free = _declare("dns_free", _Status, _Handle)
_queue_new = _declare("queue_new", _Status, _Handle, _out, _out)
_queue_fd = _declare("queue_fd", ctypes.c_int, _Handle)
_queue_next = _declare("queue_next", _Status, _Handle, ctypes.POINTER(_Completion), ctypes.c_size_t, _out)
_queue_free = _declare("queue_free", _Status, _Handle)
_queue_cancel = _declare("queue_cancel", _Status, _Handle, ctypes.c_uint64, _out)


def _declare_operation(name: str, *arguments: Any) -> Callable[..., Any]:
    """A function that starts an operation of a queue."""
    return _declare(
        "queue_" + name, _Status, _Handle, *arguments, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint64), _out
    )


_queue_wait_ready = _declare_operation("wait_ready", _Milliseconds)
_queue_connect = _declare_operation("connect", _Text, _Port, _Flags, _Milliseconds)
_queue_stream_connect = _declare_operation("stream_connect", _Text, _Port, _Flags, _Milliseconds)
_queue_getaddrinfo = _declare_operation("getaddrinfo", _Text, _Text, ctypes.POINTER(_AddrInfo))
_queue_bridge_getaddrinfo = _declare_operation("bridge_getaddrinfo", _Handle, _Text, _Text, ctypes.POINTER(_AddrInfo))
_queue_explain = _declare_operation("explain", _Text, _Port, _Flags)
_queue_shutdown = _declare_operation("shutdown", _Milliseconds)

if _abi_version() != 1:
    raise ImportError(f"this module requires ABI 1 of libsidestep, but the library has ABI {_abi_version()}")


class Status(enum.IntEnum):
    """A status code: `E_TIMEOUT` is SIDESTEP_E_TIMEOUT of sidestep.h. Later versions add codes."""

    OK = 0
    E_NULL_POINTER = 1
    E_BAD_HANDLE = 2
    E_WRONG_HANDLE = 3
    E_INVALID_UTF8 = 4
    E_INVALID_ARGUMENT = 5
    E_FORKED = 6
    E_WOULD_DEADLOCK = 7
    E_CLOSED = 8
    E_NOT_A_CONNECTION = 9
    E_AGAIN = 10
    E_CANCELLED = 11
    E_CONFIG = 100
    E_CONTROL_PLANE = 200
    E_CREDENTIALS = 201
    E_RESOLVE = 300
    E_UNKNOWN_HOST = 301
    E_NO_ADDRESS = 302
    E_DIAL = 400
    E_TIMEOUT = 401
    E_TLS = 402
    E_PEER_IDENTITY = 403
    E_PLAINTEXT_REFUSED = 404
    E_NO_ENDPOINT = 405
    E_UNKNOWN_PORT = 406
    E_TOO_MANY_CONNECTIONS = 408
    E_AMBIGUOUS = 409
    E_BROKEN = 410
    E_LISTEN = 411
    E_INVALID_TARGET = 412
    E_UNSUPPORTED = 413
    E_SYSTEM = 900
    E_PANIC = 901


def status_name(status: int) -> str:
    """Returns the name of a status code, such as "SIDESTEP_E_TIMEOUT"."""
    return str(_status_name(status), "utf-8")


def status_text(status: int) -> str:
    """Returns the meaning of a status code, such as "the timeout expired"."""
    return str(_status_text(status), "utf-8")


class Error(OSError):
    """The reason why a call failed. `status` is a `Status`, or a number that this module does not know. `errno` is the closest
    error number, and `next_step` says what to do. `is_transient` says whether a retry makes sense. Functions named getaddrinfo
    raise socket.gaierror instead, whose `errno` is an EAI_ code (`eai` in C)."""

    def __init__(self, status: int, message: str, next_step: str, is_transient: bool = False):
        super().__init__(_errno(status), message)
        self.status = Status(status) if status in Status._value2member_map_ else status
        self.next_step = next_step
        self.is_transient = is_transient

    def __str__(self) -> str:
        return str(self.strerror)


class Timeout(Error, TimeoutError):
    """The timeout of a call expired."""


def _failure(status: int, error: _Handle) -> Error:
    # There is no error object if the process has too many of them.
    message, next_step = _error_message(error) or _status_text(status), _error_next_step(error)
    is_transient = bool(_error_is_transient(error))
    _error_free(error)
    kind = Timeout if status == Status.E_TIMEOUT else Error
    return kind(status, (message or b"").decode(), (next_step or b"").decode(), is_transient)


def _resolution_failure(eai: int, error: _Handle) -> socket.gaierror:
    return socket.gaierror(eai, str(_failure(_error_status(error), error)))


def _checked(function: Callable[..., int], *arguments: Any) -> None:
    """Calls a function that returns a status."""
    error = _Handle()
    status = function(*arguments, ctypes.byref(error))
    if status != 0:
        raise _failure(status, error)


def _created(function: Callable[..., int], *arguments: Any) -> _Handle:
    """Calls a function that creates an object."""
    handle = _Handle()
    _checked(function, *arguments, ctypes.byref(handle))
    return handle


def _text_of(text: _Handle) -> str:
    try:
        return str(_text_get(text), "utf-8")
    finally:
        _text_free(text)


def _milliseconds(seconds: Optional[float]) -> int:
    return -1 if seconds is None else max(0, int(seconds * 1000))


def _bytes(text: Any) -> bytes:
    """Encodes a text for C, where a zero byte would end it."""
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError(f"the text {text!r} contains a zero byte")
    return encoded


def _number(port: int) -> int:
    """Checks a port, because ctypes would truncate a number that is too large."""
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"the port {port} is not in the range 0 to 65535")
    return port


def _socket(fd: int) -> socket.socket:
    try:
        return socket.socket(fileno=fd)
    except BaseException:
        os.close(fd)
        raise


def _request(host: str, port: Any, family: int, kind: int, proto: int, flags: int) -> tuple[Any, ...]:
    """The arguments `node`, `service` and `hints` of a name resolution."""
    hints = _AddrInfo(flags=flags, family=family, socktype=kind, protocol=proto)
    service = None if port is None else _bytes(str(port) if isinstance(port, int) else port)
    return _bytes(host), service, ctypes.byref(hints)


def _resolve(function: Callable[..., int], handle: _Handle, *request: Any) -> list[tuple[Any, ...]]:
    found, error = ctypes.POINTER(_AddrInfo)(), _Handle()
    eai = function(handle, *request, ctypes.byref(found), ctypes.byref(error))
    if eai != 0:
        raise _resolution_failure(eai, error)
    return _addresses(found)


def _addresses(found: Any) -> list[tuple[Any, ...]]:
    """Converts a list to the form of `socket.getaddrinfo`, and frees it."""
    try:
        results, entry = [], found
        while entry:
            one = entry.contents
            name = (one.canonname or b"").decode()
            address = _address(one.family, ctypes.string_at(one.addr, one.addrlen))
            family, kind = socket.AddressFamily(one.family), socket.SocketKind(one.socktype)
            results.append((family, kind, one.protocol, name, address))
            entry = one.next
        return results
    finally:
        _freeaddrinfo(found)


def _address(family: int, raw: bytes) -> tuple[Any, ...]:
    port = struct.unpack_from("!H", raw, 2)[0]
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[4:8]), port
    flow = struct.unpack_from("!I", raw, 4)[0]
    return socket.inet_ntop(family, raw[8:24]), port, flow, struct.unpack_from("=I", raw, 24)[0]


class _Object:
    """An object with a handle. It is freed by `close`, at the end of a `with` block, or by the garbage collector."""

    def __init__(self, handle: _Handle, free: Callable[[_Handle], int]):
        self.__handle = handle
        self._free = weakref.finalize(self, free, _Handle(handle.value))
        self._free.atexit = False

    @property
    def _handle(self) -> _Handle:
        if not self.__handle:
            message = f"this sidestep.{type(self).__name__} is closed"
            raise Error(Status.E_BAD_HANDLE, message, "use the object before it is closed, or create another one")
        return self.__handle

    @property
    def closed(self) -> bool:
        return not self.__handle

    def close(self) -> None:
        """Frees the object. It may be called again. Other calls fail with `Status.E_BAD_HANDLE` afterwards."""
        self.__handle = _Handle()
        self._free()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ConnectionInfo(NamedTuple):
    """Information about a connection. A field is None if the connection does not have it."""

    peer: Optional[str]
    service: Optional[str]
    cluster: Optional[str]
    endpoint: Optional[str]
    gateway: Optional[str]
    sni: Optional[str]
    alpn: Optional[str]
    transport: Optional[str]
    address: Optional[str]


def _info(info: _Handle) -> ConnectionInfo:
    try:
        texts = [_info_get(info, what) for what in range(1, 10)]
    finally:
        _info_free(info)
    return ConnectionInfo(*(text.decode() if text is not None else None for text in texts))


class Stream(_Object):
    """A connection without a socket. Errors of `read` and `write` contain the reason why the connection broke."""

    def __init__(self, handle: _Handle):
        super().__init__(handle, _stream_free)

    def read(self, size: int, timeout: Optional[float] = None) -> bytes:
        """Reads at least one byte, and at most `size` bytes. An empty result is the end of the stream."""
        buffer, count = ctypes.create_string_buffer(size), ctypes.c_size_t()
        _checked(_stream_read, self._handle, buffer, size, _milliseconds(timeout), ctypes.byref(count))
        return buffer.raw[: count.value]

    def write(self, data: bytes, timeout: Optional[float] = None) -> None:
        """Writes all of `data`."""
        count = ctypes.c_size_t()
        _checked(_stream_write, self._handle, data, len(data), _milliseconds(timeout), ctypes.byref(count))

    def shutdown(self, timeout: Optional[float] = None) -> None:
        """Ends the write direction. Reading still works."""
        _checked(_stream_shutdown, self._handle, _milliseconds(timeout))

    def info(self) -> ConnectionInfo:
        """Returns information about the connection."""
        return _info(_created(_stream_info, self._handle))


class Dns(_Object):
    """A DNS server that answers mesh names."""

    def __init__(self, handle: _Handle):
        super().__init__(handle, _dns_free)

    @property
    def port(self) -> int:
        return int(_dns_port(self._handle))


class Bridge(_Object):
    """A proxy in this process that forwards connections into the mesh, and listeners for single services."""

    def __init__(self, handle: _Handle):
        super().__init__(handle, _bridge_free)

    @property
    def http_url(self) -> str:
        """The URL of the HTTP proxy with its password, which only other processes need."""
        return str(_bridge_http_url(self._handle), "utf-8")

    @property
    def socks_url(self) -> str:
        """The URL of the SOCKS5 proxy, `socks5h://...`. `requests` needs PySocks for it."""
        return str(_bridge_socks_url(self._handle), "utf-8")

    @property
    def proxies(self) -> dict[str, str]:
        """The proxies for `requests` and `urllib.request.ProxyHandler`."""
        return {"http": self.http_url, "https": self.http_url}

    def listen_unix(self, path: str, host: str, port: int, flags: int = PROTOCOL_TCP) -> None:
        """Listens on a Unix socket for one service."""
        _checked(_bridge_listen_unix, self._handle, _bytes(path), _bytes(host), _number(port), flags)

    def listen_postgres(self, folder: str, host: str, port: int) -> None:
        """Listens on the Unix socket that libpq (psycopg, asyncpg) expects. Connect with `host=FOLDER port=PORT`."""
        _checked(_bridge_listen_postgres, self._handle, _bytes(folder), _bytes(host), _number(port))

    def listen_local(
        self, host: str, port: int, flags: int = PROTOCOL_TCP, local_port: int = 0
    ) -> tuple[str, int]:
        """Listens on a loopback address for one service. Returns the address and the port."""
        address, local = ctypes.create_string_buffer(46), _Port(_number(local_port))
        _checked(
            _bridge_listen_local, self._handle, _bytes(host), _number(port), flags, address, ctypes.byref(local)
        )
        return address.value.decode(), local.value

    def getaddrinfo(
        self, host: str, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """Resolves a name as `socket.getaddrinfo` does. A mesh name has loopback addresses and ports that accept connections.
        Raises socket.gaierror, whose errno is the EAI_ code."""
        return _resolve(_bridge_getaddrinfo, self._handle, *_request(host, port, family, type, proto, flags))

    @contextlib.contextmanager
    def resolving(self) -> Iterator[None]:
        """Replaces `socket.getaddrinfo` of the whole process while the context is active, for clients without a proxy
        option. The replacement calls the bridge first. It calls the system's function for names that the mesh does not
        know, and for requests without a host or port."""
        system = socket.getaddrinfo

        def getaddrinfo(
            host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
        ) -> list[tuple[Any, ...]]:
            if host and port and not flags & socket.AI_NUMERICHOST:
                try:
                    return self.getaddrinfo(host, port, family, type, proto, flags)
                except socket.gaierror as error:
                    if error.errno not in (socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL):
                        raise
            return system(host, port, family, type, proto, flags)

        socket.getaddrinfo = getaddrinfo
        try:
            yield
        finally:
            socket.getaddrinfo = system


class Mesh(_Object):
    """A mesh that this process joins. The arguments are the settings of sidestep_settings_set, with `_` instead of `-`:
    `Mesh(vm_files=DIRECTORY, istiod_name=NAME)`. Joining continues in the background; `wait_ready` waits for it."""

    def __init__(self, **settings: object):
        chosen = _created(_settings_new)
        try:
            for key, value in settings.items():
                _checked(_settings_set, chosen, _bytes(key.replace("_", "-")), _bytes(str(value)))
            super().__init__(_created(_join, chosen), _mesh_free)
        finally:
            _settings_free(chosen)

    def wait_ready(self, timeout: Optional[float] = None) -> None:
        """Waits until this process has its certificate and the name table."""
        _checked(_wait_ready, self._handle, _milliseconds(timeout))

    def connect(
        self, host: str, port: int, flags: int = PROTOCOL_TCP, timeout: Optional[float] = None
    ) -> socket.socket:
        """Returns a connected socket for plaintext; the library encrypts it with mTLS. `timeout` applies only to connecting."""
        fd = ctypes.c_int(-1)
        _checked(
            _connect, self._handle, _bytes(host), _number(port), flags, _milliseconds(timeout), ctypes.byref(fd)
        )
        return _socket(fd.value)

    def connection_info(self, connection: socket.socket) -> ConnectionInfo:
        """Returns information about the connection of a socket that `connect` returned."""
        return _info(_created(_connection_info, self._handle, connection.fileno()))

    def stream_connect(
        self, host: str, port: int, flags: int = PROTOCOL_TCP, timeout: Optional[float] = None
    ) -> Stream:
        """Connects without a socket. `timeout` applies only to connecting."""
        return Stream(
            _created(_stream_connect, self._handle, _bytes(host), _number(port), flags, _milliseconds(timeout))
        )

    def getaddrinfo(
        self, host: str, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """Resolves a name as `socket.getaddrinfo` does, to the addresses of the mesh. Pass them to `Mesh.connect` only;
        `Bridge.getaddrinfo` returns addresses that accept connections. Raises socket.gaierror, whose errno is the EAI_ code."""
        return _resolve(_getaddrinfo, self._handle, *_request(host, port, family, type, proto, flags))

    def bridge_start(self, access: int = ACCESS_SAME_PROCESS) -> Bridge:
        """Starts a bridge."""
        return Bridge(_created(_bridge_start, self._handle, access))

    def dns_start(self, address: str, bridge: Optional[Bridge] = None) -> Dns:
        """Starts a DNS server at `IP:PORT`. With a bridge, its answers are addresses that accept connections."""
        by = None if bridge is None else bridge._handle
        return Dns(_created(_dns_start, self._handle, _bytes(address), by))

    def explain(self, host: str, port: int, flags: int = PROTOCOL_TCP) -> str:
        """Explains how a connection is made."""
        return _text_of(_created(_explain, self._handle, _bytes(host), _number(port), flags))

    def health(self) -> dict[str, Any]:
        """Returns the state of this process in the mesh."""
        health: dict[str, Any] = json.loads(_text_of(_created(_health, self._handle)))
        return health

    def metrics(self) -> str:
        """Returns the metrics in the text format of Prometheus."""
        return _text_of(_created(_metrics, self._handle))

    def shutdown(self, timeout: Optional[float] = None) -> None:
        """Leaves the mesh, and waits for open connections."""
        _checked(_shutdown, self._handle, _milliseconds(timeout))


class Queue(_Object):
    """The functions of a mesh as coroutines of one asyncio event loop. Use it with `async with` or `with`. Cancelling a
    coroutine cancels its operation."""

    def __init__(self, mesh: Mesh):
        super().__init__(_created(_queue_new, mesh._handle), _queue_free)
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._fd = _queue_fd(self._handle)
        self._loop.add_reader(self._fd, self._fetch)

    async def wait_ready(self, timeout: Optional[float] = None) -> None:
        """`Mesh.wait_ready`."""
        await self._run(_queue_wait_ready, _milliseconds(timeout))

    async def connect(
        self, host: str, port: int, flags: int = PROTOCOL_TCP, timeout: Optional[float] = None
    ) -> socket.socket:
        """`Mesh.connect`. The socket is non-blocking."""
        connection = await self._run(_queue_connect, _bytes(host), _number(port), flags, _milliseconds(timeout))
        return cast("socket.socket", connection)

    async def open_connection(
        self, host: str, port: int, flags: int = PROTOCOL_TCP, timeout: Optional[float] = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects as `connect` does, and returns the result of `asyncio.open_connection`."""
        return await asyncio.open_connection(sock=await self.connect(host, port, flags, timeout))

    async def stream_connect(
        self, host: str, port: int, flags: int = PROTOCOL_TCP, timeout: Optional[float] = None
    ) -> Stream:
        """`Mesh.stream_connect`. Reading and writing the stream blocks the event loop, unless the timeout is 0."""
        stream = await self._run(_queue_stream_connect, _bytes(host), _number(port), flags, _milliseconds(timeout))
        return cast("Stream", stream)

    async def getaddrinfo(
        self, host: str, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """`Mesh.getaddrinfo`."""
        found = await self._run(_queue_getaddrinfo, *_request(host, port, family, type, proto, flags))
        return cast("list[tuple[Any, ...]]", found)

    async def bridge_getaddrinfo(
        self, bridge: Bridge, host: str, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """`Bridge.getaddrinfo`."""
        request = _request(host, port, family, type, proto, flags)
        return cast("list[tuple[Any, ...]]", await self._run(_queue_bridge_getaddrinfo, bridge._handle, *request))

    async def explain(self, host: str, port: int, flags: int = PROTOCOL_TCP) -> str:
        """`Mesh.explain`."""
        return cast("str", await self._run(_queue_explain, _bytes(host), _number(port), flags))

    async def shutdown(self, timeout: Optional[float] = None) -> None:
        """`Mesh.shutdown`."""
        await self._run(_queue_shutdown, _milliseconds(timeout))

    async def _run(self, function: Callable[..., int], *arguments: Any) -> Any:
        """Starts an operation and waits for its result."""
        operation = ctypes.c_uint64()
        _checked(function, self._handle, *arguments, None, ctypes.byref(operation))
        result: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[operation.value] = result
        try:
            return await result
        except asyncio.CancelledError:
            with contextlib.suppress(Error):
                _checked(_queue_cancel, self._handle, operation.value)
            raise

    def _fetch(self) -> None:
        """Fetches all completions. Called when the descriptor is readable."""
        ended = _Completion()
        while not self.closed and _queue_next(self._handle, ctypes.byref(ended), ctypes.sizeof(ended), None) == 0:
            waiting = self._waiting.pop(ended.operation, None)
            result, failure = _result(ended)
            if waiting is None or waiting.done():
                if result is not None and hasattr(result, "close"):
                    result.close()
            elif failure is not None:
                waiting.set_exception(failure)
            else:
                waiting.set_result(result)

    def close(self) -> None:
        """Frees the queue. Coroutines that wait for an operation are cancelled."""
        if not self.closed:
            self._loop.remove_reader(self._fd)
        for waiting in self._waiting.values():
            waiting.cancel()
        super().close()

    async def __aenter__(self) -> Queue:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _result(ended: _Completion) -> tuple[Any, Optional[OSError]]:
    """Returns the value or the error of a completion."""
    if ended.status:
        error = _Handle(ended.error)
        return None, _resolution_failure(ended.eai, error) if ended.eai else _failure(ended.status, error)
    if ended.fd >= 0:
        connection = _socket(ended.fd)
        connection.setblocking(False)
        return connection, None
    if ended.addresses:
        return _addresses(ended.addresses), None
    if ended.stream:
        return Stream(_Handle(ended.stream)), None
    return (_text_of(_Handle(ended.text)) if ended.text else None), None
