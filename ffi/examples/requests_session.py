"""`requests` through the mesh: by the bridge's proxy, by SOCKS where PySocks is there, and unchanged by its lookup.

    PYTHONPATH=../python python3 requests_session.py VM-FILES [HOST PORT [PATH]]

Mesh and bridge are in this process, and the bridge serves no other.
"""

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor

import requests

import sidestep

vm_files, host, port, path = sys.argv[1:] + ["forecast.weather", "3002", "/"][len(sys.argv) - 2 :]
url = f"http://{host}:{port}{path}"


def session(proxies: dict[str, str]) -> requests.Session:
    made = requests.Session()
    made.trust_env = False  # the environment's proxies are not meant
    made.proxies = proxies
    return made


def get(by: requests.Session, way: str) -> None:
    answer = by.get(url, timeout=30)
    answer.raise_for_status()
    print(f"{way}: {answer.status_code} {answer.text}")


with sidestep.Mesh(vm_files=vm_files) as mesh:
    mesh.wait_ready(30)
    with mesh.bridge() as bridge:
        with session(bridge.proxies) as by_proxy:
            get(by_proxy, "by proxy")
            # Its pool keeps connections, and threads may share it.
            with ThreadPoolExecutor(4) as threads:
                answers = list(threads.map(lambda _: by_proxy.get(url, timeout=30).status_code, range(16)))
            print("16 requests by 4 threads:", *sorted(set(answers)))
            # A body that is not kept in memory as a whole.
            with by_proxy.get(f"http://{host}:{port}/bytes/1000000", stream=True, timeout=30) as answer:
                print("streamed:", sum(map(len, answer.iter_content(65536))), "bytes")
        if importlib.util.find_spec("socks"):
            with session({"http": bridge.socks_url, "https": bridge.socks_url}) as by_socks:
                get(by_socks, "by SOCKS")
        with bridge.resolving(), session({}) as unchanged:
            get(unchanged, "by lookup")
