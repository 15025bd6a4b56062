#!/usr/bin/env python3
"""Plant one bug at a time and see the tests find it.

    tests/mutants/run.py [--seeds N] [--only TEXT]

mutants.txt holds them: a line "## name", the file, and what to replace by
what. Each is planted in a copy of the tree, built, and hunted: transcripts,
unit tests, crash states, then the simulator over a fixed range of seeds. Where
a line "proc EXPRESSION" follows the file, the process tests of that name hunt
instead of crash states and simulator: for what only a real process shows. A
mutant that lives on is a test that is missing. The last line counts; the exit
code is 1 when one survived, 2 when one could not be planted.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TREE = os.path.join(ROOT, "build", "mutants")

# Program, then the rooms whose mutants it may find.
UNIT = [
    ("test_base_log", ("base",)),
    ("test_base", ("base",)),
    ("test_base_output", ("base",)),
    ("test_config", ("config.c",)),
    ("test_reactor_dial", ("reactor",)),
    ("test_raft_transcripts", ("raft",)),
    ("test_raft_messages", ("raft",)),
    ("test_raft_strangers", ("raft",)),
    ("test_raft_paper", ("raft",)),
    ("test_raft_log", ("raft",)),
    ("test_raft_members", ("raft",)),
    ("test_sys", ("sys",)),
    ("test_wal", ("wal",)),
    ("test_wal_crash", ("wal",)),
    ("test_wal_nth", ("wal",)),
    ("test_store", ("store",)),
    ("test_store_txn", ("store",)),
    ("test_store_full", ("store", "sys")),
    ("test_store_image", ("store",)),
    ("test_store_restore", ("store",)),
    ("test_store_hostile", ("store",)),
    ("test_store_view", ("store",)),
    ("test_store_nth", ("store",)),
    ("test_peer", ("peer",)),
    ("test_peer_admission", ("peer",)),
    ("test_reactor", ("reactor",)),
    ("test_wire", ("wire",)),
    ("test_http_strict", ("http",)),
    ("test_json_tables", ("json",)),
]


def parse(path):
    """Blocks: '## name', 'file PATH', perhaps 'proc EXPRESSION', '---', old
    text, '+++', new text."""
    mutants = []
    with open(path) as file:
        text = file.read()
    for block in re.split(r"(?m)^## ", text)[1:]:
        name, rest = block.split("\n", 1)
        match = re.match(r"file (\S+)\n(?:proc ([^\n]+)\n)?---\n(.*?)\n\+\+\+\n"
                         r"(.*?)\n*\Z", rest, re.S)
        if not match:
            sys.exit("mutants.txt: %s does not parse" % name)
        mutants.append((name,) + match.groups())
    return mutants


def remove_stale(source, target):
    """What was moved or removed since the last run would be compiled still."""
    for folder, _, files in os.walk(target):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.exists(os.path.join(source, os.path.relpath(path, target))):
                os.remove(path)


def copy_tree():
    for name in ("src", "tests", "fuzz", "scripts", "Makefile"):
        source, target = os.path.join(ROOT, name), os.path.join(TREE, name)
        if os.path.isdir(source):
            # Unchanged files keep their times, so that make has little to do.
            subprocess.run(["mkdir", "-p", target], check=True)
            subprocess.run(["cp", "-Rpu", source + "/.", target], check=True)
            remove_stale(source, target)
        else:
            shutil.copy2(source, target)


def make(*targets):
    return subprocess.run(["make", "-s", "-j%d" % os.cpu_count(), *targets],
                          cwd=TREE, capture_output=True, text=True)


def quiet(command, seconds):
    """True when it ended well in time."""
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    try:
        done = subprocess.run(command, cwd=TREE, env=env, timeout=seconds,
                              capture_output=True, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return False, "time-out"
    return done.returncode == 0, done.stdout + done.stderr


def killer(name, out):
    """A time-out is a kill of bugs that hang, and a false one on a machine
    that has other work: the line says so."""
    return name + (" (time-out)" if out == "time-out" else "")


# The rooms that keep something on the disk.
CRASH = ("wal", "store", "node")


def hunt(room, seeds, proc):
    """Who finds it: a text, or None."""
    for program, rooms in UNIT:
        if room in rooms:
            built = make("build/check/" + program)
            if built.returncode != 0:
                return "DOES NOT BUILD: " + built.stderr[-300:]
            well, out = quiet(["build/check/" + program], 120)
            if not well:
                return killer(program, out)
    if proc:
        built = make("all", "build/craftd-next", "build/craftd-far")
        if built.returncode != 0:
            return "DOES NOT BUILD: " + built.stderr[-300:]
        well, out = quiet(["scripts/proc", proc, "-x"], 300)
        # Exit code 5: no test has that name.
        if not well and "passed" not in out and "failed" not in out:
            return "DOES NOT BUILD: no test matches " + proc
        return None if well else killer("tests/proc, " + proc, out)
    if room in CRASH:
        built = make("build/crash")
        if built.returncode != 0:
            return "DOES NOT BUILD: " + built.stderr[-300:]
        well, out = quiet(["build/crash", "--states", "20000"], 200)
        if not well:
            return killer("crash", out)
    built = make("build/simulator")
    if built.returncode != 0:
        return "DOES NOT BUILD: " + built.stderr[-300:]
    with open(os.path.join(ROOT, "tests", "sim", "regress.txt")) as file:
        regress = re.findall(r"(?m)^(\d+) ", file.read())
    well, out = quiet(["build/simulator", "--scenes"], 100)
    if not well:
        return killer("the simulator's scenes", out)
    well, out = quiet(["build/simulator", "--seeds", "1-%d" % seeds], 300)
    for seed in regress if well else []:
        well, out = quiet(["build/simulator", "--seed", seed], 60)
        if not well:
            return "simulator, seed %s" % seed
    if not well:
        why = re.search(r"seed (\d+)[^:]*: (.*)", out)
        ran = re.search(r"^(\d+) seeds", out, re.M)
        return "simulator after %s seeds: %s" % (
            ran.group(1) if ran else "?",
            why.group(2)[:60] if why else out[-60:])
    if room == "raft":
        make("build/check/test_raft_chaos")
        well, _ = quiet(["build/check/test_raft_chaos"], 300)
        if not well:
            return "test_raft_chaos"
    return None


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seeds", type=int, default=600)
    options.add_argument("--only", default="")
    args = options.parse_args()
    os.makedirs(TREE, exist_ok=True)
    copy_tree()
    killed, lived, broken = [], [], []
    for name, file, proc, old, new in parse(os.path.join(HERE, "mutants.txt")):
        if args.only not in name:
            continue
        path = os.path.join(TREE, file)
        with open(path) as source:
            before = source.read()
        if before.count(old) != 1:
            print("BROKEN   %-48s %s has it %d times" %
                  (name, file, before.count(old)))
            broken.append(name)
            continue
        start = time.time()
        try:
            with open(path, "w") as source:
                source.write(before.replace(old, new))
            found = hunt(file.split("/")[1], args.seeds, proc)
        finally:
            with open(path, "w") as source:
                source.write(before)
        if found and found.startswith("DOES NOT BUILD"):
            print("BROKEN   %-48s %s" % (name, found))
            broken.append(name)
        else:
            (killed if found else lived).append(name)
            print("%-8s %-48s %s (%.0f s)" % (
                "killed" if found else "SURVIVED", name, found or "",
                time.time() - start), flush=True)
    print("%d killed, %d survived, %d could not be planted" %
          (len(killed), len(lived), len(broken)))
    sys.exit(2 if broken else 1 if lived else 0)


if __name__ == "__main__":
    main()
