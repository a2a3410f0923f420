"""Each kernel by itself, from a C++ program: the same bits on every instruction set, Arm's in an emulator.

The sanitizers' tests run the same program, since its buffers end where a kernel must stop reading.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tokenloom.native import build

DRIVER = Path(__file__).with_name("kernels_driver.cpp")
ARM = "aarch64-linux-gnu-g++"
NOT_HERE = 77


def link_driver(folder: Path, objects: list[Path], cxx: str, flags: tuple[str, ...] = ()) -> Path:
    program = folder / "driver"
    own = ["-std=c++20", "-ffp-contract=off", "-pthread", f"-I{build.SOURCE}", *flags]
    build.run([*cxx.split(), *own, str(DRIVER), *map(str, objects), "-o", str(program)])
    return program


def bits(*command: str) -> list[str] | None:
    """A line a kernel, or None where the machine has not the instruction set."""
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if found.returncode == NOT_HERE:
        return None
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout.splitlines()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    return link_driver(folder, build.compile_units(folder, ["-O1"]), build.compiler())


@pytest.fixture(scope="module")
def expected(program: Path) -> list[str]:
    """What plain C++ gives."""
    found = bits(str(program), "portable")
    assert found is not None
    assert len(set(found)) > 400  # the kernels do tell inputs apart
    return found


def differing(found: list[str], expected: list[str]) -> list[str]:
    return [f"{a} / {b}" for a, b in zip(found, expected, strict=True) if a != b]


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["avx512", "avxvnni", "avx2", "neon"])
def test_every_kernel_gives_the_bits_of_plain_cpp(isa: str, program: Path, expected: list[str]) -> None:
    found = bits(str(program), isa)
    if found is None:
        pytest.skip(f"this machine has no {isa}")
    assert not differing(found, expected)


@pytest.mark.slow
def test_arm_gives_the_same_bits(expected: list[str], tmp_path: Path) -> None:
    for tool in (ARM, "qemu-aarch64"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: g++-aarch64-linux-gnu, qemu-user)")
    objects = build.compile_units(tmp_path, ["-O1"], cxx=ARM, machine="aarch64")
    arm = str(link_driver(tmp_path, objects, ARM, ("-static",)))
    for isa in ("neon", "portable"):
        found = bits("qemu-aarch64", "-cpu", "max", arm, isa)
        assert found is not None
        assert not differing(found, expected)
    # A processor without the dot product must not be asked for it.
    assert bits("qemu-aarch64", "-cpu", "cortex-a72", arm, "neon") is None
    assert bits("qemu-aarch64", "-cpu", "cortex-a72", arm, "portable") == expected
