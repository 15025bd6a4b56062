#!/usr/bin/env python3
"""The table of the released binaries: size and how each is linked; of those that
this processor runs, memory, cold start and writes per second, in pairs with
build/craftd, one after the other, so that a slow minute hits both.

    tests/bench/release.py [--quick] [--sizes]

--sizes: nothing is started. `make release` and `make small` build them; without wrk
(scripts/setup all) there are no writes per second.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench
from cluster import BINARY, ROOT, rss_bytes, wait_for

NATIVE = {"x86_64": ("amd64", "i386")}.get(os.uname().machine, ())
TARGETS = ("amd64", "arm64", "armhf", "riscv64", "i386", "mips", "mipsel")
CONNECTIONS = 64


def binaries():
    """(name, path, whether it runs here) of each that was built."""
    if os.path.exists(BINARY):
        yield "build/craftd", BINARY, True
    for folder in ("release", "small"):
        for arch in TARGETS:
            path = os.path.join(ROOT, "build", folder, f"craftd-{arch}")
            if os.path.exists(path):
                yield f"{folder} {arch}", path, arch in NATIVE


def linked(path):
    """Static or static-pie, as scripts/check-release has checked."""
    header = subprocess.run(["readelf", "-h", path], capture_output=True, text=True,
                            check=True).stdout
    return "static-pie" if "DYN" in header else "static"


def program(path, base):
    one = bench.Craftd(base, 1)
    one.binary = path
    return one


def cold_start(path, folder):
    """Milliseconds from exec to the first acknowledged write, and bytes of memory
    after that."""
    with tempfile.TemporaryDirectory(dir=folder) as base:
        one = program(path, base)
        try:
            began = time.monotonic()
            one.spawn()
            wait_for(lambda: one.put(one.nodes[0], "k", "v"), 30, "a first write", pause=0.001)
            return 1000 * (time.monotonic() - began), rss_bytes(one.nodes[0].pid)
        finally:
            one.stop()


def writes(path, folder, seconds):
    """Writes per second, and bytes of memory with 100,000 keys."""
    with tempfile.TemporaryDirectory(dir=folder) as base:
        one = program(path, base).start()
        try:
            bench.load(one)
            memory = rss_bytes(one.nodes[0].pid)
            if not shutil.which("wrk"):
                return None, memory
            row = bench.wrk(one, ("kv-write",), CONNECTIONS, seconds)
            return row["per_s"], memory
        finally:
            one.stop()


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def measure(path, folder, runs, seconds):
    """The cells of a row; the ratio is of pairs of runs."""
    starts = [cold_start(path, folder) for _ in range(runs)]
    rates, ratios, full = [], [], []
    for _ in range(runs):
        rate, memory = writes(path, folder, seconds)
        rates.append(rate)
        full.append(memory)
        if rate and path != BINARY and os.path.exists(BINARY):
            ratios.append(rate / writes(BINARY, folder, seconds)[0])
    rate, ratio = median(rates), median(ratios)
    return (f"{median(m for _, m in starts) / 1e6:.1f} / {median(full) / 1e6:.1f} MB",
            f"{median(ms for ms, _ in starts):.0f} ms",
            f"{rate:,.0f}" if rate else "", f"{ratio:.2f}" if ratio else "")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one run of 2 s, not five of 5 s")
    parser.add_argument("--sizes", action="store_true", help="nothing is started")
    parser.add_argument("--dir", help="where the data goes (a real disk, not /dev/shm)")
    options = parser.parse_args()
    runs, seconds = (1, 2) if options.quick else (5, 5)
    print("| binary | linked | bytes | RSS empty / 100,000 keys | cold start "
          f"| writes/s, {CONNECTIONS} connections | of build/craftd |")
    print("|---|---|---|---|---|---|---|")
    for name, path, runs_here in binaries():
        cells = ("", "", "", "")
        if runs_here and not options.sizes:
            cells = measure(path, options.dir, runs, seconds)
        print(f"| {name} | {linked(path)} | {os.path.getsize(path):,} | "
              + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
