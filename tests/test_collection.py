"""The tests themselves: workers, each a process of its own, find the same ones by the same names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COLLECT = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
PROBE = """
import gzip, time
import pytest
@pytest.mark.parametrize("packed", [gzip.compress(b"a", mtime=time.time_ns() % 2**31), b"b"])
@pytest.mark.parametrize("n", [1, 2])
def test_probe(packed, n): ...
"""


def collected(seed: int, *places: str) -> list[str]:
    """Ids in the order in which they come. seed: of the hashes of texts, which order sets."""
    env = {**os.environ, "PYTHONHASHSEED": str(seed)}
    done = subprocess.run([*COLLECT, *places], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_bytes_are_not_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "test_probe.py").write_text(PROBE)
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "real_home.py").write_text((ROOT / "tests" / "real_home.py").read_text())
    first, second = (collected(seed, "--rootdir", str(tmp_path), str(tmp_path)) for seed in (1, 2))
    assert first == second
    assert [name.split("::")[1] for name in first] == [
        f"test_probe[{n}-packed{at}]" for n in (1, 2) for at in (0, 1)
    ]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_process_collects_the_same() -> None:
    first, second = (collected(seed, "tests") for seed in (1, 2))
    assert len(first) > 1000
    assert len(set(first)) == len(first)
    assert first == second
