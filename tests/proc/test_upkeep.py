"""Actions of a node on its own: --leave-on-exit, --reap, --backup-dir."""
import os
import signal
import sqlite3
import time

import pytest

from cluster import wait_for

FAST = ["--election", "300ms", "--heartbeat", "50ms"]


def names(node):
    return sorted(row["id"] for row in node.request("GET", "/nodes").json())


@pytest.mark.parametrize("leads", [False, True])
def test_a_stopped_node_leaves_and_comes_back(cluster, leads):
    cluster.start(3, args=FAST + ["--leave-on-exit"])
    leader = cluster.wait_leader()
    leaver = leader if leads else cluster.others(leader)[0]
    assert leader.put("k", "1").status == 200
    assert leaver.terminate() == 0
    if leads:
        assert "left index=" in leaver.log()
    stayer = cluster.others(leaver)[0]
    wait_for(lambda: names(stayer) == sorted(n.name for n in cluster.others(leaver)),
             10, "two members")
    assert cluster.wait_leader().put("k", "2").status == 200

    # Its directory is that of a member that was: it comes back as a new one.
    leaver.wipe()
    leaver.join = stayer.http
    leaver.start()
    cluster.wait_members(3)
    assert leaver.get("k") == "2"


def test_the_last_one_does_not_leave(cluster):
    cluster.start(1, args=FAST + ["--leave-on-exit"])
    assert cluster[0].put("k", "1").status == 200
    assert cluster[0].terminate() == 0
    assert "leave why=" in cluster[0].log()
    cluster[0].start().up()
    wait_for(lambda: cluster[0].get("k", "none") == "1", 5, "the value")


def test_a_member_that_is_silent_for_long_is_removed(cluster):
    cluster.start(3, args=FAST + ["--reap", "3s"])
    gone = cluster.others(cluster.wait_leader())[0]
    gone.kill()
    started = time.monotonic()
    rest = cluster.others(gone)
    wait_for(lambda: names(rest[0]) == sorted(n.name for n in rest), 15, "two members")
    assert time.monotonic() - started > 2
    assert cluster.wait_leader().put("k", "1").status == 200
    # The other one's vote is needed: without it there is nobody to remove it.
    rest[1].kill()
    time.sleep(5)
    assert len(names(rest[0])) == 2


def test_a_leader_that_was_paused_removes_no_member(cluster):
    """The silence was its own: the others get the time anew. The other one
    has no vote and sleeps longer, so the leader stays one."""
    cluster.start(1, args=FAST + ["--reap", "3s"])
    leader = cluster[0]
    other = cluster.add(leader.http, args=FAST + ["--non-voter"])
    wait_for(lambda: len(names(leader)) == 2, 10, "two members")
    wait_for(lambda: other.request("GET", "/readyz").status == 200, 10, "it has joined")
    other.send(signal.SIGSTOP)
    leader.send(signal.SIGSTOP)
    time.sleep(4)
    resumed = time.monotonic()
    leader.send(signal.SIGCONT)
    wait_for(lambda: len(names(leader)) == 1, 10, "it is removed")
    assert time.monotonic() - resumed > 2, "the leader counted its own pause"


def backups(directory):
    return sorted(name for name in os.listdir(directory) if name.endswith(".db"))


def drafts(directory):
    return sorted(name for name in os.listdir(directory) if name.endswith(".tmp"))


def check_backup(path):
    """"ok", or what is wrong with it. A pruned one is as good."""
    db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        rows = db.execute("SELECT count(*) FROM pairs").fetchone()[0]
        return db.execute("PRAGMA integrity_check").fetchone()[0] if rows else "empty"
    except sqlite3.Error as error:
        return repr(error)
    finally:
        db.close()


def test_backups_are_written_and_the_oldest_go(cluster, tmp_path):
    where = tmp_path / "var" / "backups"
    cluster.start(1, args=["--backup-dir", str(where), "--backup-every", "1s",
                           "--backup-keep", "2"])
    node = cluster[0]
    (where / "notes.db").write_text("not ours")
    (where / "craftd-00000000-00000000000000000001.db").write_text("another cluster's")
    seen = set()
    for number in range(5):
        assert node.put("k", f"{number}" * 100000).status == 200
        before = set(backups(where))
        wait_for(lambda: set(backups(where)) - before, 15, "a backup", pause=0.02)
        seen |= set(backups(where))

    def ours():
        return [n for n in backups(where)
                if n.startswith("craftd-") and "-00000000-" not in n]
    assert len(seen) >= 6
    # The one too many goes after the newest has its name.
    wait_for(lambda: len(ours()) == 2, 10, "the oldest gone")
    assert len(backups(where)) == 4, "what is not ours stays"
    rows = sqlite3.connect(where / ours()[-1]).execute("SELECT key, value FROM pairs").fetchall()
    assert rows == [(b"k", b"4" * 100000)]
    # Nothing has changed: nothing is written.
    last = backups(where)
    time.sleep(2.5)
    assert backups(where) == last
    assert not drafts(where)
    # The draft of a killed process is no backup, and is removed; a draft that
    # another node is writing stays.
    with open(os.path.join(node.dir, "IDENT"), "rb") as ident:
        uuid = ident.read()[32:48].hex()
    node.send(signal.SIGKILL)
    node.proc.wait()
    mine = f"craftd-backup-{uuid[:16]}-0123456789abcdef.tmp"
    others = ["craftd-backup.tmp", f"craftd-backup-{'0' * 16}-0123456789abcdef.tmp",
              f"craftd-backup-{uuid[:16]}-mine.tmp"]
    for name in [mine] + others:
        (where / name).write_text("half")
    node.start().up()
    assert node.put("k", "new").status == 200
    wait_for(lambda: backups(where) != last, 15, "a backup")
    assert drafts(where) == sorted(others)


def test_nodes_share_a_backup_directory(cluster, tmp_path):
    """Each writes to names of its own: every backup that is there is whole, and
    no attempt is disturbed by another's."""
    where = tmp_path / "shared"
    cluster.start(3, args=["--backup-dir", str(where), "--backup-every", "1s",
                           "--backup-keep", "100"])
    leader = cluster.wait_leader()
    first = None
    for i in range(30):  # Some 12 MB: several slices, and some turns.
        put = leader.put(f"large-{i}", f"{i:04}" * 100000)
        assert put.status == 200
        first = first or int(put.headers["Craftd-Index"])
    checked = {}
    end = time.monotonic() + 6
    while time.monotonic() < end or len(checked) < 6:
        assert cluster.wait_leader().put("k", f"{time.monotonic()}").status == 200
        time.sleep(0.1)
        for name in backups(where):
            if name.endswith(".db") and name not in checked:
                checked[name] = check_backup(where / name)
    # A backup of the time before the first key has none.
    expected = {name: "ok" if int(name[:-3].rsplit("-", 1)[1]) >= first else "empty"
                for name in checked}
    assert checked == expected
    for node in cluster:
        assert "error" not in node.log(), node.log()
        assert node.terminate() == 0
    assert not drafts(where)


def test_a_backup_that_cannot_be_written_is_reported(cluster, tmp_path):
    where = tmp_path / "backups"
    cluster.start(1, args=["--backup-dir", str(where), "--backup-every", "1s"])
    node = cluster[0]
    assert node.put("k", "1").status == 200
    wait_for(lambda: backups(where), 5, "a backup")
    os.rename(where, tmp_path / "elsewhere")
    where.write_text("a file")
    assert node.put("k", "2").status == 200
    # The directory is held open: it goes on where that is now.
    wait_for(lambda: len(backups(tmp_path / "elsewhere")) == 2, 5, "another backup")
    assert node.terminate() == 0
    refused = node.start().wait_exit()
    assert refused == 1 and "--backup-dir" in node.log()
