"""The Debian package under a systemd of its own: process 1 of a PID namespace, on a
copy of this machine's files in memory. It shows that the unit lets the node do what it
does elsewhere, and what systemd makes of its reports."""
import os
import re
import subprocess

import pytest

import dist
from cluster import wait_for
from dist import need, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# Argument 1: a folder for the machine; 2: the package. /proc/sys is read-only, since it
# is that of the whole machine, and devices are those that every container has.
BOOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
cp "$2" "$1/root/root/craftd.deb"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
for dir in run tmp dev; do mount -t tmpfs tmpfs $dir; done
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd ||
    { umount sys/fs/cgroup; mount -t cgroup2 cgroup2 sys/fs/cgroup; }
while read -r name major minor; do
    mknod -m 666 dev/$name c $major $minor
done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
END
mkdir dev/pts dev/shm dev/mqueue dev/hugepages
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
rm -f usr/sbin/policy-rc.d
chroot . dpkg --no-triggers -i /root/craftd.deb
cat >>etc/default/craftd <<END
CRAFTD_ID=unit
CRAFTD_HTTP=unix:/run/craftd/craftd.sock
END
mkdir -p etc/systemd/system/craftd.service.d
printf '[Service]\nWatchdogSec=3s\n' >etc/systemd/system/craftd.service.d/test.conf
for unit in systemd-sysctl systemd-modules-load systemd-udevd systemd-udev-trigger \
    systemd-binfmt kmod-static-nodes; do
    ln -sf /dev/null etc/systemd/system/$unit.service
done
pivot_root . mnt
cd /
umount -l /mnt
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=craftd.service --show-status=no
"""

# Keeps the machine until its standard input ends, also when the test is killed.
KEEP = r"""
unshare --mount --pid --uts --ipc --net --cgroup --fork sh -c "$1" sh "$2" "$3" &
unshare=$!
read -r line
kill -9 $(cat /proc/$unshare/task/$unshare/children)
wait
"""


class Booted:
    def __init__(self, folder, package):
        self.log = open(folder / "boot.log", "w+")
        (folder / "machine").mkdir()
        self.keeper = subprocess.Popen(
            ["sh", "-c", KEEP, "sh", BOOT, folder / "machine", package],
            stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)

    def close(self):
        self.keeper.stdin.close()
        self.keeper.wait()
        self.log.close()

    def pid(self):
        """That of its process 1; None before that is systemd."""
        def children(pid):
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                return file.read().split()
        for child in children(self.keeper.pid):
            for inner in children(child):
                with open(f"/proc/{inner}/comm") as file:
                    if file.read() == "systemd\n":
                        return inner
        return None

    def has_failed(self):
        """The reason why it does not boot; "" while it may."""
        self.log.seek(0)
        text = self.log.read()
        return text if re.search("(?i)not permitted|denied|failed|no such", text) else ""

    def run(self, *words, **more):
        return run("nsenter", "-t", self.pid(), "--mount", "--pid", "--uts", "--ipc",
                   "--net", "--cgroup", "--", *words, **more)

    def show(self, name):
        return self.run("systemctl", "show", "--property", name, "--value",
                        "craftd").strip()

    def craftd(self, *words):
        return self.run("craftd", *words, "--addr", "unix:/run/craftd/craftd.sock")


@pytest.fixture
def booted(tmp_path):
    need("systemd-analyze", "systemctl", "unshare", "nsenter", "dpkg")
    if not os.access("/lib/systemd/systemd", os.X_OK):
        pytest.skip("no systemd: scripts/setup test installs it")
    arch = run("dpkg", "--print-architecture").strip()
    machine = Booted(tmp_path, dist.path(f"craftd_*_{arch}.deb"))
    try:
        wait_for(lambda: machine.pid() or machine.has_failed(), 60, "it boots")
        if not machine.pid():
            pytest.skip(f"systemd cannot be started here: {machine.has_failed()}")
        yield machine
    finally:
        machine.close()


def test_the_service_under_systemd(cluster, booted, tmp_path):
    def is_active():
        done = subprocess.run(
            ["nsenter", "-t", booted.pid(), "--mount", "--pid", "--", "systemctl",
             "is-active", "craftd"], capture_output=True, text=True, check=False)
        return done.stdout == "active\n"
    wait_for(is_active, 60, "the service is active")
    wait_for(lambda: booted.show("StatusText") == "leader", 20, "its status")
    assert booted.show("NRestarts") == "0"

    # The node has the same sandbox as outside, and runs as a user without rights.
    outside = cluster.new()
    outside.start([dist.CRAFTD, *outside.argv()[1:]]).up()
    log = booted.run("journalctl", "--unit=craftd", "--output=cat", "--no-pager")
    sandbox = re.search(r"sandbox (seccomp=\w+ landlock=\w+)", outside.log())[1]
    assert f"sandbox {sandbox}" in log
    assert ("io log=sync" in log) == ("io log=sync" in outside.log())
    pid = booted.show("MainPID")
    status = booted.run("cat", f"/proc/{pid}/status")
    assert re.search(r"(?m)^CapEff:\t0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\t1$", status)
    assert booted.run("stat", "-c", "%U %a", "/var/lib/craftd").strip() == "craftd 700"

    booted.craftd("put", "k", "v")
    assert booted.craftd("get", "k") == "v"
    booted.run("systemctl", "reload", "craftd")
    assert is_active() and booted.show("MainPID") == pid
    assert "hangup signal=1" in booted.run("journalctl", "--unit=craftd",
                                           "--output=cat", "--no-pager")

    # A loop that hangs is restarted by the watchdog, with its data.
    booted.run("kill", "-STOP", pid)
    wait_for(lambda: booted.show("NRestarts") == "1" and is_active(), 60, "a restart")
    assert booted.show("MainPID") != pid
    wait_for(lambda: booted.show("StatusText") == "leader", 20, "its status")
    assert booted.craftd("get", "k") == "v"

    booted.run("systemctl", "stop", "craftd")
    assert booted.show("ActiveState") == "inactive"
    assert (booted.show("Result"), booted.show("ExecMainStatus")) == ("success", "0")

    # An upgrade leaves a node alone that does not run, and restarts one that does; it
    # is stopped when the package is removed.
    arch = run("dpkg", "--print-architecture").strip()
    for number in ("2", "3"):
        path = tmp_path / "next.deb"
        run(os.path.join(dist.SCRIPTS, "deb"), path, f"0.1.0-{number}", arch,
            dist.binaries()[arch], dist.folder())
        pid = booted.show("MainPID")
        with open(path, "rb") as file:
            booted.run("sh", "-c", "cat >/root/next.deb", stdin=file)
        booted.run("dpkg", "--no-triggers", "--force-confold", "-i", "/root/next.deb")
        if number == "2":
            assert booted.show("ActiveState") == "inactive"
            booted.run("systemctl", "start", "craftd")
        else:
            assert is_active() and booted.show("MainPID") != pid
    wait_for(lambda: booted.show("StatusText") == "leader", 20, "its status")
    assert booted.craftd("get", "k") == "v"
    pid = booted.show("MainPID")
    booted.run("dpkg", "--no-triggers", "-r", "craftd")
    assert not os.path.exists(f"/proc/{booted.pid()}/root/proc/{pid}")
    assert os.path.exists(f"/proc/{booted.pid()}/root/var/lib/craftd/LOCK")
