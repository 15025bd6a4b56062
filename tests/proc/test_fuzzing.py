"""scripts/fuzz reports what a fuzz target finds. A run that cannot fail would
look the same as one that found nothing."""
import base64
import os
import shutil
import subprocess

import pytest

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
TARGET = """
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 && data[0] == 'b' && data[1] == PLANTED) { abort(); }
    return 0;
}
"""


def make_target(build, name, planted):
    source = build / f"{name}.c"
    source.write_text(TARGET)
    programs = build / "fuzz"
    programs.mkdir(exist_ok=True)
    subprocess.run(["clang", "-fsanitize=fuzzer", f"-DPLANTED={planted}", "-o",
                    programs / f"fuzz_{name}", source], check=True)


def fuzz(build, *words):
    return subprocess.run([os.path.join(ROOT, "scripts", "fuzz"), *words],
                          env=dict(os.environ, BUILD=str(build)),
                          capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not shutil.which("clang"), reason="no clang")
def test_a_finding_fails_the_run_and_is_printed(tmp_path):
    make_target(tmp_path, "healthy", 1000)
    make_target(tmp_path, "canary", "'!'")
    done = fuzz(tmp_path, "2", "healthy", "canary")
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stdout
    assert lines[-1] == "1 passed, 1 failed", done.stdout
    assert any(line.startswith("ok     fuzz healthy: ") for line in lines)
    assert any(line.startswith("FAILED fuzz canary ") for line in lines)
    found = base64.b64decode(lines[lines.index("base64:") + 1])
    assert found.startswith(b"b!")


@pytest.mark.skipif(not shutil.which("clang"), reason="no clang")
def test_a_target_that_does_not_run_fails_the_run(tmp_path):
    make_target(tmp_path, "healthy", 1000)
    done = fuzz(tmp_path, "1", "healthy", "missing")
    assert done.returncode == 1, done.stdout
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed", done.stdout
    assert fuzz(tmp_path, "1", "healthy").returncode == 0
