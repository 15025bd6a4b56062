"""The binaries of `make release`, and what they are made of."""
import glob
import os
import re
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


@pytest.mark.parametrize("arch", EMULATOR)
def test_each_binary_serves(cluster, tmp_path, arch):
    """Version, start, write, read, restart, a clean end."""
    node = cluster.new()
    node.binary = program(tmp_path, arch)
    done = subprocess.run([node.binary, "version"], text=True, capture_output=True, timeout=30)
    ours = subprocess.run([BINARY, "version"], text=True, capture_output=True, timeout=30)
    assert done.stdout == ours.stdout
    node.start().up(30)
    cluster.wait_leader(30)
    assert node.put("a", "1").status == 200
    assert node.get("a") == "1"
    node.kill()
    node.start().up(30)
    cluster.wait_leader(30)
    assert node.get("a") == "1"
    assert node.terminate(20) == 0


@pytest.mark.seconds(180)
def test_a_database_in_memory_of_32_bits_ends_with_507(cluster, tmp_path):
    """Before the address space does, whatever --max-db allows and the machine has: of
    3 GiB, as on such a processor. What copies the database has room besides."""
    script = tmp_path / "run-3gb"
    script.write_text(f'#!/bin/sh\nexec setarch i386 --3gb {program(tmp_path, "i386")} "$@"\n')
    script.chmod(0o755)
    node, other = (cluster.new(inmem=True, args=["--max-db", "4G"]) for _ in range(2))
    node.binary = other.binary = str(script)
    node.start().up(30)
    cluster.wait_leader(30)
    value = "i" * 990_000
    for count in range(3000):
        answer = node.put(f"key-{count}", value)
        if answer.status != 200:
            break
    assert (answer.status, answer.json()["code"]) == (507, "no-space"), answer
    assert "deletes still work" in answer.json()["message"]
    assert 400e6 < count * len(value) < 600e6
    other.join = node.http
    other.start().up(60)
    cluster.wait_members(2, 60)
    assert other.get("key-0") == value
    assert len(node.request("GET", "/backup", timeout=60).body) > count * len(value)
    for at in range(0, count, 2):
        assert node.request("DELETE", f"/key/key-{at}").status == 200
    wait_for(lambda: node.put("more", value).status == 200, 30, "there is space again")
    for one in (node, other):
        assert one.terminate(20) == 0


@pytest.mark.seconds(180)
def test_architectures_in_one_cluster(cluster, tmp_path):
    """Different widths and byte orders: each writes, receives a snapshot and sends
    one, leads and is killed; nothing acknowledged is lost, all end the same."""
    paths = [program(tmp_path, arch) for arch in MIXED]
    first, _, big = nodes = [cluster.new(arch) for arch in MIXED]
    for node, path in zip(nodes, paths):
        node.binary = path
    first.start().up(30)
    cluster.wait_leader()
    write_much(first, 120, 10)  # The log does not begin with entry 1 any more.
    for node in nodes[1:]:
        node.join = first.http
        node.start().up(30)
        cluster.wait_members(len(cluster.running()), 60)
        assert "snapshot-installed" in node.log()
    done = []
    for number, node in enumerate(nodes):
        assert node.put(f"by{number}", str(number)).status == 200
        for other in nodes:
            assert other.get(f"by{number}") == str(number)
            assert other.get("much-9").startswith("v119:")
        wait_for(lambda node=node: cluster.leader() is node or node.request(
            "POST", "/leader", {"id": node.name}).status == 200, 30, f"{node.name} leads")
        writers = Writers(nodes, threads=4, rate=60, count=150, tag=node.name).start()
        writers.wait_acked(30)
        node.kill()
        writers.wait_acked(60)
        node.start().up(30)
        writers.stop()
        done.append(writers)
        cluster.wait_leader(30)
        cluster.wait_same(60)
    # From the big-endian node, whose log begins behind its snapshot.
    wait_for(lambda: cluster.leader() is big or big.request(
        "POST", "/leader", {"id": big.name}).status == 200, 30, "the big-endian node leads")
    first.kill()
    first.wipe()
    first.join = big.http
    first.start().up(30)
    cluster.wait_members(3, 60)
    wait_for(lambda: first.log().count("snapshot-installed") == 1, 30, "a snapshot")
    assert verify(cluster, *done) > 100
    compare_hashes(cluster)
    for node in nodes:
        assert node.terminate(20) == 0


def test_the_sizes_that_the_readme_promises():
    """Of those that are built here; 5 % of change before somebody must look."""
    with open(os.path.join(ROOT, "README.md")) as file:
        rows = re.findall(r"(?m)^\| `craftd-(\w+)` \| [^|]* \| ([0-9.]+) MB \|$", file.read())
    sizes = {arch: float(mb) for arch, mb in rows}
    assert {*sizes} <= {*EMULATOR} and {*MIXED} <= {*sizes}
    built = {arch: os.path.getsize(binary_of(arch)) / 1e6 for arch in sizes
             if os.path.exists(binary_of(arch))}
    if not built:
        pytest.skip("no build/release: make release builds it")
    wrong = {arch: f"{mb:.2f} MB" for arch, mb in built.items()
             if not 0.95 < mb / sizes[arch] < 1.05}
    assert not wrong, f"the table in README.md says otherwise: {wrong}"


@pytest.mark.parametrize("arch, most", [("amd64", 1_100_000), ("armhf", 900_000)])
def test_a_binary_is_as_small_as_it_must_be(arch, most):
    """A page of 4 KB more or less is what a few bytes can cost: the text ends at one."""
    if not os.path.exists(binary_of(arch)):
        pytest.skip(f"no {binary_of(arch)}: make release ARCHES={arch} builds it")
    assert os.path.getsize(binary_of(arch)) <= most
    # As an object that is const and has no value would be.
    with open(binary_of(arch), "rb") as file:
        assert b"\0" * 4096 not in file.read(), "a page of zeros"


# Texts that are not for printf(): of SQLite's own, of strpbrk(), of date(1), of
# percent-encoding and of the assembler.
NO_FORMATS = {":%", "%", "INSERT INTO migrations VALUES(%d, %Q)", "!#$%&'*+-.^_`|~",
              "a # in the URL is to be written as %23"}
NO_FORMATS_IN = re.compile(r"src/client/help\w*\.c|src/base/crc32c\.c")
KNOWN = re.compile(r"%[-0]*(\*|\d+)?(\.(\*|\d+)?)?(hh?|ll?|z|j|t)?[diuoxXcsp%]"
                   r"|%[-0]*\d*(\.[0-6])?f")


def formats_of(source):
    """The texts of a C file, joined where the compiler joins them."""
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    source = re.sub(r'"\s*PRI([diuxX])64\b', r'll\1"', source)
    source = re.sub(r'(?<!\\)"\s+"', "", source)
    return re.findall(r'"((?:[^"\\\n]|\\.)*)"', source)


def test_the_printf_of_a_release_knows_what_is_printed():
    """That of scripts/release/libc.c ends the program at any other conversion."""
    strange = []
    for path in sorted(glob.glob(os.path.join(ROOT, "src", "**", "*.[ch]"), recursive=True)):
        name = os.path.relpath(path, ROOT)
        if NO_FORMATS_IN.fullmatch(name):
            continue
        with open(path) as file:
            strange += [(name, text) for text in formats_of(file.read())
                        if "%" in KNOWN.sub("", text) and text not in NO_FORMATS]
    assert not strange
