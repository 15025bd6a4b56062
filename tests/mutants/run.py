#!/usr/bin/env python3
"""Plant one bug at a time and see the tests find it.

    tests/mutants/run.py [--list] [--only TEXT] [--shard K/N] [--seeds N]

mutants.txt holds them: a line "## name", the file, and what to replace by
what. Each is planted in a copy of the tree, built, and hunted: transcripts,
unit tests, crash states, then the simulator over a fixed range of seeds. Where
a line "proc EXPRESSION" follows the file, the process tests of that name hunt
instead of crash states and simulator: for what only a real process shows. A
mutant that lives on is a test that is missing.

BROKEN is a mutant that nobody has looked at: its old text is not in the file
exactly once, it does not build, no test has the name, or tests were skipped
and the others passed. A kill by a time-out says so: on a machine that has
other work it may be none, and is to be seen again alone.

    --list       print file, hunter and name of each, and run none
    --only TEXT  those whose name or file contains it
    --shard K/N  every N-th, from the K-th on, in a tree of its own
                 (build/mutants.K): one process for each core. Process tests
                 take ports: give each shard a network namespace, as in
                 unshare -rn sh -c 'ip link set lo up; tests/mutants/run.py ...'
    --seeds N    the simulator's seeds 1 to N (600)

The last line counts; the exit code is 1 when one survived, 2 when one was
broken or none was chosen.
"""
import argparse
import filecmp
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TREE = os.path.join(ROOT, "build", "mutants")  # Each shard has its own.

# tests/unit/test_ROOM[_more].c hunts in that room, and these elsewhere too.
ALSO = {"test_store_full": "sys"}
# Their turn is after the others, and that of CHAOS after the simulator.
SLOW = ("test_store_nth", "test_wal_nth")
CHAOS = "test_raft_chaos"


# What is linked into other programs than those of its room.
ELSEWHERE = {"src/reactor/kqueue.c": (
    "check/test_kqueue_poller", "kqueue/test_reactor_poller",
    "kqueue/test_reactor_dial", "kqueue/test_reactor")}


def unit_programs(file):
    if file in ELSEWHERE:
        return ELSEWHERE[file]
    room = room_of(file)
    names = [name[:-2] for name in os.listdir(os.path.join(ROOT, "tests", "unit"))
             if name.endswith(".c")]
    return ["check/" + name for name in sorted(
        (name for name in names if name != CHAOS and room in
         (name.split("_")[1], ALSO.get(name))),
        key=lambda name: (name in SLOW, name))]


def room_of(file):
    return file.split("/")[1].removesuffix(".c")


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


def files_under(folder):
    return {os.path.relpath(os.path.join(path, name), folder)
            for path, _, names in os.walk(folder) for name in names}


def copy_folder(source, target):
    """By content, not by time: a file that a mutant was planted in is newer
    than a later change of it here. What is the same keeps its time, so that
    make has little to do; what was moved or removed since the last run would
    be compiled still."""
    wanted = files_under(source)
    for name in files_under(target) - wanted:
        os.remove(os.path.join(target, name))
    for name in wanted:
        old, new = os.path.join(target, name), os.path.join(source, name)
        if not os.path.exists(old) or not filecmp.cmp(old, new, shallow=False):
            os.makedirs(os.path.dirname(old), exist_ok=True)
            shutil.copyfile(new, old)
            shutil.copymode(new, old)


def copy_tree():
    for name in ("src", "tests", "fuzz", "scripts"):
        copy_folder(os.path.join(ROOT, name), os.path.join(TREE, name))
    shutil.copy2(os.path.join(ROOT, "Makefile"), TREE)


# Factor for limits by the clock, while the processor has other work.
PATIENCE = 6


class Broken(Exception):
    """The mutant could not be planted, or not every test looked at it."""


def build(*targets):
    built = subprocess.run(["make", "-s", "-j%d" % os.cpu_count(), *targets],
                           cwd=TREE, capture_output=True, text=True)
    if built.returncode != 0:
        raise Broken("does not build: " + built.stderr[-300:])


def quiet(command, seconds, of_processor=True):
    """Returns whether it succeeded in time, and its output. A busy machine is no
    hang: the limit is processor time, where the command mostly computes, and
    several times as much by the clock."""
    # COLUMNS: pytest cuts reasons at the end of its line.
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", COLUMNS="200")
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 10))
    try:
        done = subprocess.run(command, cwd=TREE, env=env, capture_output=True,
                              timeout=(PATIENCE if of_processor else 1) * seconds,
                              preexec_fn=limit if of_processor else None,
                              text=True, errors="replace", check=False)
    except subprocess.TimeoutExpired:
        return False, "time-out"
    if done.returncode == -signal.SIGXCPU:
        return False, "time-out"
    return done.returncode == 0, done.stdout + done.stderr


def killer(name, out):
    """With the first test that failed, and why, as far as its output says."""
    if out == "time-out":
        return name + " (time-out)"
    unit = re.search(r"(?m)^\[  FAILED  \] (?!\d)(\w+)", out)
    proc = re.search(r"(?m)^FAILED (?:\S*::)?(.*)", out)
    test = unit or proc
    return name + (": " + test.group(1)[:120] if test else "")


def skipped_units(out):
    """The tests that a cmocka program has skipped."""
    return sorted(set(re.findall(r"(?m)^\[  SKIPPED \] (?!\d)(\w+)", out)))


def judge_proc(expression, well, out):
    """Hunt with the process tests of that name. Returns a text that names what found
    it, or None when all of them ran and passed."""
    counts = {what: int(count) for count, what in re.findall(
        r"(\d+) (passed|failed|skipped|errors?)\b", out.strip().split("\n")[-1])}
    if counts.get("failed") or out == "time-out":
        return killer("tests/proc, " + expression, out)
    if not well:
        raise Broken("no test of %s ran: %s" % (expression, out[-300:].strip()))
    if counts.get("skipped"):
        why = re.search(r"(?m)^SKIPPED (.*)", out)
        raise Broken("tests of %s were skipped: %s" %
                     (expression, why.group(1) if why else out[-300:]))
    if not counts.get("passed"):
        raise Broken("no test of %s ran" % expression)
    return None


# The rooms that keep something on the disk.
CRASH = ("wal", "store", "node")


def hunt_simulated(room, seeds):
    if room in CRASH:
        build("build/crash")
        well, out = quiet(["build/crash", "--states", "20000"], 200)
        if not well:
            return killer("crash", out)
    build("build/simulator")
    with open(os.path.join(TREE, "tests", "sim", "regress.txt")) as file:
        regress = re.findall(r"(?m)^(\d+) ", file.read())
    well, out = quiet(["build/simulator", "--scenes"], 100)
    if not well:
        return killer("the simulator's scenes", out)
    well, out = quiet(["build/simulator", "--seeds", "1-%d" % seeds], 300)
    if not well and out == "time-out":
        return killer("simulator", out)
    if not well:
        why = re.search(r"seed (\d+)[^:]*: (.*)", out)
        ran = re.search(r"^(\d+) seeds", out, re.M)
        return "simulator after %s seeds: %s" % (
            ran.group(1) if ran else "?",
            why.group(2)[:60] if why else out[-60:])
    for seed in regress:
        well, out = quiet(["build/simulator", "--seed", seed], 60)
        if not well:
            return killer("simulator, seed %s" % seed, out)
    if room == "raft":
        build("build/check/" + CHAOS)
        well, out = quiet(["build/check/" + CHAOS], 300)
        if not well:
            return killer(CHAOS, out)
    return None


def hunt(file, seeds, proc):
    """Returns a text that names what found it, or None."""
    skipped = []
    for program in unit_programs(file):
        build("build/" + program)
        well, out = quiet(["build/" + program], 120)
        program = os.path.basename(program)
        if not well:
            return killer(program, out)
        skipped += ["%s: %s" % (program, test) for test in skipped_units(out)]
    if proc:
        build("all", "build/craftd-next", "build/craftd-far",
              "build/craftd-before", "build/kqueue/craftd")
        well, out = quiet(["scripts/proc", proc, "-x", "-rfs"], 600,
                          of_processor=False)
        found = judge_proc(proc, well, out)
    elif file in ELSEWHERE:
        found = None
    else:
        found = hunt_simulated(room_of(file), seeds)
    if not found and skipped:
        raise Broken("tests were skipped: " + ", ".join(skipped))
    return found


def plant_and_hunt(mutant, seeds):
    _, file, proc, old, new = mutant
    path = os.path.join(TREE, file)
    if not os.path.exists(path):
        raise Broken("%s is not there" % file)
    with open(path) as source:
        before = source.read()
    if before.count(old) != 1:
        raise Broken("%s has it %d times" % (file, before.count(old)))
    try:
        with open(path, "w") as source:
            source.write(before.replace(old, new))
        return hunt(file, seeds, proc)
    finally:
        with open(path, "w") as source:
            source.write(before)


def shard(text):
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match.group(1)) <= int(match.group(2)):
        raise argparse.ArgumentTypeError("K/N with 1 <= K <= N, as in 1/2")
    return int(match.group(1)), int(match.group(2))


def main():
    global TREE
    options = argparse.ArgumentParser()
    options.add_argument("--seeds", type=int, default=600)
    options.add_argument("--only", default="")
    options.add_argument("--shard", type=shard)
    options.add_argument("--list", action="store_true")
    args = options.parse_args()
    chosen = [mutant for mutant in parse(os.path.join(HERE, "mutants.txt"))
              if args.only in mutant[0] or args.only in mutant[1]]
    if args.shard:
        number, count = args.shard
        chosen = chosen[number - 1::count]
        TREE += ".%d" % number
    if args.list:
        for name, file, proc, _, _ in chosen:
            print("%-24s %-24s %s" % (file, proc or "-", name))
    if not chosen:
        print("no mutant was chosen")
    if args.list or not chosen:
        sys.exit(0 if chosen else 2)
    os.makedirs(TREE, exist_ok=True)
    copy_tree()
    counts = {"killed": 0, "SURVIVED": 0, "BROKEN": 0}
    for mutant in chosen:
        start = time.time()
        try:
            found = plant_and_hunt(mutant, args.seeds)
            verdict = "killed" if found else "SURVIVED"
        except Broken as why:
            found, verdict = str(why), "BROKEN"
        counts[verdict] += 1
        print("%-8s %-48s %s (%.0f s)" % (verdict, mutant[0], found or "",
                                          time.time() - start), flush=True)
    print("%(killed)d killed, %(SURVIVED)d survived, %(BROKEN)d broken" % counts)
    sys.exit(2 if counts["BROKEN"] else 1 if counts["SURVIVED"] else 0)


if __name__ == "__main__":
    main()
