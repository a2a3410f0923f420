"""The native step under the address, undefined-behaviour and thread sanitizers: no report at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_native_kernels import link_driver

from tokenloom.native import build

EXERCISE = Path(__file__).with_name("exercise.py")
REPORTS = ("Sanitizer", "runtime error:", "==ERROR")


def runtime(cxx: str, name: str) -> str:
    """Where the compiler has a sanitizer's library, which must be loaded before Python."""
    found = subprocess.run(
        [*cxx.split(), f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip(f"the compiler has no {name}")
    return os.path.realpath(found)


def sanitized(folder: Path, flags: tuple[str, ...]) -> tuple[str, Path, list[Path]]:
    """The compiler, the library and its objects, with these flags."""
    cxx = build.compiler()
    objects = build.compile_units(folder, ["-O1", "-g1", *flags])
    library = folder / "step.so"
    build.run([*cxx.split(), "-shared", "-pthread", *flags, *map(str, objects), "-o", str(library)])
    return cxx, library, objects


def exercise(folder: Path, library: Path, preload: list[str], *args: str, **options: str) -> str:
    """Runs the exercise on a library; everything it said."""
    env = {**os.environ, **options, "LD_PRELOAD": ":".join(preload), "LOOM_NATIVE_LIBRARY": str(library)}
    fixed = [shutil.which("setarch") or "", "-R"] if shutil.which("setarch") else []  # one place in memory
    command = [*fixed, sys.executable, str(EXERCISE), str(folder), *args]
    found = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    said = found.stdout + found.stderr
    assert found.returncode == 0, said[-6000:]
    assert found.stdout.endswith("done\n"), said[-6000:]
    return said


@pytest.mark.slow
def test_no_address_is_out_of_bounds_and_no_behaviour_undefined(tmp_path: Path) -> None:
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer")
    cxx, library, objects = sanitized(tmp_path, flags)
    preload = [runtime(cxx, "libasan.so"), runtime(cxx, "libubsan.so"), runtime(cxx, "libstdc++.so")]
    program = link_driver(tmp_path, objects, cxx, flags)
    for isa in ("avx512", "avxvnni", "avx2", "neon", "portable"):
        found = subprocess.run([program, isa], capture_output=True, text=True, timeout=300)
        assert found.returncode in (0, 77), found.stderr[-6000:]
    said = exercise(tmp_path, library, preload, ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=1")
    assert not [word for word in REPORTS if word in said], said[-6000:]


@pytest.mark.slow
def test_threads_do_not_race(tmp_path: Path) -> None:
    cxx, library, _ = sanitized(tmp_path, ("-fsanitize=thread",))
    preload = [runtime(cxx, "libtsan.so"), runtime(cxx, "libstdc++.so")]
    said = exercise(tmp_path, library, preload, "threads", TSAN_OPTIONS="halt_on_error=0")
    assert not [word for word in REPORTS if word in said], said[-6000:]
