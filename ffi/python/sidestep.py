"""libsidestep for Python: a process in an Istio mesh, without a sidecar.

    import sidestep

    with sidestep.Mesh(vm_files="/var/lib/sidestep") as mesh:
        mesh.wait_ready(30)
        with mesh.connect("forecast.weather", 3002, sidestep.HTTP1) as connection:
            connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        with mesh.bridge() as bridge:
            requests.get("http://forecast.weather:3002/", proxies=bridge.proxies)

Needs nothing but the library, which is found as the system finds libraries, or where SIDESTEP_LIBRARY says.
"""

import ctypes
import os
import socket

TCP, HTTP1, HTTP2 = 0, 1, 2
SAME_PROCESS, SAME_USER, ANY = 0, 1, 2

_lib = ctypes.CDLL(os.environ.get("SIDESTEP_LIBRARY", "libsidestep.so.0.1"))
_Handle = ctypes.c_void_p
_Status = ctypes.c_int32


def _declare(name, result, *arguments):
    function = getattr(_lib, name)
    function.restype, function.argtypes = result, arguments
    return function


_out = ctypes.POINTER(_Handle)
_error_code = _declare("sidestep_error_code", _Status, _Handle)
_error_message = _declare("sidestep_error_message", ctypes.c_char_p, _Handle)
_error_next_step = _declare("sidestep_error_next_step", ctypes.c_char_p, _Handle)
_error_free = _declare("sidestep_error_free", _Status, _Handle)
_settings_new = _declare("sidestep_settings_new", _Status, _out, _out)
_settings_set = _declare("sidestep_settings_set", _Status, _Handle, ctypes.c_char_p, ctypes.c_char_p, _out)
_settings_free = _declare("sidestep_settings_free", _Status, _Handle)
_join = _declare("sidestep_join", _Status, _Handle, _out, _out)
_wait_ready = _declare("sidestep_wait_ready", _Status, _Handle, ctypes.c_int64, _out)
_connect = _declare(
    "sidestep_connect", _Status, _Handle, ctypes.c_char_p, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_int64,
    ctypes.POINTER(ctypes.c_int32), _out,
)
_explain = _declare(
    "sidestep_explain", _Status, _Handle, ctypes.c_char_p, ctypes.c_uint16, ctypes.c_uint32, _out, _out
)
_metrics = _declare("sidestep_metrics", _Status, _Handle, _out, _out)
_text_get = _declare("sidestep_text_get", ctypes.c_char_p, _Handle)
_text_free = _declare("sidestep_text_free", _Status, _Handle)
_mesh_free = _declare("sidestep_mesh_free", _Status, _Handle)
_bridge_start = _declare("sidestep_bridge_start", _Status, _Handle, ctypes.c_int32, _out, _out)
_bridge_http_url = _declare("sidestep_bridge_http_url", ctypes.c_char_p, _Handle)
_bridge_socks_url = _declare("sidestep_bridge_socks_url", ctypes.c_char_p, _Handle)
_bridge_free = _declare("sidestep_bridge_free", _Status, _Handle)
_abi_version = _declare("sidestep_abi_version", ctypes.c_uint32)

if _abi_version() != 1:
    raise ImportError(f"this module is for ABI 1 of libsidestep, and the library has {_abi_version()}")


class Error(OSError):
    """What a call failed with: `code` (SIDESTEP_... of sidestep.h), `next_step`."""

    def __init__(self, code, message, next_step):
        super().__init__(message)
        self.code, self.next_step = code, next_step


def _checked(function, *arguments):
    error = _Handle()
    status = function(*arguments, ctypes.byref(error))
    if status == 0:
        return
    message, next_step = _error_message(error), _error_next_step(error)
    _error_free(error)
    raise Error(status, (message or b"").decode(), (next_step or b"").decode())


def _milliseconds(seconds):
    return -1 if seconds is None else int(seconds * 1000)


def _text(function, *arguments):
    text = _Handle()
    _checked(function, *arguments, ctypes.byref(text))
    try:
        return _text_get(text).decode()
    finally:
        _text_free(text)


class Bridge:
    """A proxy in this process behind which the mesh is."""

    def __init__(self, handle):
        self._handle = handle

    @property
    def http_url(self):
        return _bridge_http_url(self._handle).decode()

    @property
    def socks_url(self):
        return _bridge_socks_url(self._handle).decode()

    @property
    def proxies(self):
        """For `requests`."""
        return {"http": self.http_url, "https": self.http_url}

    def close(self):
        handle, self._handle = self._handle, _Handle()
        _bridge_free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Mesh:
    """A process in a mesh. Settings are those of sidestep_settings_set, with `_` for `-`."""

    def __init__(self, **settings):
        self._handle = _Handle()
        chosen = _Handle()
        _checked(_settings_new, ctypes.byref(chosen))
        try:
            for key, value in settings.items():
                _checked(_settings_set, chosen, key.replace("_", "-").encode(), str(value).encode())
            _checked(_join, chosen, ctypes.byref(self._handle))
        finally:
            _settings_free(chosen)

    def wait_ready(self, timeout=None):
        """Waits until names and identity are there: for `timeout` seconds."""
        _checked(_wait_ready, self._handle, _milliseconds(timeout))

    def connect(self, host, port, how=TCP, timeout=None):
        """A connected `socket.socket`, plaintext here and mTLS in the mesh."""
        fd = ctypes.c_int32(-1)
        _checked(_connect, self._handle, host.encode(), port, how, _milliseconds(timeout), ctypes.byref(fd))
        return socket.socket(fileno=fd.value)

    def explain(self, host, port, how=TCP):
        return _text(_explain, self._handle, host.encode(), port, how)

    def metrics(self):
        """In Prometheus' text format."""
        return _text(_metrics, self._handle)

    def bridge(self, access=SAME_PROCESS):
        handle = _Handle()
        _checked(_bridge_start, self._handle, access, ctypes.byref(handle))
        return Bridge(handle)

    def close(self):
        handle, self._handle = self._handle, _Handle()
        _mesh_free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
