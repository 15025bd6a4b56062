"""Sealed links: --cluster-key."""
import os
import subprocess

import pytest

from cluster import BINARY, wait_for


def new_key():
    return subprocess.run([BINARY, "keygen"], capture_output=True, text=True,
                          check=True).stdout.strip()


def write_keys(path, *keys, mode=0o600):
    part = f"{path}.part"
    with open(part, "w", opener=lambda p, f: os.open(p, f, mode)) as file:
        file.write("".join(f"{key}\n" for key in keys))
    os.chmod(part, mode)
    os.rename(part, path)
    return str(path)


def test_a_cluster_with_a_key(cluster, tmp_path):
    path = write_keys(tmp_path / "key", new_key())
    cluster.start(3, args=["--cluster-key", path])
    assert cluster[0].put("k", "v").status == 200
    cluster.wait_same()
    for node in cluster:
        assert node.get("k") == "v"
        assert "sealed=yes" in node.log() and "sealed=no" not in node.log()
