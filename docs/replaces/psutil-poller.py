#!/usr/bin/env python3
"""Which addresses this host talks to: polls psutil and keeps a set of them in a JSON file."""

import argparse
import ipaddress
import json
import os
import sys
import time

import psutil


def load(path):
    if not os.path.exists(path):
        return set()
    with open(path) as file:
        return set(json.load(file))


def save(path, peers):
    with open(path + ".tmp", "w") as file:
        json.dump(sorted(peers), file, indent=1)
        file.write("\n")
    os.replace(path + ".tmp", path)


def poll():
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_ESTABLISHED:
            continue
        if not ipaddress.ip_address(connection.raddr.ip).is_loopback:
            yield connection.raddr.ip


def ticks(every):
    """When to poll: every so many seconds; with -, at each line on standard input."""
    if every == "-":
        yield from sys.stdin
        return
    while True:
        yield
        time.sleep(float(every))


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--every", default="30", help="seconds, or - for a poll at each line read")
    options.add_argument("file", help="where the set is kept")
    options = options.parse_args()
    peers = load(options.file)
    try:
        for _ in ticks(options.every):
            new = set(poll()) - peers
            peers |= new
            save(options.file, peers)
            print(f"poll: {len(new)} new, {len(peers)} known", flush=True)
    except KeyboardInterrupt:
        pass


main()
