"""The binaries of `make release`, and what they are made of."""
import os
import subprocess

from cluster import ROOT


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
