"""The hunt for planted bugs: nobody passes for a hunter who did not look."""
import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest

from cluster import ROOT

RUN = os.path.join(ROOT, "tests", "mutants", "run.py")

TESTS = """
import pytest
def test_passes(): pass
def test_fails(): assert False
def test_skips(): pytest.skip("no such thing here")
def test_then_fails(): assert False
@pytest.fixture
def broken(): raise OSError("no network")
def test_errs(broken): pass
"""


@pytest.fixture
def run():
    spec = importlib.util.spec_from_file_location("run", RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(run, tmp_path, monkeypatch):
    """One with process tests, and nothing to build."""
    (tmp_path / "tests/proc").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    shutil.copy(os.path.join(ROOT, "scripts", "proc"), tmp_path / "scripts")
    (tmp_path / "tests/proc/test_few.py").write_text(TESTS)
    monkeypatch.setattr(run, "TREE", str(tmp_path))
    monkeypatch.setattr(run, "build", lambda *_: None)
    return tmp_path


def test_a_hunt_is_won_or_lost_by_tests_that_ran(run, tree):
    assert run.hunt("src/api/list.c", 1, "test_passes") is None
    for one in ("test_fails", "test_passes or test_fails"):
        assert run.hunt("src/api/list.c", 1, one) == f"tests/proc, {one}: test_fails - assert False"
    assert "test_then_fails" in run.hunt("src/api/list.c", 1, "test_skips or then_fails")


@pytest.mark.parametrize("expression, why", [
    ("test_skips", "no such thing here"),
    ("test_passes or test_skips", "no such thing here"),
    ("no_such_name", "no test of no_such_name ran"),
    ("test_errs", "no network"),
])
def test_a_hunt_in_which_not_every_test_ran(run, tree, expression, why):
    with pytest.raises(run.Broken) as broken:
        run.hunt("src/api/list.c", 1, expression)
    assert why in str(broken.value)


@pytest.mark.parametrize("skipped", [True, False])
def test_a_hunt_in_which_a_unit_test_was_skipped(run, tree, monkeypatch, skipped):
    program = tree / "build/check/test_room"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho '[  SKIPPED ] test_a'\n"
                       "echo '[  SKIPPED ] 1 test(s), listed below:'\n"
                       "echo '[  SKIPPED ] test_a'\n" if skipped else "#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(run, "unit_programs", lambda _: ["check/test_room"])
    if not skipped:
        assert run.hunt("src/room.c", 1, "test_passes") is None
        return
    with pytest.raises(run.Broken, match="skipped: test_room: test_a$"):
        run.hunt("src/room.c", 1, "test_passes")
    assert run.hunt("src/room.c", 1, "test_fails")


@pytest.mark.parametrize("command", ["while :; do :; done", "sleep 60"])
def test_a_hang_is_a_kill_that_says_time_out(run, tree, monkeypatch, command):
    monkeypatch.setattr(run, "PATIENCE", 3 if command == "sleep 60" else 60)
    well, out = run.quiet(["sh", "-c", command], 1)
    assert (well, run.killer("x", out)) == (False, "x (time-out)")


def test_mutants_are_hunted_in_the_current_tree(run, tmp_path):
    """Also where a bug was planted after the last change but one."""
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "src").mkdir(parents=True)
    for name in ("same.c", "changed.c", "removed.c"):
        (here / "src" / name).write_text("old")
    run.copy_folder(str(here), str(there))
    planted = there / "src/changed.c"
    planted.write_text("old")
    os.utime(planted, (2e9, 2e9))
    os.utime(there / "src/same.c", (1e9, 1e9))
    (here / "src/changed.c").write_text("new")
    (here / "src/removed.c").unlink()
    run.copy_folder(str(here), str(there))
    assert planted.read_text() == "new"
    assert (there / "src/same.c").stat().st_mtime == 1e9
    assert sorted(os.listdir(there / "src")) == ["changed.c", "same.c"]


def listed(*words):
    done = subprocess.run([sys.executable, "-B", RUN, "--list", *words],
                          capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout.splitlines()


def test_shards_are_all_of_it():
    _, everything = listed()
    shards = [listed("--shard", f"{k}/3")[1] for k in (1, 2, 3)]
    assert sorted(sum(shards, [])) == sorted(everything)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for wrong in ("0/3", "4/3", "3", "1/0"):
        assert listed("--shard", wrong) == (2, [])


def test_a_test_that_does_not_exist_is_no_success():
    assert listed("--only", "no such bug") == (2, ["no mutant was chosen"])


def is_chosen(test, expression):
    """As pytest -k does: words are parts of the name."""
    return eval(re.sub(r"[^\s()]+", lambda word: word[0] if word[0] in (  # noqa: S307
        "and", "or", "not") else str(word[0].lower() in test.lower()), expression))


def test_every_bug_can_be_planted_and_hunted(run):
    """Its old text is in the file once, and its process tests are there."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q",
         "--collect-only", os.path.join(ROOT, "tests", "proc")],
        capture_output=True, text=True, timeout=60, check=False)
    names = done.stdout.splitlines()
    for name, file, proc, old, new in run.parse(os.path.join(ROOT, "tests", "mutants",
                                                             "mutants.txt")):
        with open(os.path.join(ROOT, file)) as source:
            assert source.read().count(old) == 1, name
        assert old != new, name
        assert not proc or any(is_chosen(test, proc) for test in names), (name, proc)
