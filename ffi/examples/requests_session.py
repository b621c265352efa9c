"""Sends requests with the library `requests`: through the HTTP proxy of the bridge, through its SOCKS5 proxy if PySocks is
installed, and without a proxy by its name resolution.

    PYTHONPATH=../python python3 requests_session.py VM-FILES [HOST PORT [PATH]]

The mesh and the bridge run in this process. The bridge serves only this process.
"""

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor

import requests

import sidestep

if len(sys.argv) < 2:
    sys.exit(__doc__)
vm_files, host, port, path = sys.argv[1:] + ["forecast.weather", "3002", "/"][len(sys.argv) - 2 :]
url = f"http://{host}:{port}{path}"


def session(proxies: dict[str, str]) -> requests.Session:
    made = requests.Session()
    made.trust_env = False  # ignore the proxies in the environment
    made.proxies = proxies
    return made


def get(by: requests.Session, way: str) -> None:
    answer = by.get(url, timeout=30)
    answer.raise_for_status()
    print(f"{way}: {answer.status_code} {answer.text}")


with sidestep.Mesh(vm_files=vm_files) as mesh:
    mesh.wait_ready(30)
    with mesh.bridge_start() as bridge:
        with session(bridge.proxies) as by_proxy:
            get(by_proxy, "by proxy")
            # The session reuses connections, and threads may share it.
            with ThreadPoolExecutor(4) as threads:
                answers = list(threads.map(lambda _: by_proxy.get(url, timeout=30).status_code, range(16)))
            print("16 requests by 4 threads:", *sorted(set(answers)))
            # The response body is streamed, so it is never completely in memory.
            with by_proxy.get(f"http://{host}:{port}/bytes/1000000", stream=True, timeout=30) as answer:
                print("streamed:", sum(map(len, answer.iter_content(65536))), "bytes")
        if importlib.util.find_spec("socks"):
            with session({"http": bridge.socks_url, "https": bridge.socks_url}) as by_socks:
                get(by_socks, "by SOCKS")
        with bridge.resolving(), session({}) as unchanged:
            get(unchanged, "by getaddrinfo")
