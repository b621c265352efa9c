"""What sidestep.py promises beside what the examples show: errors, endings, threads, and that nothing is left.

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
    """What is open, beside the folder that is read for it."""
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sorted(os.readlink(link) for link in links if os.path.lexists(link))


def fails(kind: type[BaseException], call, *arguments, **named) -> BaseException:
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"{call} was to fail with {kind}")


def errors_have_a_name_a_number_and_a_next_step(mesh: sidestep.Mesh) -> None:
    error = fails(sidestep.Error, mesh.connect, host, 1)
    assert error.code is sidestep.Code.UNKNOWN_PORT and error.errno and error.next_step, error
    assert host in str(error) and isinstance(error, OSError), error
    mesh.connect(host, port).close()  # now it has its endpoints
    late = fails(TimeoutError, mesh.connect, host, port, timeout=0)
    assert isinstance(late, sidestep.Timeout) and late.code is sidestep.Code.TIMEOUT, late
    error = fails(sidestep.Error, sidestep.Mesh, vm_files=vm_files, nosuch=1)
    assert "nosuch" in str(error), error
    with socket.socket() as other:
        assert fails(sidestep.Error, mesh.connection_info, other).code is sidestep.Code.NOT_A_CONNECTION


def codes_are_those_of_the_header() -> None:
    header = Path(__file__).parents[2].joinpath("include/sidestep.h").read_text()
    after = header[header.index("#define SIDESTEP_OK 0") :]
    defined = {name: int(number) for name, number in re.findall(r"^#define SIDESTEP_(\w+) (\d+)$", after, re.M)}
    assert {"OK": 0} | {code.name: code.value for code in sidestep.Code} == defined, defined


def what_c_would_cut_off_is_refused(mesh: sidestep.Mesh) -> None:
    fails(ValueError, mesh.connect, host, 0x10000 + port)
    fails(ValueError, mesh.connect, host, -1)
    fails(ValueError, mesh.connect, host + "\0.example", port)


def what_is_closed_says_so() -> None:
    mesh = sidestep.Mesh(vm_files=vm_files)
    mesh.wait_ready(30)
    bridge = mesh.bridge()
    for owner in (bridge, mesh):
        owner.close()
        owner.close()
    for call in (mesh.metrics, mesh.bridge, lambda: mesh.connect(host, port), lambda: bridge.proxies):
        assert fails(sidestep.Error, call).code in (sidestep.Code.NULL_POINTER, sidestep.Code.CLOSED)


def lookups_are_the_systems_again(mesh: sidestep.Mesh) -> None:
    system = socket.getaddrinfo
    with mesh.bridge() as bridge:
        with bridge.resolving():
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            assert family == socket.AF_INET and address[0].startswith("127.") and address[1] != port, address
            with socket.create_connection((host, port), timeout=10) as connection:
                assert connection.getpeername() == address
            assert socket.getaddrinfo("127.0.0.1", 80)[0][4] == ("127.0.0.1", 80)
            assert ("127.0.0.1", 80) in [found[4] for found in socket.getaddrinfo("localhost", 80)]
            fails(socket.gaierror, socket.getaddrinfo, host, 1)
    assert socket.getaddrinfo is system


def any_thread_may_use_it(mesh: sidestep.Mesh) -> None:
    def one(_: int) -> bool:
        with mesh.connect(host, port) as connection:
            return mesh.connection_info(connection).transport == "mutual_tls"

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(one, range(32)))


async def coroutines_may_be_cancelled(mesh: sidestep.Mesh) -> None:
    async with sidestep.Connector(mesh) as connector:
        cancelled = asyncio.ensure_future(connector.connect(host, port))
        await asyncio.sleep(0)
        cancelled.cancel()
        with (await connector.connect(host, port)) as connection:
            assert mesh.connection_info(connection).peer
        assert (await asyncio.gather(cancelled, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        error = (await asyncio.gather(connector.connect(host, 1), return_exceptions=True))[0]
        assert error.code is sidestep.Code.UNKNOWN_PORT, error
        left = asyncio.ensure_future(connector.connect(host, port))
        await asyncio.sleep(0)
    assert (await asyncio.gather(left, return_exceptions=True))[0].__class__ is asyncio.CancelledError


def a_child_is_told(mesh: sidestep.Mesh) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # later versions warn of any fork beside threads
        child = os.fork()
    if child == 0:
        forked = fails(sidestep.Error, mesh.connect, host, port).code is sidestep.Code.FORKED
        os._exit(0 if forked else 1)
    assert os.waitpid(child, 0)[1] == 0


def all_of_it() -> None:
    with sidestep.Mesh(vm_files=vm_files, mtls="required") as mesh:
        mesh.wait_ready(30)
        assert mesh.health()["ok"] is True and "istio_" in mesh.metrics() and host in mesh.explain(host, port)
        errors_have_a_name_a_number_and_a_next_step(mesh)
        what_c_would_cut_off_is_refused(mesh)
        lookups_are_the_systems_again(mesh)
        any_thread_may_use_it(mesh)
        asyncio.run(coroutines_may_be_cancelled(mesh))
        a_child_is_told(mesh)
    what_is_closed_says_so()
    # Nobody closes this one.
    sidestep.Mesh(vm_files=vm_files).bridge


# What the library's own dependencies keep for the whole process they make the first time.
what_is_closed_says_so()
codes_are_those_of_the_header()
before = descriptors()
all_of_it()
gc.collect()
assert descriptors() == before, (before, descriptors())
print("sidestep.py is as it says")
