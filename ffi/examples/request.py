"""Sends requests from Python in several ways: over a socket, with urllib and the proxy of the bridge, with urllib and the name
resolution of the bridge, and with asyncio.

    PYTHONPATH=../python python3 request.py VM-FILES [HOST PORT [PATH]] [KEY=VALUE]...

KEY is a setting of the library, such as istiod-name. The mesh and the bridge run in this process. The bridge serves only this
process.
"""

import asyncio
import sys
import urllib.request

import sidestep

places = [argument for argument in sys.argv[1:] if "=" not in argument]
settings = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
if not places:
    sys.exit(__doc__)
vm_files, host, port, path = places + ["forecast.weather", "3002", "/"][len(places) - 1 :]
url = f"http://{host}:{port}{path}"
request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


async def send_simultaneously(mesh: sidestep.Mesh) -> None:
    """Opens several connections without blocking."""

    async def one(queue: sidestep.Queue) -> bytes:
        reader, writer = await queue.open_connection(host, int(port), sidestep.PROTOCOL_HTTP1, 30)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async with sidestep.Queue(mesh) as queue:
        for answer in await asyncio.gather(*(one(queue) for _ in range(4))):
            print("asyncio:", answer.split(b"\r\n")[0].decode())


with sidestep.Mesh(vm_files=vm_files, **settings) as mesh:
    mesh.wait_ready(30)

    with mesh.connect(host, int(port), sidestep.PROTOCOL_HTTP1, 30) as connection:
        info = mesh.connection_info(connection)
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            print(f"socket: {info.peer} through {info.gateway}\n{answer.read().decode()}")

    with mesh.bridge_start() as bridge:
        by_proxy = urllib.request.build_opener(urllib.request.ProxyHandler(bridge.proxies))
        with by_proxy.open(url, timeout=30) as answer:
            print("by proxy:", answer.status, answer.read().decode())

        unchanged = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with bridge.resolving(), unchanged.open(url, timeout=30) as answer:
            print("by getaddrinfo:", answer.status, answer.read().decode())

    asyncio.run(send_simultaneously(mesh))

    try:
        mesh.connect(host, 1)
    except sidestep.Error as error:
        print(f"as expected: {error.status!r}: {error}\n{error.next_step}")
