"""The binaries of `make release`, and what they are made of."""
import os
import shutil
import subprocess

import pytest

from cluster import BINARY, ROOT, wait_for
from load import Writers, compare_hashes, verify
from test_snapshots import write_much

RELEASE = os.path.join(os.path.dirname(BINARY), "release")
EMULATOR = {"amd64": None, "i386": None, "arm64": "qemu-aarch64-static",
            "armhf": "qemu-arm-static", "riscv64": "qemu-riscv64-static",
            "mips": "qemu-mips-static", "mipsel": "qemu-mipsel-static"}
BIG_ENDIAN = "mips"
MIXED = ("amd64", "armhf", BIG_ENDIAN)


def binary_of(arch):
    return os.path.join(RELEASE, f"craftd-{arch}")


def program(tmp_path, arch):
    """The path of what runs the binary of that architecture here."""
    if not os.path.exists(binary_of(arch)):
        pytest.skip(f"no {binary_of(arch)}: make release ARCHES={arch} builds it")
    emulator = EMULATOR[arch]
    if not emulator:
        return binary_of(arch)
    if not shutil.which(emulator):
        pytest.skip(f"no {emulator}: scripts/setup release installs it")
    script = tmp_path / f"run-{arch}"
    script.write_text(f'#!/bin/sh\nexec {emulator} {binary_of(arch)} "$@"\n')
    script.chmod(0o755)
    return str(script)


def fetch(tmp_path, npm):
    """scripts/release-sources with a package client of our own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "npm").write_text("#!/bin/sh\n" + npm)
    (programs / "npm").chmod(0o755)
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "SOURCES": str(tmp_path / "sources")}
    return subprocess.run([f"{ROOT}/scripts/release-sources", "sqlite"], env=env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


def test_a_source_that_differs_from_its_pin_is_an_error(tmp_path):
    """Of another package with the right name nothing is unpacked."""
    package = tmp_path / "package" / "deps" / "sqlite3"
    package.mkdir(parents=True)
    (package / "sqlite3.c").write_text("int sqlite3_open(void);\n")
    (package / "sqlite3.h").write_text("\n")
    subprocess.run(["tar", "-czf", str(tmp_path / "other.tgz"), "-C", str(tmp_path), "package"],
                   check=True)
    done = fetch(tmp_path, f'cp "{tmp_path}/other.tgz" better-sqlite3-12.11.1.tgz\n')
    assert done.returncode == 1
    assert "better-sqlite3-12.11.1.tgz has SHA-256 " in done.stderr
    assert " is pinned " in done.stderr
    assert os.listdir(tmp_path / "sources") == ["pins"]


def test_a_package_client_that_fails_is_an_error(tmp_path):
    done = fetch(tmp_path, "echo 'npm: no such version' >&2; exit 1\n")
    assert done.returncode == 1
    assert "npm: no such version" in done.stderr
    assert "failed: npm pack --silent better-sqlite3@12.11.1" in done.stderr
    assert os.listdir(tmp_path / "sources") == ["pins"]


def check(tmp_path, *flags, words=("fixed", "0")):
    """What scripts/check-release says of a program that is linked with the flags."""
    path = str(tmp_path / "program")
    (tmp_path / "program.c").write_text(
        "int main(int c, char **v) { char b[64]; __builtin_strcpy(b, v[0]); return b[c]; }\n")
    subprocess.run(["gcc", "-O1", "-w", "-c", "-o", path + ".o", path + ".c", *flags], check=True)
    subprocess.run(["gcc", "-o", path, path + ".o", *flags], check=True)
    done = subprocess.run([f"{ROOT}/scripts/check-release", *words, path, path + ".o"],
                          text=True, capture_output=True, check=False)
    assert done.returncode == (1 if done.stderr else 0)
    return done.stderr.replace(f"check-release: {path} ", "").splitlines()


GOOD = ("-static", "-no-pie", "-fno-pie", "-Wl,-z,relro,-z,noexecstack",
        "-fstack-protector-strong")
PIE = ("-fPIE", "-Wl,-z,relro,-z,noexecstack", "-fstack-protector-strong")


def test_what_is_asked_of_a_binary(tmp_path):
    """Each is missed by itself."""
    assert check(tmp_path, *GOOD) == []
    assert check(tmp_path, "-static-pie", *PIE, words=("pie", "0")) == []
    assert check(tmp_path, *GOOD, words=("pie", "0")) == ["is not of type DYN"]
    assert check(tmp_path, *GOOD, "-Wl,-z,norelro") == [
        "has no RELRO: tables of functions stay writable"]
    assert check(tmp_path, *GOOD, "-Wl,-z,execstack") == [
        "has an executable stack", "has a segment that is writable and executable"]
    assert check(tmp_path, "-pie", *PIE, words=("pie", "0")) == [
        "has an interpreter: it is not static", "needs shared libraries"]
    assert check(tmp_path, *GOOD, "-fno-stack-protector")[0].endswith(
        "program.o, which is compiled without a stack protector")
    assert check(tmp_path, *GOOD, words=("fixed", "1000"))[0].endswith(
        "over the limit of 1000")
