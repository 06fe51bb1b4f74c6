#!/usr/bin/env python3
"""Where this host sends to: counts what `tcpdump -nn -tt -q` prints, by destination and interval.

With --geoip, by country, too: that needs the module maxminddb and a database of countries.
"""

import argparse
import re
import sys
from collections import Counter

LINE = re.compile(r"^(\d+\.\d+) .*IP6? \S+ > (\S+)\.(\d+): tcp (\d+)")


def countries(path):
    if path is None:
        return None
    import maxminddb

    database = maxminddb.open_database(path)

    def country(address):
        found = database.get(address) or {}
        return found.get("country", {}).get("iso_code", "??")

    return country


def largest(lengths, top):
    return sorted(lengths.items(), key=lambda it: (-it[1], it[0]))[:top]


def report(number, packets, lengths, country, top):
    print(f"interval {number}: {sum(packets.values())} packets, {sum(lengths.values())} bytes")
    for (address, port), length in largest(lengths, top):
        name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        if country:
            name += " " + country(address)
        print(f"{name} {packets[address, port]} packets {length} bytes")
    if country:
        countries = Counter()
        for (address, _), length in lengths.items():
            countries[country(address)] += length
        for name, length in largest(countries, top):
            print(f"{name} {length} bytes")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--every", type=float, default=20, help="seconds of an interval")
    options.add_argument("--top", type=int, default=10, help="destinations to print")
    options.add_argument("--geoip", help="database of countries")
    options = options.parse_args()
    country = countries(options.geoip)
    first, number = None, 0
    packets, lengths = Counter(), Counter()
    try:
        for line in sys.stdin:
            match = LINE.match(line)
            if not match:
                continue
            time, address, port, length = match.groups()
            first = first or float(time)
            now = int((float(time) - first) / options.every)
            if now != number:
                report(number, packets, lengths, country, options.top)
                number, packets, lengths = now, Counter(), Counter()
            packets[address, port] += 1
            lengths[address, port] += int(length)
    except KeyboardInterrupt:
        pass
    report(number, packets, lengths, country, options.top)


main()
