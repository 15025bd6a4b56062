"""What `make dist` makes, for the tests of it."""
import fcntl
import glob
import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                     "..", ".."))
SCRIPTS = os.path.join(ROOT, "scripts", "dist")
BUILT = os.path.join(ROOT, "build", "dist")
CRAFTD = os.path.join(ROOT, "build", "craftd")
# Some of the programs are there, also where it is not in PATH.
os.environ["PATH"] += ":/usr/sbin:/sbin"


def need(*programs):
    """Skip a test for which a program is missing; CI installs all of them."""
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"no {program}: scripts/setup test installs it")


def run(*words, **more):
    """Its output; a failure shows it."""
    done = subprocess.run([str(word) for word in words], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **more)
    assert done.returncode == 0, (words, done.stdout)
    return done.stdout


def inputs():
    """With the log of commits, one of which the files are dated by."""
    return [CRAFTD, *glob.glob(os.path.join(ROOT, ".git", "logs", "HEAD")),
            *glob.glob(os.path.join(SCRIPTS, "*")),
            *glob.glob(os.path.join(ROOT, "build", "release", "craftd-*"))]


def folder():
    """build/dist, made if it is missing or older than what it is made from: once,
    although several processes run tests."""
    need("dpkg-deb")
    os.makedirs(os.path.dirname(BUILT), exist_ok=True)
    with open(BUILT + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sums = os.path.join(BUILT, "SHA256SUMS")
        if not os.path.exists(sums) or any(
                os.path.getmtime(path) > os.path.getmtime(sums) for path in inputs()):
            run(os.path.join(SCRIPTS, "build"), BUILT, cwd=ROOT)
    return BUILT


def path(pattern):
    """The one file of that name in build/dist."""
    found = glob.glob(os.path.join(folder(), pattern))
    assert len(found) == 1, (pattern, found)
    return found[0]


def binaries():
    """Architecture and file of each binary."""
    return {re.search(r"craftd-(\w+)$", name)[1]: name
            for name in glob.glob(os.path.join(folder(), "craftd-*"))
            if re.search(r"craftd-[a-z0-9]+$", name)}
