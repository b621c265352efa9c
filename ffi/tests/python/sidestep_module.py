"""Tests of sidestep.py: errors, closed objects, threads, coroutines, forks, and leaks of descriptors.

    python3 sidestep_module.py VM-FILES HOST PORT
"""

import asyncio
import gc
import os
import re
import socket
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sidestep

vm_files, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def descriptors() -> list[str]:
    """Returns the open descriptors, without that of the directory that it lists."""
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sorted(os.readlink(link) for link in links if os.path.lexists(link))


def fails(kind: type[BaseException], call, *arguments, **named) -> BaseException:
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"{call} did not raise {kind}")


def errors_have_a_status_an_errno_and_a_next_step(mesh: sidestep.Mesh) -> None:
    error = fails(sidestep.Error, mesh.connect, host, 1)
    assert error.status is sidestep.Status.E_UNKNOWN_PORT and error.errno and error.next_step, error
    assert host in str(error) and isinstance(error, OSError) and not error.is_transient, error
    mesh.connect(host, port).close()  # the mesh has the endpoints of the service now
    late = fails(TimeoutError, mesh.connect, host, port, timeout=0)
    assert isinstance(late, sidestep.Timeout) and late.status is sidestep.Status.E_TIMEOUT, late
    assert late.is_transient, late
    assert sidestep.status_name(late.status) == "SIDESTEP_E_TIMEOUT" and sidestep.status_text(late.status)
    assert sidestep.status_name(4711) and sidestep.status_text(4711)
    unknown = fails(socket.gaierror, mesh.getaddrinfo, "nosuch.weather", 80)
    assert unknown.errno == socket.EAI_NONAME and "nosuch" in str(unknown), unknown
    error = fails(sidestep.Error, sidestep.Mesh, vm_files=vm_files, nosuch=1)
    assert "nosuch" in str(error), error
    with socket.socket() as other:
        error = fails(sidestep.Error, mesh.connection_info, other)
        assert error.status is sidestep.Status.E_NOT_A_CONNECTION, error


def constants_equal_those_of_the_header() -> None:
    header = Path(__file__).parents[2].joinpath("include/sidestep.h").read_text()
    defined = {name: int(number) for name, number in re.findall(r"^#define SIDESTEP_(\w+) (\d+)$", header, re.M)}
    statuses = {name: number for name, number in defined.items() if name == "OK" or name.startswith("E_")}
    assert {status.name: status.value for status in sidestep.Status} == statuses, statuses
    for name, number in defined.items():
        if name.startswith(("PROTOCOL_", "FLAG_", "ACCESS_")):
            assert getattr(sidestep, name) == number, name


def values_that_c_would_truncate_are_rejected(mesh: sidestep.Mesh) -> None:
    fails(ValueError, mesh.connect, host, 0x10000 + port)
    fails(ValueError, mesh.connect, host, -1)
    fails(ValueError, mesh.connect, host + "\0.example", port)


def a_closed_object_raises_an_error_that_says_so() -> None:
    mesh = sidestep.Mesh(vm_files=vm_files)
    mesh.wait_ready(30)
    bridge, stream, dns = mesh.bridge_start(), mesh.stream_connect(host, port), mesh.dns_start("127.0.0.1:0")
    assert dns.port and not mesh.closed
    for owner in (dns, stream, bridge, mesh):
        owner.close()
        owner.close()
        assert owner.closed
    for name, call in (
        ("Mesh", mesh.metrics),
        ("Mesh", mesh.bridge_start),
        ("Mesh", lambda: mesh.connect(host, port)),
        ("Mesh", lambda: mesh.getaddrinfo(host, port)),
        ("Bridge", lambda: bridge.proxies),
        ("Stream", lambda: stream.read(1)),
        ("Dns", lambda: dns.port),
    ):
        error = fails(sidestep.Error, call)
        assert error.status is sidestep.Status.E_BAD_HANDLE and error.next_step, error
        assert str(error) == f"this sidestep.{name} is closed", error


def a_stream_reads_and_writes(mesh: sidestep.Mesh) -> None:
    with mesh.stream_connect(host, port, sidestep.PROTOCOL_HTTP1, 30) as stream:
        assert stream.info().transport == "mutual_tls", stream.info()
        stream.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := stream.read(65536, 30):
            answer += data
        assert answer.startswith(b"HTTP/1.1 200"), answer
        stream.shutdown()


def resolving_restores_the_systems_function(mesh: sidestep.Mesh) -> None:
    system = socket.getaddrinfo
    with mesh.bridge_start() as bridge:
        with bridge.resolving():
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            assert family == socket.AF_INET and address[0].startswith("127.") and address[1] != port, address
            with socket.create_connection((host, port), timeout=10) as connection:
                assert connection.getpeername() == address
            assert socket.getaddrinfo("127.0.0.1", 80)[0][4] == ("127.0.0.1", 80)
            assert ("127.0.0.1", 80) in [found[4] for found in socket.getaddrinfo("localhost", 80)]
            fails(socket.gaierror, socket.getaddrinfo, host, 1)
    assert socket.getaddrinfo is system


def threads_may_share_a_mesh(mesh: sidestep.Mesh) -> None:
    def one(_: int) -> bool:
        with mesh.connect(host, port) as connection:
            return mesh.connection_info(connection).transport == "mutual_tls"

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(one, range(32)))


async def failure_of(coroutine) -> BaseException:
    return (await asyncio.gather(coroutine, return_exceptions=True))[0]


async def coroutines_may_be_cancelled(mesh: sidestep.Mesh) -> None:
    async with sidestep.Queue(mesh) as queue:
        cancelled = asyncio.ensure_future(queue.connect(host, port))
        await asyncio.sleep(0)
        cancelled.cancel()
        with (await queue.connect(host, port)) as connection:
            assert mesh.connection_info(connection).peer
        assert type(await failure_of(cancelled)) is asyncio.CancelledError
        left = asyncio.ensure_future(queue.connect(host, port))
        await asyncio.sleep(0)
    assert type(await failure_of(left)) is asyncio.CancelledError
    error = await failure_of(queue.connect(host, port))
    assert error.status is sidestep.Status.E_BAD_HANDLE and str(error) == "this sidestep.Queue is closed", error


async def a_queue_runs_every_operation(mesh: sidestep.Mesh) -> None:
    async with sidestep.Queue(mesh) as queue:
        await queue.wait_ready(30)
        error = await failure_of(queue.connect(host, 1))
        assert type(error) is sidestep.Error and error.status is sidestep.Status.E_UNKNOWN_PORT, error
        with await queue.stream_connect(host, port) as stream:
            assert stream.info().peer
        assert host in await queue.explain(host, port)
        assert (await queue.getaddrinfo(host, port))[0][4][1] == port
        unknown = await failure_of(queue.getaddrinfo("nosuch.weather", 80))
        assert type(unknown) is socket.gaierror and unknown.errno == socket.EAI_NONAME, unknown
        with mesh.bridge_start() as bridge:
            found = await queue.bridge_getaddrinfo(bridge, host, port, type=socket.SOCK_STREAM)
            assert found[0][4][0].startswith("127."), found
            late = await failure_of(queue.bridge_getaddrinfo(bridge, host, 1))
            assert type(late) is socket.gaierror and late.errno == socket.EAI_SERVICE, late


def handles_are_invalid_in_a_forked_child(mesh: sidestep.Mesh) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 and later warn if a process with threads forks
        child = os.fork()
    if child == 0:
        forked = fails(sidestep.Error, mesh.connect, host, port).status is sidestep.Status.E_FORKED
        os._exit(0 if forked else 1)
    assert os.waitpid(child, 0)[1] == 0


def all_tests() -> None:
    with sidestep.Mesh(vm_files=vm_files, mtls="required") as mesh:
        mesh.wait_ready(30)
        assert mesh.health()["ok"] is True and "istio_" in mesh.metrics() and host in mesh.explain(host, port)
        errors_have_a_status_an_errno_and_a_next_step(mesh)
        values_that_c_would_truncate_are_rejected(mesh)
        a_stream_reads_and_writes(mesh)
        resolving_restores_the_systems_function(mesh)
        threads_may_share_a_mesh(mesh)
        asyncio.run(coroutines_may_be_cancelled(mesh))
        asyncio.run(a_queue_runs_every_operation(mesh))
        handles_are_invalid_in_a_forked_child(mesh)
    a_closed_object_raises_an_error_that_says_so()
    # The garbage collector frees this object.
    sidestep.Mesh(vm_files=vm_files).bridge_start


# The first use creates descriptors that dependencies of the library keep until the process ends.
a_closed_object_raises_an_error_that_says_so()
constants_equal_those_of_the_header()
before = descriptors()
all_tests()
gc.collect()
assert descriptors() == before, (before, descriptors())
print("all tests of sidestep.py passed")
