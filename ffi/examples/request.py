"""Requests from Python: over a socket of the mesh, and by urllib through the bridge, which is in this process.

    PYTHONPATH=../python python3 request.py VM-FILES
"""

import sys
import urllib.request

import sidestep

with sidestep.Mesh(vm_files=sys.argv[1]) as mesh:
    mesh.wait_ready(30)

    with mesh.connect("forecast.weather", 3002, sidestep.HTTP1) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n")
        with connection.makefile("rb") as answer:
            print(answer.read().decode())

    with mesh.bridge() as bridge:
        # As `requests.get(url, proxies=bridge.proxies)` does it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(bridge.proxies))
        with opener.open("http://forecast.weather:3002/") as answer:
            print(answer.status, answer.read().decode())

    try:
        mesh.connect("forecast.weather", 80)
    except sidestep.Error as error:
        print(f"as expected: {error}\n{error.next_step}")
