#!/usr/bin/env python3
"""The cost of a large database: disk, restart, a newcomer's catching up, and the
longest turn of the loop.

    tests/bench/big.py [--keys N] [--value BYTES] [--secs N] [--dir DIR]

One node is loaded by wrk with random keys until nearly all are there, and as
many writes again go over them. Then it is killed and started, all keys are
listed in pages of a thousand, and a newcomer joins it under the same load.
Prints one JSON object a line.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "proc"))

from cluster import Cluster, directory_bytes, rss_bytes, wait_for  # noqa: E402


def wrk(node, args, seconds):
    environment = dict(os.environ, KEYS=str(args.keys), VALUE_BYTES=str(args.value))
    return subprocess.Popen(
        ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", os.path.join(HERE, "load.lua"),
         f"http://{node.http}", "--", "kv-write"],
        env=environment, stdout=subprocess.PIPE, text=True)


def result(process):
    return json.loads(process.communicate()[0].strip().splitlines()[-1])


def tell(**figures):
    print(json.dumps(figures), flush=True)


def load(node, args):
    writes = 0
    while True:
        writes += result(wrk(node, args, args.secs))["requests"]
        status = node.status(timeout=10)
        if status["keys"] > 0.95 * args.keys and writes > 2 * args.keys:
            break
    payload = status["keys"] * (16 + args.value)
    disk = directory_bytes(node.dir)
    tell(what="loaded", keys=status["keys"], writes=writes,
         payload_mb=payload >> 20, disk_mb=disk >> 20,
         disk_per_payload=round(disk / payload, 2), rss_mb=rss_bytes(node.pid) >> 20,
         turn_ms_max=status["storage"]["turn_ms_max"])
    return payload


def first_read(node, level):
    began = time.monotonic()
    node.start()
    wait_for(lambda: node.get("k%015d" % 1, level=level) is not None or
             node.get("k%015d" % 2, level=level) is not None, 60, "a read", 0.002)
    return round(1000 * (time.monotonic() - began))


def restart(node):
    for level in ("none", "linearizable"):
        node.kill()
        tell(what=f"kill -9, start, first read ({level})", ms=first_read(node, level))


def list_all(node):
    """Every form, on a node that has done nothing else since its start."""
    for form in ("", "&keys", "&reverse", "&format=lines"):
        path, pages = f"/keys?level=none&limit=1000{form}", 0
        began = time.monotonic()
        while path:
            answer = node.request("GET", path, timeout=30)
            assert answer.status == 200, answer
            pages += 1
            link = answer.headers.get("Link")
            path = link[1:link.index(">")] if link else None
        tell(what=f"listed{form}", pages=pages,
             seconds=round(time.monotonic() - began, 1),
             turn_ms_max=node.status(timeout=10)["storage"]["turn_ms_max"])


def catch_up(cluster, node, args):
    alone = result(wrk(node, args, args.secs))
    newcomer = cluster.new()
    newcomer.join = node.http
    process = wrk(node, args, 3 * args.secs)
    time.sleep(1)
    began = time.monotonic()
    newcomer.start()
    wait_for(lambda: "snapshot-installed" in newcomer.log(), 300, "the snapshot")
    seconds = time.monotonic() - began
    meanwhile = result(process)
    size = newcomer.status(timeout=10)["storage"]["db_bytes"]
    wait_for(lambda: newcomer.status(timeout=10)["applied"] ==
             node.status(timeout=10)["applied"], 120, "all of it")
    tell(what="newcomer under load", db_mb=size >> 20, seconds=round(seconds, 2),
         mb_per_s=round(size / seconds / 1e6, 1),
         writes_per_s_alone=round(alone["per_s"]),
         writes_per_s_meanwhile=round(meanwhile["per_s"]),
         turn_ms_max=node.status(timeout=10)["storage"]["turn_ms_max"],
         term=node.status(timeout=10)["term"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value", type=int, default=100)
    parser.add_argument("--secs", type=int, default=10)
    parser.add_argument("--dir")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as base:
        cluster = Cluster(base)
        try:
            node = cluster.new(args=["-max-db", "64G"]).start().up()
            cluster.wait_leader()
            load(node, args)
            restart(node)
            list_all(node)
            wait_for(lambda: node.put("up", "1").status == 200, 20, "a leader")
            catch_up(cluster, node, args)
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
