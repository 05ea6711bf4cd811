"""Listens to an event stream with httpx-sse and says what it hears, a line each.

    python3 updates.py http://127.0.0.1:1848/chainweb/0.0/mainnet01/header/updates
"""

import json
import sys

import httpx
from httpx_sse import connect_sse


def main(url: str) -> None:
    with httpx.Client(timeout=None) as client, connect_sse(client, "GET", url) as source:
        source.response.raise_for_status()
        print("open", flush=True)
        for event in source.iter_sse():
            if event.event != "BlockHeader":
                print("strange", event.event, event.data, flush=True)
                continue
            update = json.loads(event.data)
            count = update["txCount"]
            print("block", update["header"]["hash"], "null" if count is None else count, flush=True)
    print("end", flush=True)


main(sys.argv[1])
