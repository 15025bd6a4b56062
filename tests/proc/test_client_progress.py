"""Progress of commands that take long: a line on a terminal, and nothing anywhere
else."""
import os
import re
import subprocess
import time

import pytest

from cluster import wait_for
from test_client import DONE, FAILED, answer, craftd, serve  # noqa: F401
from terminal import on_terminal

MIB = 1 << 20


def at_terminal(*words, addr=None, stdout=subprocess.DEVNULL, columns=80):
    """With stderr at a terminal: the exit code, and what it shows."""
    code, shown = on_terminal(*words, addr=addr, columns=columns, stdin=subprocess.DEVNULL,
                              stdout=stdout)
    return code, shown.decode()


def screen(shown):
    """What remains on the terminal: the effect of CR and BS is applied."""
    lines = [""]
    at = 0
    for c in shown:
        if c == "\r":
            at = 0
        elif c == "\b":
            at = max(at - 1, 0)
        elif c == "\n":
            lines.append("")
            at = 0
        else:
            line = lines[-1].ljust(at)
            lines[-1] = line[:at] + c + line[at + 1:]
            at += 1
    return [line.rstrip() for line in lines if line.strip()]


def slowly(total, pieces=10, seconds=1.5, cut=False):
    """A backup that comes in pieces."""
    def send(_, connection):
        connection.sendall(("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.sqlite3\r\n"
                            f"Content-Length: {total}\r\n\r\n").encode())
        for i in range(pieces - cut):
            connection.sendall(b"x" * (total // pieces))
            time.sleep(seconds / pieces)
    return send


def test_a_backup_shows_how_far_it_is(serve, tmp_path):  # noqa: F811
    file = tmp_path / "b.db"
    code, shown = at_terminal("backup", str(file), addr=serve(slowly(10 * MIB)).addr)
    assert code == DONE and file.stat().st_size == 10 * MIB
    lines = re.findall(r"\rbackup: [\d.]+ MiB of 10\.0 MiB, (\d+)%, [\d.]+ MiB/s, \d+ s left",
                       shown)
    assert len(lines) >= 2 and sorted(map(int, lines)) == list(map(int, lines)), shown
    assert screen(shown) == []


@pytest.mark.parametrize("words, terminal", [(["--quiet"], True), ([], False)])
def test_nothing_is_shown_where_nobody_reads_it(serve, tmp_path, words, terminal):  # noqa: F811
    server = serve(slowly(10 * MIB, seconds=0.8))
    run = at_terminal if terminal else craftd
    done = run("backup", *words, str(tmp_path / "b.db"), addr=server.addr)
    code, shown = done if terminal else (done.returncode, (done.stdout + done.stderr).decode())
    assert (code, shown) == (DONE, "")


def test_a_message_takes_the_place_of_the_line(serve, tmp_path):  # noqa: F811
    server = serve(slowly(10 * MIB, cut=True))
    code, shown = at_terminal("backup", str(tmp_path / "b.db"), addr=server.addr)
    assert code == FAILED and "MiB/s" in shown
    message, = screen(shown)
    assert message.startswith("craftd: backup: " + server.addr)


def test_a_narrow_terminal_is_not_wrapped(serve, tmp_path):  # noqa: F811
    server = serve(slowly(10 * MIB))
    code, shown = at_terminal("backup", str(tmp_path / "b.db"), addr=server.addr, columns=20)
    assert code == DONE and "backup: " in shown
    assert all(len(part) <= 19 for part in re.split(r"[\r\n]", shown.replace("\b", "")))
    assert screen(shown) == []


def test_a_restore_shows_what_was_sent(serve, tmp_path):  # noqa: F811
    file = tmp_path / "b.db"
    file.write_bytes(b"x" * (2 * MIB))
    taken = []

    def take(request, connection):
        # The head and a part of the body have been read. The rest is taken slowly.
        size = len(request)
        while size < 2 * MIB:
            size += len(connection.recv(65536))
            time.sleep(0.02)
        taken.append(size)
        time.sleep(0.5)
        connection.sendall(answer(200, b'{"index":7,"keys":3}\n'))
    server = serve(take)
    server._read = lambda connection: connection.recv(4096)  # pylint: disable=protected-access
    code, shown = at_terminal("restore", "--addr", server.addr, str(file))
    assert code == DONE and taken
    assert "\rrestore: sent, waiting for the cluster" in shown
    assert screen(shown) == []


def test_the_disk_is_measured_in_view(tmp_path):
    code, shown = at_terminal("bench-disk", "--time", "1s", str(tmp_path))
    assert code == DONE and re.search(r"\rbench-disk: \d+ syncs, \d+/s", shown), shown
    assert screen(shown) == []
    assert wait_for(lambda: os.listdir(tmp_path) == [], 5, "no file")
