#!/usr/bin/env python3
"""Who talks to whom: polls /proc/net/tcp and /proc/net/tcp6, and remembers what it saw.

Writes the live file after each poll and prints both reports at the end (Ctrl-C).
"""

import argparse
import ipaddress
import os
import struct
import sys
import time
from collections import Counter, defaultdict

ESTABLISHED, LISTEN = "01", "0A"


def address(text):
    """0100007F:1F90 is 127.0.0.1 port 8080: words in the machine's byte order."""
    host, port = text.split(":")
    words = (host[at : at + 8] for at in range(0, len(host), 8))
    ip = ipaddress.ip_address(b"".join(struct.pack("=I", int(word, 16)) for word in words))
    return getattr(ip, "ipv4_mapped", None) or ip, int(port, 16)


def sockets():
    for table in filter(os.path.exists, ("/proc/net/tcp", "/proc/net/tcp6")):
        with open(table) as lines:
            next(lines)
            for line in lines:
                fields = line.split()
                yield fields[3], address(fields[1]), address(fields[2])


def poll(seen):
    """Counts in how many polls each client was connected to each service."""
    now = list(sockets())
    services = {port for state, (_, port), _ in now if state == LISTEN}
    relations = set()
    for state, local, remote in now:
        if state != ESTABLISHED or remote[0].is_loopback:
            continue
        # Nothing in the table says who connected: guess by the port.
        if local[1] in services:
            relations.add((local, remote[0]))
        else:
            relations.add((remote, local[0]))
    seen.update(relations)
    return len(relations)


def order(relation):
    (ip, port), client = relation
    return ip.version, ip, port, client.version, client


def name(service):
    ip, port = service
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def one_to_one(seen):
    for relation in sorted(seen, key=order):
        service, client = relation
        yield f"{client} -> {name(service)} ({seen[relation]} polls)"


def one_to_many(seen):
    clients = defaultdict(list)
    for service, client in sorted(seen, key=order):
        clients[service].append(client)
    for service, found in clients.items():
        yield f"{name(service)}, clients: {len(found)}"
        yield from (f"    {client}" for client in found)


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
    options.add_argument("--live", required=True, help="file to rewrite after each poll")
    options = options.parse_args()
    seen = Counter()
    try:
        for number, _ in enumerate(ticks(options.every), 1):
            print(f"poll {number}: {poll(seen)} relations", flush=True)
            with open(options.live, "w") as live:
                print(time.strftime("%Y-%m-%d %H:%M"), *one_to_one(seen), sep="\n", file=live)
    except KeyboardInterrupt:
        pass
    print("\none to one", *one_to_one(seen), sep="\n")
    print("\none to many", *one_to_many(seen), sep="\n")


main()
