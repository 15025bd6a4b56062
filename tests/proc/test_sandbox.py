"""The sandbox of a node: what it may not do any more, shown in the live
process; and the user that it runs as. Every other test of this folder runs
inside it as well."""
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import syscalls
from cluster import BINARY, forbidding, wait_for
from test_notify import Manager

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET = 1, 2, 10, 16, 17
PROT_READ, PROT_EXEC, MAP_PRIVATE_ANONYMOUS = 1, 4, 0x22

injects = pytest.mark.skipif(not syscalls.SUPPORTED, reason="x86-64 only")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def field(pid, name):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(name + ":"):
                return line.split(":", 1)[1].strip()
    raise KeyError(name)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(child) for child in f.read().split()]


def has_landlock(node):
    return "landlock=on" in node.log()


def sandbox_metrics(node):
    text = node.request("GET", "/metrics").body.decode()
    return {layer: int(value) for layer, value in re.findall(
        r'(?m)^craftd_sandbox\{layer="(\w+)"\} (\d)$', text)}


def started(cluster, *args, number=None):
    """`number`: a system call that the kernel refuses."""
    node = cluster.new(args=args)
    node.start(forbidding(number, node.argv()) if number else None).up()
    cluster.wait_leader()
    if "this build or system has none" in node.log():
        pytest.skip("a build with the sanitizers has no sandbox")
    return node


@pytest.fixture
def node(cluster):
    return started(cluster)


@pytest.fixture
def free(cluster):
    """A node without a sandbox: the calls are those of an attacker indeed."""
    node = cluster.new(args=["--sandbox", "off"]).start().up()
    cluster.wait_leader()
    return node


def answers(node):
    assert node.put("still", "here").status == 200
    assert node.get("still") == "here"
    return True


def test_the_sandbox_is_on_by_default(node):
    """In the node, and in the process that resolves names for it."""
    resolvers = children(node.pid)
    assert len(resolvers) == 1
    for pid in [node.pid] + resolvers:
        assert field(pid, "Seccomp") == "2"
        assert field(pid, "NoNewPrivs") == "1"
    assert node.log().count(" sandbox seccomp=on landlock=") == 1
    assert sandbox_metrics(node) == {"seccomp": 1, "landlock": has_landlock(node)}


def test_the_sandbox_can_be_turned_off(free):
    for pid in [free.pid] + children(free.pid):
        assert field(pid, "Seccomp") == "0"
        assert field(pid, "NoNewPrivs") == "0"
    assert 'seccomp=off landlock=off why="--sandbox=off"' in free.log()
    assert sandbox_metrics(free) == {"seccomp": 0, "landlock": 0}


@pytest.mark.parametrize("number, log", [
    (444, 'seccomp=on landlock=off why="landlock: Operation not permitted"'),
    pytest.param(317, "seccomp=on landlock=on", marks=injects)])
def test_where_a_part_is_missing(cluster, number, log):
    """No landlock_create_ruleset(); and no seccomp(), in whose place there is
    prctl()."""
    node = started(cluster, number=number)
    assert f" sandbox {log}" in node.log()
    assert field(node.pid, "Seccomp") == "2"
    assert answers(node)


def opened_by(pid, path, flags=os.O_RDONLY, mode=0o600):
    fd = syscalls.call(pid, "openat", syscalls.AT_FDCWD, path, flags, mode)
    if isinstance(fd, int):
        assert syscalls.call(pid, "close", fd) == 0
        return "opened"
    return fd


def opened(node, path, flags=os.O_RDONLY, mode=0o600):
    return opened_by(node.pid, path, flags, mode)


@injects
def test_files_of_others_cannot_be_opened(node, tmp_path):
    if not has_landlock(node):
        pytest.skip("this kernel has no Landlock")
    assert opened(node, "/etc/passwd") == "EACCES"
    assert opened(node, str(tmp_path)) == "EACCES"
    assert opened(node, str(tmp_path / "new"), os.O_CREAT | os.O_WRONLY) == "EACCES"
    assert not (tmp_path / "new").exists()
    assert opened(node, "/proc/self/mem", os.O_WRONLY) == "EACCES"
    assert opened(node, "/proc/1/status") == "EACCES"
    assert opened(node, node.dir + "/IDENT", os.O_RDWR) == "opened"
    assert answers(node)


@injects
@as_root
def test_of_a_directory_of_the_system_one_file_is_allowed(cluster):
    """/etc and its like hold more than the file of --auth; another directory is
    allowed, since an editor replaces the file."""
    name = f"craftd-test-{os.getpid()}"
    paths = [f"/tmp/{name}.json", f"/tmp/{name}/auth.json"]
    os.mkdir(f"/tmp/{name}")
    secret = f"/tmp/{name}-other"
    try:
        for path in paths + [secret, f"/tmp/{name}/other"]:
            with open(path, "w", encoding="utf-8",
                      opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write('[{"username":"*","perms":["all"]}]')
        for path, shared in zip(paths, (True, False)):
            node = started(cluster, "--auth", path)
            if not has_landlock(node):
                pytest.skip("this kernel has no Landlock")
            assert opened(node, path) == "opened"
            other = secret if shared else f"/tmp/{name}/other"
            assert opened(node, other) == ("EACCES" if shared else "opened")
            assert ("allows this file alone" in node.log()) == shared
            node.send(signal.SIGHUP)
            wait_for(lambda: node.log().count(" auth file=") == 2, 5, "it is read")
            with open(path + ".new", "w", encoding="utf-8",
                      opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write('[]')
            os.rename(path + ".new", path)
            node.send(signal.SIGHUP)
            line = "the rules in use stay as they are" if shared else "users=0"
            wait_for(lambda: line in node.log(), 5, "it is read, or not")
            node.terminate()
    finally:
        os.remove(secret)
        os.remove(paths[0])
        shutil.rmtree(f"/tmp/{name}")


@injects
@pytest.mark.parametrize("flag", [None, "--cluster-key", "--auth", "--join-token-file"])
def test_no_core_dump_holds_secrets(cluster, tmp_path, flag):
    path = tmp_path / "secret"
    text = {"--auth": '[{"username":"*","perms":["all"]}]'}.get(flag, "0" * 63 + "1\n")
    path.write_text(text)
    os.chmod(path, 0o600)
    args = [flag, str(path)] if flag else []
    node = cluster.new(args=["--sandbox", "off", *args])
    node.start(["sh", "-c", 'ulimit -c 4096; exec "$@"', "sh", *node.argv()]).up()
    cluster.wait_leader()
    get_dumpable = 3
    assert syscalls.call(node.pid, "prctl", get_dumpable, 0, 0, 0, 0) == (0 if flag else 1)
    with open(f"/proc/{node.pid}/limits", encoding="utf-8") as f:
        limits = re.search(r"core file size +(\d+) +(\S+)", f.read()).groups()
    assert (limits == ("0", "0")) == bool(flag)
    assert b"process_open_fds" in node.request("GET", "/metrics").body


@injects
def test_sockets_of_other_kinds_cannot_be_made(node):
    for family in (AF_UNIX, AF_NETLINK, AF_PACKET):
        assert syscalls.call(node.pid, "socket", family, 2, 0) == "EAFNOSUPPORT"
    for kind in (2, 3, 5):  # UDP, raw, SCTP's
        assert syscalls.call(node.pid, "socket", AF_INET, kind, 0) \
            == "EAFNOSUPPORT"
    for family in (AF_INET, AF_INET6):
        fd = syscalls.call(node.pid, "socket", family, 1, 0)
        assert fd == "EAFNOSUPPORT" and family == AF_INET6 or fd > 2
        assert syscalls.call(node.pid, "bind", fd, b"\x02" + 15 * b"\0", 16) \
            == "ENOSYS"
        assert syscalls.call(node.pid, "listen", fd, 1) == "ENOSYS"
        assert syscalls.call(node.pid, "close", fd) == 0
    assert answers(node)


@injects
def test_no_process_no_code_and_no_harm_to_others(node):
    pid = node.pid
    assert syscalls.call(pid, "fork") == "ENOSYS"
    assert syscalls.call(pid, "clone", signal.SIGCHLD, 0, 0, 0, 0) == "ENOSYS"
    assert syscalls.call(pid, "mmap", 0, 4096, PROT_READ | PROT_EXEC,
                         MAP_PRIVATE_ANONYMOUS, -1, 0) == "EPERM"
    page = syscalls.call(pid, "mmap", 0, 4096, PROT_READ,
                         MAP_PRIVATE_ANONYMOUS, -1, 0)
    assert page > 0
    assert syscalls.call(pid, "mprotect", page, 4096,
                         PROT_READ | PROT_EXEC) == "EPERM"
    assert syscalls.call(pid, "io_uring_setup", 2, bytes(120)) == "ENOSYS"
    assert syscalls.call(pid, "kill", os.getpid(), 0) == "EPERM"
    assert syscalls.call(pid, "tgkill", os.getpid(), os.getpid(), 0) == "EPERM"
    assert syscalls.call(pid, "kill", pid, 0) == 0
    assert syscalls.call(pid, "tgkill", pid, pid, 0) == 0  # abort()
    assert syscalls.call(pid, "prlimit64", os.getpid(), 7, 0, 0) == "EPERM"
    assert syscalls.call(pid, "ioctl", 2, 0x5412, b"x") == "EPERM"  # TIOCSTI
    assert answers(node)


@injects
@pytest.mark.parametrize("io", ["sync", "process"])
def test_no_file_sends_a_signal_or_types(cluster, io):
    """Whoever owns a file gets a signal of choice when it can be read (fcntl(2)),
    and a terminal takes what is typed in a process's name (tty_ioctl(4)). Only
    the newest Landlock sees the former."""
    F_GETFL, F_SETOWN, F_SETSIG, F_SETOWN_EX, F_NOTIFY = 3, 8, 10, 15, 1026
    TIOCSTI, FIOSETOWN, SIOCSPGRP, FIONREAD = 0x5412, 0x8901, 0x8902, 0x541B
    node = started(cluster, "--io", io, number=444)
    pids = [node.pid] + children(node.pid)
    assert len(pids) == (2 if io == "sync" else 4)
    for pid in pids:
        target = node.pid if pid != node.pid else os.getpid()
        assert syscalls.call(pid, "fcntl", 3, F_GETFL, 0) >= 0
        for what, value in ((F_SETOWN, target), (F_SETSIG, 9), (F_NOTIFY, 1),
                            (F_SETOWN_EX, bytes(8))):
            assert syscalls.call(pid, "fcntl", 3, what, value) == "EPERM"
        for what in (TIOCSTI, FIOSETOWN, SIOCSPGRP):
            assert syscalls.call(pid, "ioctl", 3, what, bytes(4)) == "EPERM"
        assert syscalls.call(pid, "ioctl", 3, FIONREAD, bytes(4)) != "EPERM"
    assert answers(node)


@injects
@pytest.mark.parametrize("name, args, abi", [
    ("execve", ("/bin/true", 0, 0), "x86_64"),
    ("ptrace", (0, 0, 0, 0), "x86_64"),
    ("execve", ("/bin/true", 0, 0), "x32"),
    ("close", (-1,), "x32"),
    ("execve", (), "i386"),
])
def test_a_call_of_injected_code_ends_the_process(node, name, args, abi):
    syscalls.last_call(node.pid, name, *args, abi=abi)
    assert node.wait_exit() == -signal.SIGSYS
    node.start().up()
    assert answers(node)


@injects
def test_the_resolver_cannot_touch_the_node(node):
    resolver, = children(node.pid)
    assert syscalls.call(resolver, "prlimit64", node.pid, 7, 0, 0) == "EPERM"
    assert syscalls.call(resolver, "prlimit64", 0, 7, 0, 0) == 0
    assert syscalls.call(resolver, "kill", node.pid, 0) == "ENOSYS"
    if has_landlock(node):
        assert opened_by(resolver, f"/proc/{node.pid}/mem") == "EACCES"
        assert opened_by(resolver, node.dir + "/IDENT") == "EACCES"
    assert answers(node)


@injects
def test_the_resolver_changes_no_file(cluster):
    """Not even where there is no Landlock."""
    node = started(cluster, number=444)
    resolver, = children(node.pid)
    path = node.dir + "/IDENT"
    assert opened_by(resolver, path) == "opened"
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC):
        assert opened_by(resolver, path, flags) == "EPERM"
    assert syscalls.call(resolver, "unlinkat", syscalls.AT_FDCWD, path, 0) == "ENOSYS"
    assert syscalls.call(resolver, "accept", 3, 0, 0) == "ENOSYS"
    assert answers(node)


@injects
def test_a_process_that_syncs_opens_and_connects_nothing(cluster):
    node = started(cluster, "--io", "process", number=444)
    resolver, *syncing = sorted(children(node.pid))
    assert len(syncing) == 2
    for pid in syncing:
        assert syscalls.call(pid, "socket", AF_INET, 1, 0) == "ENOSYS"
        assert syscalls.call(pid, "connect", 3, address_of("/tmp/any"), 110) == "ENOSYS"
        assert opened_by(pid, node.dir + "/IDENT") == "ENOSYS"
        assert os.listdir(f"/proc/{pid}/fd") == ["0", "1", "2", "3"]
    assert opened_by(resolver, node.dir + "/IDENT") == "opened"
    assert answers(node)


def address_of(path):
    return (b"\1\0" + path.encode()).ljust(110, b"\0")


@injects
@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_the_socket_of_a_manager_leads_nowhere_else(cluster, sandbox):
    """A datagram socket can be pointed at any other, such as syslog's."""
    manager, other = Manager(), Manager()
    node = cluster.new(args=["--sandbox", sandbox])
    manager.start(node).up()
    manager.wait("READY")
    pid = node.pid
    inodes = {line.split()[6] for line in open("/proc/net/unix", encoding="ascii")
              if line.split()[4] == "0002"}
    fd, = [int(n) for n in os.listdir(f"/proc/{pid}/fd")
           if re.sub(r"\D", "", os.readlink(f"/proc/{pid}/fd/{n}")) in inodes]
    address = address_of(other.path)
    got = [syscalls.call(pid, "sendto", fd, b"x", 1, 0, address, 110),
           syscalls.call(pid, "connect", fd, address, 110),
           syscalls.call(pid, "sendmsg", fd, bytes(56), 0),
           syscalls.call(pid, "fcntl", fd, 0, 40), syscalls.call(pid, "fcntl", fd, 1030, 40),
           syscalls.call(pid, "dup", fd), syscalls.call(pid, "dup2", fd, 50)]
    if sandbox == "auto":
        assert got == ["EPERM"] * 5 + ["ENOSYS"] * 2
        node.send(signal.SIGHUP)
        manager.wait("RELOADING")
        assert not select.select([other.socket], [], [], 0)[0]
    else:
        assert got[:3] == [1, 0, 0]
        assert select.select([other.socket], [], [], 5)[0]
    assert answers(node)
    manager.close()
    other.close()


@injects
@pytest.mark.parametrize("command", ["restore", "show", "recover"])
def test_a_command_that_reads_files_of_strangers(tmp_path, command):
    """It may read this one file, and write into its directory."""
    data, fifo = tmp_path / "data", tmp_path / "file"
    (tmp_path / "secret").write_text("x")
    data.mkdir()
    if command == "recover":
        fifo = data / "IDENT"
    os.mkfifo(fifo)
    words = {"restore": ["restore", fifo, data], "show": ["backup", "--show", fifo],
             "recover": ["recover", data]}[command]
    process = subprocess.Popen([BINARY, *words], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        pid = process.pid
        wait_for(lambda: field(pid, "Seccomp") == "2", 5, "it reads, in a sandbox")
        for family in (AF_INET, AF_UNIX):
            assert syscalls.call(pid, "socket", family, 1, 0) == "ENOSYS"
        assert syscalls.call(pid, "fork") == "ENOSYS"
        assert opened_by(pid, str(tmp_path / "secret")) == "EACCES"
        new = str(data / "new")
        assert opened_by(pid, new, os.O_CREAT | os.O_WRONLY) == (
            "EACCES" if command == "show" else "opened")
        assert opened_by(pid, str(tmp_path / "new"), os.O_CREAT | os.O_WRONLY) == "EACCES"
    finally:
        process.kill()
        process.wait()


@injects
def test_an_import_reads_a_dump_of_strangers(node, tmp_path):
    """It connects, and changes no file; it reads those of its credentials."""
    dump, secret, token = tmp_path / "dump", tmp_path / "secret", tmp_path / "token"
    secret.write_text("x")
    token.write_text("t")
    os.mkfifo(dump)
    writer = os.open(dump, os.O_RDWR)

    def start(**words):
        return subprocess.Popen(
            [BINARY, "import", "--from", "consul", "--addr", node.http, dump],
            env=dict(os.environ, CRAFTD_TOKEN_FILE=str(token), **words))
    process = start()
    try:
        pid = process.pid
        wait_for(lambda: field(pid, "Seccomp") == "2", 5, "it reads, in a sandbox")
        assert syscalls.call(pid, "socket", AF_PACKET, 1, 0) == "EAFNOSUPPORT"
        assert syscalls.call(pid, "kill", node.pid, 0) == "ENOSYS"
        assert opened_by(pid, str(token)) == "opened"
        for flags in (os.O_WRONLY, os.O_CREAT | os.O_WRONLY):
            assert opened_by(pid, str(tmp_path / "new"), flags) == "EPERM"
        if has_landlock(node):
            assert opened_by(pid, str(secret)) == "EACCES"
        os.write(writer, b'[{"key": "k", "flags": 0, "value": "dg=="}]')
    finally:
        os.close(writer)
    assert process.wait(10) == 0
    assert node.get("k") == "v"
    writer = os.open(dump, os.O_RDWR)
    process = start(CRAFTD_SANDBOX="off")
    time.sleep(0.3)
    assert field(process.pid, "Seccomp") == "0"
    os.write(writer, b"[]")
    os.close(writer)
    assert process.wait(10) == 0


@injects
def test_without_the_sandbox_all_that_works(free, tmp_path):
    """So the tests above can fail."""
    pid = free.pid
    assert opened(free, "/etc/passwd") == "opened"
    assert opened(free, str(tmp_path / "new"), os.O_CREAT | os.O_WRONLY) == "opened"
    fd = syscalls.call(pid, "socket", AF_UNIX, 1, 0)
    assert fd > 2 and syscalls.call(pid, "listen", fd, 1) != "ENOSYS"
    resolver, = children(pid)
    assert syscalls.call(resolver, "prlimit64", pid, 7, 0, 0) == 0
    assert syscalls.call(pid, "mmap", 0, 4096, PROT_READ | PROT_EXEC,
                         MAP_PRIVATE_ANONYMOUS, -1, 0) > 0
    assert syscalls.call(pid, "kill", os.getpid(), 0) == 0
    syscalls.last_call(pid, "execve", "/bin/true", 0, 0)
    assert free.wait_exit() == 0


@as_root
def test_names_resolve_from_files_that_were_replaced(cluster, tmp_path):
    """The C library reads them anew, and they are other files then, about which
    no rule has been made."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "nsswitch.conf").write_text("hosts: files\n")
    (etc / "hosts").write_text("127.0.0.9 other.test\n")
    cluster.start(1)
    joining = cluster.new()
    joining.join = f"first.test:{cluster[0].http_port}"
    joining.start(["unshare", "-m", "sh", "-c",
                   'mount --make-rprivate / && mount --bind "$0" /etc && exec "$@"',
                   str(etc)] + joining.argv())
    joining.up()
    wait_for(lambda: "name does not resolve" in joining.log(), 10, "no such name")
    (etc / "new").write_text("127.0.0.1 first.test\n")
    os.rename(etc / "new", etc / "hosts")
    cluster.wait_members(2, timeout=20)


# ---- users ----

@pytest.fixture
def public():
    """A directory that every user may pass."""
    path = tempfile.mkdtemp()
    os.chmod(path, 0o711)
    yield path
    shutil.rmtree(path)


NOBODY = pwd.getpwnam("nobody")


@as_root
@pytest.mark.parametrize("user, gid", [
    ("nobody", NOBODY.pw_gid), ("nobody:daemon", 1),
    (str(NOBODY.pw_uid), NOBODY.pw_gid), ("54321:12345", 12345)])
def test_a_node_started_as_root_becomes_the_user(cluster, public, user, gid):
    uid = 54321 if user[0] == "5" else NOBODY.pw_uid
    node = cluster.new(args=["--user", user, "--backup-every", "1s",
                             "--backup-dir", public + "/above/backups"])
    node.dir = public + "/above/data"
    argv = ["setpriv", "--groups=0,4", *node.argv()]
    node.start(argv).up()
    for _ in range(2):
        cluster.wait_leader()
        for pid in [node.pid] + children(node.pid):
            assert field(pid, "Uid").split() == [str(uid)] * 4
            assert field(pid, "Gid").split() == [str(gid)] * 4
            assert not {"0", "4"} & set(field(pid, "Groups").split())
            assert int(field(pid, "CapEff"), 16) == 0
        assert answers(node)
        node.terminate()
        node.start(argv).up()
    wait_for(lambda: os.listdir(public + "/above/backups"), 10, "a backup")
    for folder, folders, files in os.walk(public + "/above"):
        for name in folders + files:
            found = os.lstat(os.path.join(folder, name))
            assert (found.st_uid, found.st_gid) == (uid, gid), name


@pytest.fixture
def dumps_of_setuid():
    """As systemd-coredump sets it: a process that has become another user may
    leave a dump, for which the kernel turns on again what was off before."""
    path = "/proc/sys/fs/suid_dumpable"
    with open(path, encoding="ascii") as file:
        before = file.read()
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write("2")
    except OSError:
        pytest.skip("the kernel's settings cannot be changed here")
    yield
    with open(path, "w", encoding="ascii") as file:
        file.write(before)


@injects
@as_root
def test_a_node_that_became_a_user_leaves_no_dump(cluster, public, dumps_of_setuid):
    path = public + "/key"
    with open(path, "w", encoding="ascii") as file:
        file.write("0" * 63 + "1\n")
    os.chmod(path, 0o600)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    node = cluster.new(args=["--user", "nobody", "--cluster-key", path, "--sandbox", "off"])
    node.dir = public + "/above/data"
    node.start().up()
    get_dumpable = 3
    assert field(node.pid, "Uid").split() == [str(NOBODY.pw_uid)] * 4
    assert syscalls.call(node.pid, "prctl", get_dumpable, 0, 0, 0, 0) == 0


@as_root
@pytest.mark.parametrize("command", ["recover", "restore"])
def test_a_directory_made_offline_is_the_users(cluster, public, command):
    node = cluster.new(args=["--user", "nobody"])
    node.dir = public + "/data"
    node.start().up()
    cluster.wait_leader()
    assert answers(node)
    os.mkdir(public + "/backups")
    os.chmod(public + "/backups", 0o755)
    backup = public + "/backups/backup.db"
    with open(backup, "wb") as f:
        f.write(node.request("GET", "/backup").body)
    os.chmod(backup, 0o644)
    node.terminate()
    words = [BINARY, command] + ([backup] if command == "restore" else [])
    if command == "restore":
        node.dir = public + "/anew/data"
    done = subprocess.run(words + node.argv()[1:], capture_output=True, text=True)
    assert done.returncode == 0, done
    for folder, folders, files in os.walk(node.dir):
        for name in folders + files:
            assert os.lstat(os.path.join(folder, name)).st_uid == NOBODY.pw_uid
    node.start().up()
    cluster.wait_leader()
    assert node.get("still") == "here"


@as_root
def test_ports_of_root_are_bound_before(cluster, public):
    node = cluster.new(args=["--user", "nobody"])
    node.http_port = 80
    node.dir = public + "/data"
    node.start(["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"',
                "sh"] + node.argv())
    wait_for(lambda: " start version=" in node.log(), 10, "it listens")
    assert f"http={node.host}:80" in node.log()


@as_root
@pytest.mark.parametrize("owned", ["directory", "file"])
def test_a_directory_of_another_user_is_explained(cluster, public, owned):
    node = cluster.new()
    node.dir = public + "/data"
    node.start().up()
    node.terminate()
    if owned == "file":
        os.chown(node.dir, NOBODY.pw_uid, NOBODY.pw_gid)
    node.args = ["--user", "nobody"]
    node.start()
    assert node.wait_exit() == 1
    what = node.dir + ("/LOCK" if owned == "file" else "")
    assert f"user {NOBODY.pw_uid} may not use {what}: Permission denied" in node.log()
    assert f"chown -R {NOBODY.pw_uid}:{NOBODY.pw_gid} {node.dir}" in node.log()


@as_root
def test_a_key_that_could_not_be_read_again_is_explained(cluster, public):
    key = public + "/key"
    with open(key, "w") as f:
        f.write(subprocess.run([BINARY, "keygen"], capture_output=True,
                               text=True, check=True).stdout)
    os.chmod(key, 0o600)
    node = cluster.new(args=["--user", "nobody", "--cluster-key", key])
    node.dir = public + "/data"
    node.start()
    assert node.wait_exit() == 1
    assert f"user {NOBODY.pw_uid} may not read it" in node.log()
    os.chown(key, NOBODY.pw_uid, NOBODY.pw_gid)
    node.start().up()
    node.send(signal.SIGHUP)
    wait_for(lambda: node.log().count(" cluster-key file=") == 3, 5, "it is read")


@pytest.mark.parametrize("user, why", [
    ("no-such-user", "there is no user no-such-user"),
    ("nobody:no-such-group", "there is no group no-such-group"),
    ("54321", "the group must be given: 54321:GROUP"),
    (":root", "is not NAME or NAME:GROUP"),
    ("4294967295", "there is no user 4294967295")])
def test_a_user_that_does_not_exist(cluster, user, why):
    node = cluster.new(args=["--user", user]).start()
    assert node.wait_exit() == 1
    assert why in node.log()
    assert not os.path.exists(node.dir)


@as_root
def test_only_root_becomes_another_user(cluster, public):
    def run(user):
        return subprocess.run(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
             "timeout", "-s", "TERM", "2", copy, "--user", user, "--http",
             "127.0.0.1:0", "--http-adv", "127.0.0.1:1", "--raft", "127.0.0.1:0",
             "--raft-adv", "127.0.0.1:1", "--inmem"],
            capture_output=True, text=True)
    copy = shutil.copy(BINARY, public)
    assert "only root may become another user" in run("daemon").stderr
    assert " start version=" in run("nobody").stderr
