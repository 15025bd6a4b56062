"""What `make dist` makes is read, installed and started with the tools that its users
have: dpkg, lintian, systemd-analyze, skopeo, umoci, the shells of small systems."""
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess

import pytest

import dist
from cluster import die_with_parent, free_port, request, wait_for
from dist import need, run
from test_release import EMULATOR

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
HERE = os.path.dirname(os.path.abspath(__file__))


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def native():
    return dist.binaries()[run("dpkg", "--print-architecture").strip()]


def test_the_sums_are_of_all_files():
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=dist.folder())
    with open(dist.path("SHA256SUMS")) as file:
        listed = {line.split()[1] for line in file}
    assert listed == set(os.listdir(dist.folder())) - {"SHA256SUMS"}


def test_it_is_made_again_the_same(tmp_path):
    with open(dist.path("SHA256SUMS")) as file:
        before = file.read()
    # The times of the files, and the umask, are others.
    run(os.path.join(dist.SCRIPTS, "build"), tmp_path / "again", cwd=dist.ROOT,
        preexec_fn=lambda: os.umask(0o077))
    assert (tmp_path / "again" / "SHA256SUMS").read_text() == before


# ---- SBOM ----

def test_the_sbom_names_libraries_and_binaries(cluster):
    with open(dist.path("*.cdx.json")) as file:
        bom = json.load(file)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.4")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bom["serialNumber"])
    assert bom["metadata"]["component"]["version"] == run(dist.CRAFTD, "version").split()[1]
    by_type = {"library": {}, "file": {}}
    for one in bom["components"]:
        by_type[one["type"]][one["bom-ref"]] = one
    assert {"craftd-" + arch: sha256(path) for arch, path in dist.binaries().items()} == {
        name: one["hashes"][0]["content"] for name, one in by_type["file"].items()}
    for one in by_type["library"].values():
        assert one["version"] and one["licenses"]
        hashes = [ref["hashes"][0]["content"] for ref in one["externalReferences"]
                  if ref["type"] == "distribution"]
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes)
    # Each binary is linked with three of the libraries; SQLite's version is its own.
    needs = {one["ref"]: one["dependsOn"] for one in bom["dependencies"]}
    assert set(needs) == {"craftd@" + tag(), *by_type["file"]}
    for name in by_type["file"]:
        linked = [by_type["library"][ref] for ref in needs[name]]
        assert [one["name"] for one in linked] in (["sqlite", "http-parser", "musl"],
                                                   ["sqlite", "http-parser", "glibc"])
    sqlite = by_type["library"][needs[os.path.basename(native())][0]]["version"]
    node = cluster.new()
    node.start([native(), *node.argv()[1:]]).up()
    assert node.status()["sqlite"] == re.match("[0-9.]*[0-9]", sqlite)[0]


# ---- the unit of systemd ----

def settings():
    """Of the unit: name, and the words of all lines with that name."""
    found = {}
    with open(os.path.join(dist.SCRIPTS, "craftd.service")) as file:
        for name, value in re.findall(r"(?m)^(\w+)=(.*)$", file.read()):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_is_tight():
    need("systemd-analyze")
    text = run("systemd-analyze", "security", "--offline=true", "--no-pager",
               os.path.join(dist.SCRIPTS, "craftd.service"))
    assert float(re.search(r"exposure level for \S+: ([0-9.]+)", text)[1]) <= 1.5, text


def numbers_of_calls():
    text = run("gcc", "-E", "-dM", "-x", "c", "-", input="#include <sys/syscall.h>\n")
    return {name: int(number) for name, number
            in re.findall(r"(?m)^#define __NR_(\w+) (\d+)$", text)}


def calls_of(word):
    """The calls of a word of SystemCallFilter=."""
    if not word.startswith("@"):
        return {word}
    found = set()
    for line in run("systemd-analyze", "syscall-filter", "--no-pager",
                    word).splitlines()[1:]:
        line = line.strip()
        if line and not line.startswith("#"):
            found |= calls_of(line)
    return found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64")
def test_the_unit_allows_what_the_node_needs(cluster):
    """The node runs where the kernel refuses each call that the unit does not allow:
    with its own sandbox and io_uring, a write, a backup and a change of the leader."""
    need("systemd-analyze")
    allowed = set()
    for line in settings()["SystemCallFilter"]:
        remove = line.startswith("~")
        for word in line.lstrip("~").split():
            allowed = allowed - calls_of(word) if remove else allowed | calls_of(word)
    # systemd itself always allows these (systemd.exec(5)).
    allowed |= calls_of("@default") | {"execve"}
    numbers = numbers_of_calls()
    refused = sorted(set(numbers) - allowed)
    assert {"mount", "ptrace", "bpf", "chown", "reboot"} < set(refused)
    assert {"seccomp", "landlock_restrict_self", "fdatasync"} < allowed
    words = ",".join(str(numbers[name]) for name in refused)
    node = cluster.new(args=["--max-conns", "2000"])
    free = cluster.new().start().up()
    cluster.wait_leader()
    node.join = free.http
    log = free.log()
    # The soft limit of descriptors is too low, and is raised.
    node.start(["/bin/sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", "/usr/bin/python3",
                os.path.join(HERE, "forbid_call.py"), words, *node.argv()]).up()
    cluster.wait_members()
    for line in ("sandbox seccomp=on", "landlock=on"):
        assert (line in node.log()) == (line in log), node.log()
    assert ("io log=sync" in node.log()) == ("io log=sync" in log), node.log()
    assert "descriptors" not in node.log()
    assert free.request("POST", "/leader", {"id": node.name}).status == 200
    assert node.put("k", "v").status == 200
    assert node.request("GET", "/backup").status == 200
    assert node.metric("process_max_fds") > 2000
    assert node.terminate() == 0


# ---- OpenRC and procd ----

def busybox(script, **env):
    need("busybox")
    return run("busybox", "sh", "-euc", script, env=dict(os.environ, **env))


@pytest.mark.parametrize("name", ["craftd.openrc", "craftd.procd"])
def test_the_scripts_of_services_are_shell(name):
    need("busybox")
    run("busybox", "sh", "-n", os.path.join(dist.SCRIPTS, name))


def test_openrc_exports_the_flags(tmp_path):
    """With the functions of OpenRC in place, as openrc-run calls it."""
    (tmp_path / "craftd").write_text("CRAFTD_ID=one\nCRAFTD_HTTP='0.0.0.0:1'\nOTHER=x\n")
    out = busybox(f"""
        checkpath() {{ echo "checkpath $*"; }}
        . {tmp_path}/craftd
        . {dist.SCRIPTS}/craftd.openrc
        start_pre
        echo "$command_user"
        env | grep -E '^(CRAFTD_|OTHER)' | sort""")
    assert out.splitlines() == [
        "checkpath -d -m 0700 -o craftd:craftd /var/lib/craftd", "craftd:craftd",
        "CRAFTD_DIR=/var/lib/craftd", "CRAFTD_HTTP=0.0.0.0:1", "CRAFTD_ID=one"]


def test_procd_gets_command_and_flags(tmp_path):
    (tmp_path / "conf").write_text(
        "# a comment\nCRAFTD_ID=one two\nCRAFTD_DIR=/mnt/disk\n\nOTHER=x\n")
    out = busybox(f"""
        for name in open_instance append_param set_param close_instance; do
            eval "procd_$name() {{ printf '%s|' $name \\"\\$@\\"; echo; }}"
        done
        . {dist.SCRIPTS}/craftd.procd
        start_service""", CONF=str(tmp_path / "conf"))
    lines = out.splitlines()
    assert lines[:3] == ["open_instance|craftd|", "append_param|env|CRAFTD_ID=one two|",
                         "set_param|command|/usr/bin/craftd|--user|nobody|--dir|/mnt/disk|"]
    assert "set_param|reload_signal|HUP|" in lines and lines[-1] == "close_instance|"


# ---- the OCI image ----

def image():
    return dist.path("*-oci.tar")


def tag():
    return run(dist.CRAFTD, "version").split()[1]


GOARCH = {"amd64": "amd64", "arm64": "arm64", "armhf": "arm", "riscv64": "riscv64",
          "i386": "386", "mips": "mips", "mipsel": "mipsle"}


def test_the_image_has_every_architecture(tmp_path):
    """Each is copied by skopeo, unpacked by umoci, and has the binary alone."""
    need("skopeo", "umoci")
    name = f"oci-archive:{image()}:{tag()}"
    index = json.loads(run("skopeo", "inspect", "--raw", name))
    platforms = [one["platform"]["architecture"] for one in index["manifests"]]
    assert sorted(platforms) == sorted(GOARCH[arch] for arch in dist.binaries())
    for arch, binary in dist.binaries().items():
        layout = f"{tmp_path}/{arch}"
        variant = ["--override-variant=v7"] if arch == "armhf" else []
        run("skopeo", "copy", "--quiet", "--insecure-policy", "--override-os=linux",
            f"--override-arch={GOARCH[arch]}", *variant, name, f"oci:{layout}:one")
        config = json.loads(run("skopeo", "inspect", "--config", f"oci:{layout}:one"))
        assert config["architecture"] == GOARCH[arch]
        assert config["config"]["User"] == "65532:65532"
        words = ["--rootless"] if os.geteuid() != 0 else []
        run("umoci", "unpack", *words, "--image", f"{layout}:one", f"{layout}-bundle")
        root = f"{layout}-bundle/rootfs"
        assert sorted(os.listdir(root)) == ["craftd", "data"]
        assert sha256(root + "/craftd") == sha256(binary)
        if os.geteuid() == 0:
            assert os.stat(root + "/data").st_uid == 65532
        assert os.stat(root + "/data").st_mode & 0o7777 == 0o700


@as_root
def test_the_image_runs(tmp_path):
    """Its root, with nothing else in it, as the user and with the variables that the
    image says."""
    need("skopeo", "umoci")
    run("skopeo", "copy", "--quiet", "--insecure-policy",
        f"oci-archive:{image()}:{tag()}", f"oci:{tmp_path}/image:one")
    run("umoci", "unpack", "--image", f"{tmp_path}/image:one", f"{tmp_path}/bundle")
    with open(f"{tmp_path}/bundle/config.json") as file:
        process = json.load(file)["process"]
    assert process["user"]["uid"] == 65532
    env = dict(word.split("=", 1) for word in process["env"] if word.startswith("CRAFTD"))
    port, other = free_port(), free_port()
    assert env == {"CRAFTD_DIR": "/data", "CRAFTD_HTTP": "0.0.0.0:11000"}
    env.update(CRAFTD_HTTP=f"0.0.0.0:{port}", CRAFTD_RAFT=f"localhost:{other}")
    with started(["chroot", "--userspec=65532:65532", f"{tmp_path}/bundle/rootfs",
                  *process["args"]], env, port) as node:
        assert request(port, "POST", "/key", {"k": "v"}).status == 200
        node.send_signal(signal.SIGTERM)
        assert node.wait(20) == 0
    assert os.path.exists(f"{tmp_path}/bundle/rootfs/data/LOCK")


class started:  # pylint: disable=invalid-name
    """The process, once it is ready on that port."""

    def __init__(self, argv, env, port):
        self.process = subprocess.Popen(argv, env=dict(env, PATH=os.environ["PATH"]),
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        preexec_fn=die_with_parent)
        self.port = port

    def __enter__(self):
        def ready():
            if self.process.poll() is not None:
                pytest.fail(self.process.stdout.read().decode())
            return request(self.port, "GET", "/readyz", timeout=2).status == 200
        wait_for(ready, 20, "it is ready")
        return self.process

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


# ---- the Debian packages ----

def test_lintian_finds_nothing():
    """Apart from what the overrides in the package explain. Two packages will do, since
    they differ in their binaries only: of an architecture whose binary is relocated
    at its start, and of one whose binary is not."""
    need("lintian")
    words = ["--allow-root"] if os.geteuid() == 0 else []
    for arch in {"amd64", "armhf", run("dpkg", "--print-architecture").strip()}:
        if arch in dist.binaries():
            package = dist.path(f"craftd_*_{arch}.deb")
            assert run("lintian", *words, "--fail-on", "error,warning", package) == ""


def test_the_package_has_the_binary(tmp_path):
    for arch, binary in dist.binaries().items():
        package = dist.path(f"craftd_*_{arch}.deb")
        assert run("dpkg-deb", "-f", package, "Architecture").strip() == arch
        run("dpkg-deb", "-x", package, tmp_path / arch)
        assert sha256(tmp_path / arch / "usr/bin/craftd") == sha256(binary)
        listing = run("dpkg-deb", "-c", package)
        assert all(" root/root " in line for line in listing.splitlines())


class Machine:
    """A copy of this machine's files, in memory, for dpkg to work in: an overlay in a
    mount namespace that a process keeps."""

    def __init__(self, folder):
        script = ("mount -t tmpfs dist $0 && mkdir $0/upper $0/work $0/root && "
                  "mount -t overlay -o lowerdir=/,upperdir=$0/upper,workdir=$0/work "
                  "overlay $0/root && mount --rbind /proc $0/root/proc && "
                  "mount --rbind /dev $0/root/dev && mount -t tmpfs tmp $0/root/tmp && "
                  "echo made; read wait")
        self.root = f"{folder}/root"
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, str(folder)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent)
        self.made = self.keeper.stdout.readline().strip()

    def close(self):
        self.keeper.kill()
        self.keeper.wait()
        self.keeper.stdin.close()
        self.keeper.stdout.close()

    def words(self, *words):
        return ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt", "--",
                "chroot", self.root, *words]

    def run(self, *words):
        return run(*self.words(*words))

    def dpkg(self, *words):
        """Without triggers: rebuilding the index of manual pages takes seconds."""
        return self.run("dpkg", "--no-triggers", *words)

    def give(self, path):
        """Copy a file into /tmp there."""
        with open(path, "rb") as file:
            subprocess.run(self.words("sh", "-c", f"cat >/tmp/{os.path.basename(path)}"),
                           stdin=file, check=True)
        return "/tmp/" + os.path.basename(path)

    def has(self, path):
        return subprocess.run(self.words("test", "-e", path), check=False).returncode == 0


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    try:
        if made.made != "made":
            pytest.skip(f"no overlay can be mounted here: {made.made}")
        yield made
    finally:
        made.close()


@as_root
@pytest.mark.skipif(os.path.exists("/usr/bin/craftd"), reason="craftd is installed here")
def test_the_package_is_installed_upgraded_and_purged(machine, tmp_path):
    need("systemd-analyze", "systemd-sysusers")
    arch = run("dpkg", "--print-architecture").strip()
    version = tag()
    first = machine.give(dist.path(f"craftd_*_{arch}.deb"))
    next_path = f"{tmp_path}/craftd_next_{arch}.deb"
    run(os.path.join(dist.SCRIPTS, "deb"), next_path, f"{version}-2", arch, native(),
        dist.folder())

    machine.dpkg("-i", first)
    assert machine.run("craftd", "version") == run(dist.CRAFTD, "version")
    assert "craftd" in machine.run("id", "craftd")
    machine.run("systemd-analyze", "verify", "/lib/systemd/system/craftd.service")
    machine.run("test", "-s", "/usr/share/man/man1/craftd.1.gz")
    machine.run("test", "-s", "/usr/share/man/man7/craftd-security.7.gz")
    assert not machine.has("/etc/systemd/system/multi-user.target.wants/craftd.service")

    # Started as the unit does: user, directory, variables and command.
    unit = settings()
    assert unit["User"] == ["craftd"] and unit["StateDirectory"] == ["craftd"]
    command = unit["ExecStart"][0].split()
    assert command == ["/usr/bin/craftd", "--dir", "/var/lib/craftd"]
    machine.run("install", "-d", "-m", unit["StateDirectoryMode"][0], "-o", "craftd",
                "-g", "craftd", "/var/lib/craftd")
    port, other = free_port(), free_port()
    machine.run("sh", "-c", f"printf 'CRAFTD_ID=deb\nCRAFTD_HTTP=127.0.0.1:{port}\n"
                            f"CRAFTD_RAFT=127.0.0.1:{other}\n' >>/etc/default/craftd")
    argv = machine.words("setpriv", "--reuid=craftd", "--regid=craftd", "--clear-groups",
                         "sh", "-c", 'set -a; . /etc/default/craftd; exec "$@"', "sh",
                         *command)
    with started(argv, {}, port) as node:
        assert request(port, "GET", "/status").json()["me"]["id"] == "deb"
        assert request(port, "POST", "/key", {"k": "v"}).status == 200
        # The binary is replaced while it runs, and what was configured stays.
        machine.dpkg("--force-confold", "-i", machine.give(next_path))
        assert request(port, "GET", "/key/k").json() == {"k": "v"}
        node.send_signal(signal.SIGTERM)
        node.wait(20)
    assert f"Version: {version}-2" in machine.run("dpkg", "-s", "craftd")
    with started(argv, {}, port):
        assert request(port, "GET", "/key/k").json() == {"k": "v"}

    machine.dpkg("-r", "craftd")
    assert not machine.has("/usr/bin/craftd")
    assert machine.has("/etc/default/craftd")
    text = machine.dpkg("-P", "craftd")
    assert not machine.has("/etc/default/craftd")
    assert "the data in /var/lib/craftd stays" in text
    assert machine.has("/var/lib/craftd/LOCK")
    # Nothing of the package is left but the data.
    for path in ("/lib/systemd/system/craftd.service", "/usr/share/doc/craftd",
                 "/usr/lib/sysusers.d/craftd.conf",
                 "/usr/share/bash-completion/completions/craftd"):
        assert not machine.has(path), path


@as_root
@pytest.mark.seconds(120)
@pytest.mark.skipif(os.path.exists("/usr/bin/craftd"), reason="craftd is installed here")
def test_the_package_of_each_other_processor_is_installed_and_starts(machine):
    """As dpkg does where that architecture is a second one; an emulator runs it."""
    own = run("dpkg", "--print-architecture").strip()
    others = {arch for arch in dist.binaries() if EMULATOR[arch] is None or
              shutil.which(EMULATOR[arch])} - {own}
    if not others:
        pytest.skip("no packages for other processors: make release && make dist")
    for arch in sorted(others):
        machine.run("dpkg", "--add-architecture", arch)
        machine.dpkg("-i", machine.give(dist.path(f"craftd_*_{arch}.deb")))
        assert f"Architecture: {arch}\n" in machine.run("dpkg", "-s", "craftd")
        assert machine.run("dpkg", "--verify", "craftd") == ""
        port, other = free_port(), free_port()
        emulator = [EMULATOR[arch]] if EMULATOR[arch] else []
        argv = machine.words("setpriv", "--reuid=craftd", "--regid=craftd", "--clear-groups",
                             *emulator, "/usr/bin/craftd", "--inmem", "--http",
                             f"127.0.0.1:{port}", "--raft", f"127.0.0.1:{other}")
        with started(argv, {}, port) as node:
            assert request(port, "POST", "/key", {"k": arch}).status == 200
            assert request(port, "GET", "/key/k").json() == {"k": arch}
            node.send_signal(signal.SIGTERM)
            assert node.wait(20) == 0
        machine.dpkg("-P", "craftd")
        assert not machine.has("/usr/bin/craftd")
