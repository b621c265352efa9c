"""libsidestep for Python: a process in an Istio mesh, without a sidecar.

    import requests, sidestep

    with sidestep.Mesh(vm_files="/var/lib/sidestep") as mesh:
        mesh.wait_ready(30)
        with mesh.bridge() as bridge:
            requests.get("http://forecast.weather:3002/", proxies=bridge.proxies)
            with bridge.resolving():                       # for clients that cannot be told of a proxy
                requests.get("http://forecast.weather:3002/")
        with mesh.connect("ledger.payments.example", 5432) as connection:
            connection.sendall(b"hello\\n")
        async with sidestep.Connector(mesh) as connector:  # in a coroutine
            reader, writer = await connector.open_connection("forecast.weather", 3002, sidestep.HTTP1)

All of it is in this process. Any thread may use any of it; calls that wait let other threads run. After a fork the child
joins for itself. Times are seconds; None is the library's own.

Needs nothing but the library, which is found as the system finds libraries, or where SIDESTEP_LIBRARY says.
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

TCP, HTTP1, HTTP2 = 0, 1, 2
"""What will be spoken over a connection."""
TCP_PAIR = 16
"""Beside one of them: the socket is a TCP socket instead of a Unix socket."""
SAME_PROCESS, SAME_USER, ANY = 0, 1, 2
"""Whom a bridge serves without its password."""

_lib = ctypes.CDLL(os.environ.get("SIDESTEP_LIBRARY", "libsidestep.so.0.1"))
_Handle = ctypes.c_void_p
_Status = ctypes.c_int32
_Text = ctypes.c_char_p
_Port, _How, _Milliseconds = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_int64


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
        ("fd", ctypes.c_int32), ("reserved", ctypes.c_int32), ("text", _Handle), ("addresses", ctypes.c_void_p),
        ("error", _Handle),
    ]


def _declare(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function: Any = getattr(_lib, "sidestep_" + name)
    function.restype, function.argtypes = result, arguments
    return cast("Callable[..., Any]", function)


_out = ctypes.POINTER(_Handle)
_list = ctypes.POINTER(ctypes.POINTER(_AddrInfo))
_abi_version = _declare("abi_version", ctypes.c_uint32)
_errno = _declare("errno", ctypes.c_int, _Status)
_error_message = _declare("error_message", _Text, _Handle)
_error_next_step = _declare("error_next_step", _Text, _Handle)
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
    "connect", _Status, _Handle, _Text, _Port, _How, _Milliseconds, ctypes.POINTER(ctypes.c_int32), _out
)
_connection_info = _declare("connection_info", _Status, _Handle, ctypes.c_int32, _out, _out)
_info_get = _declare("info_get", _Text, _Handle, ctypes.c_int32)
_info_free = _declare("info_free", _Status, _Handle)
_getaddrinfo = _declare(
    "getaddrinfo", ctypes.c_int, _Handle, _Text, _Text, ctypes.POINTER(_AddrInfo), _list, _out
)
_freeaddrinfo = _declare("freeaddrinfo", None, ctypes.c_void_p)
_explain = _declare("explain", _Status, _Handle, _Text, _Port, _How, _out, _out)
_health = _declare("health", _Status, _Handle, _out, _out)
_metrics = _declare("metrics", _Status, _Handle, _out, _out)
_bridge_start = _declare("bridge_start", _Status, _Handle, ctypes.c_int32, _out, _out)
_bridge_http_url = _declare("bridge_http_url", _Text, _Handle)
_bridge_socks_url = _declare("bridge_socks_url", _Text, _Handle)
_bridge_listen_unix = _declare("bridge_listen_unix", _Status, _Handle, _Text, _Text, _Port, _How, _out)
_bridge_listen_postgres = _declare("bridge_listen_postgres", _Status, _Handle, _Text, _Text, _Port, _out)
_bridge_listen_local = _declare(
    "bridge_listen_local", _Status, _Handle, _Text, _Port, _How, _Text, ctypes.POINTER(_Port), _out
)
_bridge_getaddrinfo = _declare(
    "bridge_getaddrinfo", ctypes.c_int, _Handle, _Text, _Text, ctypes.POINTER(_AddrInfo), _list, _out
)
_bridge_free = _declare("bridge_free", _Status, _Handle)
_queue_new = _declare("queue_new", _Status, _Handle, _out, _out)
_queue_fd = _declare("queue_fd", ctypes.c_int32, _Handle)
_queue_next = _declare("queue_next", _Status, _Handle, ctypes.POINTER(_Completion), ctypes.c_size_t, _out)
_queue_free = _declare("queue_free", _Status, _Handle)
_cancel = _declare("cancel", _Status, _Handle, ctypes.c_uint64, _out)
_start_connect = _declare(
    "start_connect", _Status, _Handle, _Text, _Port, _How, _Milliseconds, ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64), _out,
)

if _abi_version() != 1:
    raise ImportError(f"this module is for ABI 1 of libsidestep, and the library has {_abi_version()}")


class Code(enum.IntEnum):
    """Why a call failed: SIDESTEP_... of sidestep.h, which says more. Later versions have more of them."""

    NULL_POINTER = 1
    BAD_HANDLE = 2
    WRONG_HANDLE = 3
    INVALID_UTF8 = 4
    INVALID_ARGUMENT = 5
    FORKED = 6
    WOULD_DEADLOCK = 7
    CLOSED = 8
    NOT_A_CONNECTION = 9
    AGAIN = 10
    CANCELLED = 11
    CONFIG = 100
    CONTROL_PLANE = 200
    CREDENTIALS = 201
    RESOLVE = 300
    UNKNOWN_HOST = 301
    NO_ADDRESS = 302
    DIAL = 400
    TIMEOUT = 401
    TLS = 402
    PEER_IDENTITY = 403
    PLAINTEXT_REFUSED = 404
    NO_ENDPOINT = 405
    UNKNOWN_PORT = 406
    UNKNOWN_SUBSET = 407
    TOO_MANY_CONNECTIONS = 408
    AMBIGUOUS = 409
    BROKEN = 410
    LISTEN = 411
    INVALID_TARGET = 412
    UNSUPPORTED = 413
    SYSTEM = 900
    PANIC = 901


class Error(OSError):
    """What a call failed with: `code` (one of `Code`), `next_step`, and the nearest `errno`."""

    def __init__(self, code: int, message: str, next_step: str):
        super().__init__(_errno(code), message)
        self.code = Code(code) if code in Code._value2member_map_ else code
        self.next_step = next_step

    def __str__(self) -> str:
        return str(self.strerror)


class Timeout(Error, TimeoutError):
    """A deadline passed."""


def _failure(status: int, error: _Handle) -> Error:
    message, next_step = _error_message(error), _error_next_step(error)
    _error_free(error)
    kind = Timeout if status == Code.TIMEOUT else Error
    return kind(status, (message or b"").decode(), (next_step or b"").decode())


def _checked(function: Callable[..., int], *arguments: Any) -> None:
    error = _Handle()
    status = function(*arguments, ctypes.byref(error))
    if status != 0:
        raise _failure(status, error)


def _made(function: Callable[..., int], *arguments: Any) -> _Handle:
    handle = _Handle()
    _checked(function, *arguments, ctypes.byref(handle))
    return handle


def _told(function: Callable[..., int], *arguments: Any) -> str:
    text = _made(function, *arguments)
    try:
        return str(_text_get(text), "utf-8")
    finally:
        _text_free(text)


def _milliseconds(seconds: Optional[float]) -> int:
    return -1 if seconds is None else max(0, int(seconds * 1000))


def _bytes(text: Any) -> bytes:
    """For C, which ends texts at a zero byte."""
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError(f"a zero byte in {text!r}")
    return encoded


def _number(port: int) -> int:
    """ctypes would cut a number that is too large."""
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"no port: {port}")
    return port


def _socket(fd: int) -> socket.socket:
    try:
        return socket.socket(fileno=fd)
    except BaseException:
        os.close(fd)
        raise


def _look_up(
    function: Callable[..., int], handle: _Handle, host: str, port: Any, family: int, kind: int, proto: int, flags: int
) -> list[tuple[Any, ...]]:
    hints = _AddrInfo(flags=flags, family=family, socktype=kind, protocol=proto)
    found, error = ctypes.POINTER(_AddrInfo)(), _Handle()
    service = None if port is None else _bytes(str(port) if isinstance(port, int) else port)
    answer = function(
        handle, _bytes(host), service, ctypes.byref(hints), ctypes.byref(found), ctypes.byref(error)
    )
    if answer != 0:
        failure = _failure(0, error)
        raise socket.gaierror(answer, str(failure)) from None
    try:
        results, entry = [], found
        while entry:
            one = entry.contents
            name = (one.canonname or b"").decode()
            address = _address(one.family, ctypes.string_at(one.addr, one.addrlen))
            results.append((socket.AddressFamily(one.family), socket.SocketKind(one.socktype), one.protocol, name, address))
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


class _Owner:
    """What has a handle: freed by `close`, at the end of `with`, or when nobody has it any more."""

    def __init__(self, handle: _Handle, free: Callable[[_Handle], int]):
        self._handle = handle
        self._free = weakref.finalize(self, free, _Handle(handle.value))
        self._free.atexit = False

    def close(self) -> None:
        """Ends it. A second time is no error; every other call after it is one."""
        self._handle = _Handle()
        self._free()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ConnectionInfo(NamedTuple):
    """What a connection is, and how it leads there; None where there is none."""

    peer: Optional[str]
    service: Optional[str]
    cluster: Optional[str]
    endpoint: Optional[str]
    gateway: Optional[str]
    sni: Optional[str]
    alpn: Optional[str]
    transport: Optional[str]
    address: Optional[str]


class Bridge(_Owner):
    """A proxy in this process behind which the mesh is, and listeners for single services."""

    def __init__(self, handle: _Handle):
        super().__init__(handle, _bridge_free)

    def _url(self, function: Callable[..., Optional[bytes]]) -> str:
        url = function(self._handle)
        if url is None:
            raise Error(Code.CLOSED, "the bridge is closed", "start another one")
        return url.decode()

    @property
    def http_url(self) -> str:
        """With its password, which only other processes need."""
        return self._url(_bridge_http_url)

    @property
    def socks_url(self) -> str:
        """`socks5h://`: any protocol. `requests` needs PySocks for it."""
        return self._url(_bridge_socks_url)

    @property
    def proxies(self) -> dict[str, str]:
        """For `requests` and `urllib.request.ProxyHandler`."""
        return {"http": self.http_url, "https": self.http_url}

    def listen_unix(self, path: str, host: str, port: int, how: int = TCP) -> None:
        """Listens on a Unix socket behind which a service is."""
        _checked(_bridge_listen_unix, self._handle, _bytes(path), _bytes(host), _number(port), how)

    def listen_postgres(self, folder: str, host: str, port: int) -> None:
        """Listens where libpq (psycopg, asyncpg) looks: connect with `host=FOLDER port=PORT`."""
        _checked(_bridge_listen_postgres, self._handle, _bytes(folder), _bytes(host), _number(port))

    def listen_local(self, host: str, port: int, how: int = TCP) -> tuple[str, int]:
        """A loopback address and a port behind which a service is."""
        address, local = ctypes.create_string_buffer(46), _Port()
        _checked(
            _bridge_listen_local, self._handle, _bytes(host), _number(port), how, address, ctypes.byref(local)
        )
        return address.value.decode(), local.value

    def getaddrinfo(
        self, host: str, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """As `socket.getaddrinfo`; a name of the mesh has addresses of this host and ports that may be connected to."""
        return _look_up(_bridge_getaddrinfo, self._handle, host, port, family, type, proto, flags)

    @contextlib.contextmanager
    def resolving(self) -> Iterator[None]:
        """While it lasts, `socket.getaddrinfo` asks the bridge first, in the whole process: for clients that cannot be
        told of a proxy. What the mesh does not know, and lookups without host or port, are the system's as before."""
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


class Mesh(_Owner):
    """A process in a mesh. Settings are those of sidestep_settings_set, with `_` for `-`: `Mesh(vm_files=FOLDER,
    istiod_name=NAME)`. Joining goes on in the background: `wait_ready` waits."""

    def __init__(self, **settings: object):
        chosen = _made(_settings_new)
        try:
            for key, value in settings.items():
                _checked(_settings_set, chosen, _bytes(key.replace("_", "-")), _bytes(str(value)))
            super().__init__(_made(_join, chosen), _mesh_free)
        finally:
            _settings_free(chosen)

    def wait_ready(self, timeout: Optional[float] = None) -> None:
        """Waits until names and identity are there."""
        _checked(_wait_ready, self._handle, _milliseconds(timeout))

    def connect(self, host: str, port: int, how: int = TCP, timeout: Optional[float] = None) -> socket.socket:
        """A connected socket, plaintext here and mTLS in the mesh. `timeout` is for connecting alone."""
        fd = ctypes.c_int32(-1)
        _checked(
            _connect, self._handle, _bytes(host), _number(port), how, _milliseconds(timeout), ctypes.byref(fd)
        )
        return _socket(fd.value)

    def connection_info(self, connection: socket.socket) -> ConnectionInfo:
        """What is behind a socket of `connect`."""
        info = _made(_connection_info, self._handle, connection.fileno())
        try:
            texts = [_info_get(info, what) for what in range(1, 10)]
        finally:
            _info_free(info)
        return ConnectionInfo(*(text.decode() if text is not None else None for text in texts))

    def getaddrinfo(
        self, host: str, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """As `socket.getaddrinfo`, with the mesh's own addresses: for `connect`; others dial what a bridge's says."""
        return _look_up(_getaddrinfo, self._handle, host, port, family, type, proto, flags)

    def bridge(self, access: int = SAME_PROCESS) -> Bridge:
        """Starts a bridge."""
        return Bridge(_made(_bridge_start, self._handle, access))

    def explain(self, host: str, port: int, how: int = TCP) -> str:
        """How a connection is made, for people."""
        return _told(_explain, self._handle, _bytes(host), _number(port), how)

    def health(self) -> dict[str, Any]:
        """How this process is doing in the mesh."""
        health: dict[str, Any] = json.loads(_told(_health, self._handle))
        return health

    def metrics(self) -> str:
        """In Prometheus' text format."""
        return _told(_metrics, self._handle)

    def shutdown(self, timeout: Optional[float] = None) -> None:
        """Leaves the mesh and waits until open connections have ended."""
        _checked(_shutdown, self._handle, _milliseconds(timeout))


class Connector(_Owner):
    """Connects without blocking an asyncio event loop: use it in one loop, with `async with` or `with`."""

    def __init__(self, mesh: Mesh):
        super().__init__(_made(_queue_new, mesh._handle), _queue_free)
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[socket.socket]] = {}
        self._fd = _queue_fd(self._handle)
        self._loop.add_reader(self._fd, self._fetch)

    async def connect(self, host: str, port: int, how: int = TCP, timeout: Optional[float] = None) -> socket.socket:
        """`Mesh.connect`; the socket does not block. Cancelling it ends the attempt."""
        operation = ctypes.c_uint64()
        _checked(
            _start_connect, self._handle, _bytes(host), _number(port), how, _milliseconds(timeout), None,
            ctypes.byref(operation),
        )
        connected: asyncio.Future[socket.socket] = self._loop.create_future()
        self._waiting[operation.value] = connected
        try:
            return await connected
        except asyncio.CancelledError:
            with contextlib.suppress(Error):
                _checked(_cancel, self._handle, operation.value)
            raise

    async def open_connection(
        self, host: str, port: int, how: int = TCP, timeout: Optional[float] = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As `asyncio.open_connection`."""
        return await asyncio.open_connection(sock=await self.connect(host, port, how, timeout))

    def _fetch(self) -> None:
        ended = _Completion()
        while _queue_next(self._handle, ctypes.byref(ended), ctypes.sizeof(ended), None) == 0:
            waiting = self._waiting.pop(ended.operation, None)
            failure = _failure(ended.status, _Handle(ended.error)) if ended.status else None
            connection = _socket(ended.fd) if ended.fd >= 0 else None
            if waiting is None or waiting.done():
                if connection is not None:
                    connection.close()
            elif failure is not None:
                waiting.set_exception(failure)
            elif connection is not None:
                connection.setblocking(False)
                waiting.set_result(connection)

    def close(self) -> None:
        """Ends it; who waits for a connection is cancelled."""
        if self._handle:
            self._loop.remove_reader(self._fd)
        for waiting in self._waiting.values():
            waiting.cancel()
        super().close()

    async def __aenter__(self) -> Connector:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
