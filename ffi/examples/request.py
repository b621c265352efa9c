"""Python through the mesh: a socket, urllib by the bridge's proxy, any client by the bridge's lookup, and asyncio.

    PYTHONPATH=../python python3 request.py VM-FILES [HOST PORT [PATH]] [KEY=VALUE]...

KEY is a setting of the library, such as istiod-name. Mesh and bridge are in this process, and the bridge serves no other.
"""

import asyncio
import sys
import urllib.request

import sidestep

places = [argument for argument in sys.argv[1:] if "=" not in argument]
settings = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
vm_files, host, port, path = places + ["forecast.weather", "3002", "/"][len(places) - 1 :]
url = f"http://{host}:{port}{path}"
request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


async def at_once(mesh: sidestep.Mesh) -> None:
    """Several connections come about at a time, and nothing blocks."""

    async def one(connector: sidestep.Connector) -> bytes:
        reader, writer = await connector.open_connection(host, int(port), sidestep.HTTP1, 30)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async with sidestep.Connector(mesh) as connector:
        for answer in await asyncio.gather(*(one(connector) for _ in range(4))):
            print("asyncio:", answer.split(b"\r\n")[0].decode())


with sidestep.Mesh(vm_files=vm_files, **settings) as mesh:
    mesh.wait_ready(30)

    with mesh.connect(host, int(port), sidestep.HTTP1, 30) as connection:
        info = mesh.connection_info(connection)
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            print(f"socket: {info.peer} by {info.gateway}\n{answer.read().decode()}")

    with mesh.bridge() as bridge:
        by_proxy = urllib.request.build_opener(urllib.request.ProxyHandler(bridge.proxies))
        with by_proxy.open(url, timeout=30) as answer:
            print("by proxy:", answer.status, answer.read().decode())

        unchanged = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with bridge.resolving(), unchanged.open(url, timeout=30) as answer:
            print("by lookup:", answer.status, answer.read().decode())

    asyncio.run(at_once(mesh))

    try:
        mesh.connect(host, 1)
    except sidestep.Error as error:
        print(f"as expected: {error.code!r}: {error}\n{error.next_step}")
