"""Builds the native step with the machine's own C++ compiler: `python -m tokenloom.native.build`.

Each instruction set is a file of its own with its own flags; which one runs is chosen when the library is
loaded. Without a compiler nothing is lost but speed: the PyTorch path answers.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).parent / "src"
LIBRARY = Path(__file__).parent / "_step.so"
STAMP = Path(__file__).parent / "_step.sha256"

# Contracting a * b + c would give other bits on other machines; where it is wanted it is written as fma.
COMMON = ("-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-pthread")
WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
)  # GCC 12's own headers trip these
X86 = {
    "kernels_avx512.cpp": [
        "-mavx2",
        "-mfma",
        "-mf16c",
        "-mavx512f",
        "-mavx512bw",
        "-mavx512vl",
        "-mavx512dq",
        "-mavx512vnni",
    ],
    "kernels_avxvnni.cpp": ["-mavx2", "-mfma", "-mf16c", "-mavxvnni"],
    "kernels_avx2.cpp": ["-mavx2", "-mfma", "-mf16c"],
}
ARM = {"kernels_neon.cpp": ["-march=armv8.2-a+dotprod+fp16"]}
EVERYWHERE: dict[str, list[str]] = {"kernels_portable.cpp": [], "dispatch.cpp": [], "model.cpp": []}


class NoCompiler(RuntimeError):
    """There is no C++ compiler here."""


def compiler() -> str:
    """The C++ compiler: $CXX, else the first of c++, g++, clang++ that is installed."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name.split()[0]):
            return name
    raise NoCompiler("no C++ compiler was found (on Debian and Ubuntu: apt-get install g++)")


def units(machine: str) -> dict[str, list[str]]:
    """The files to compile for this kind of machine, each with its own flags."""
    own = X86 if machine in ("x86_64", "AMD64") else ARM if machine in ("aarch64", "arm64") else {}
    return {**EVERYWHERE, **own}


def fingerprint() -> str:
    """sha256 of everything the library is made of; the library is built anew when it changes."""
    text = hashlib.sha256(repr((COMMON, X86, ARM, platform.machine())).encode())
    for path in sorted(SOURCE.iterdir()):
        text.update(path.name.encode() + path.read_bytes())
    return text.hexdigest()


def built() -> bool:
    """Whether the library is here and made of these sources."""
    return LIBRARY.exists() and STAMP.exists() and STAMP.read_text().strip() == fingerprint()


def build(
    target: Path = LIBRARY, flags: Sequence[str] = (), cxx: str | None = None, machine: str | None = None
) -> Path:
    """Compiles and links the library, written beside and renamed.

    flags, cxx and machine as for `compile_units`. Raises NoCompiler, or subprocess.CalledProcessError with
    the compiler's words in `stderr`.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        objects = compile_units(Path(folder), flags, cxx, machine)
        linked = Path(folder) / "step.so"
        run(
            [
                *(cxx or compiler()).split(),
                "-shared",
                "-pthread",
                *flags,
                *map(str, objects),
                "-o",
                str(linked),
            ]
        )
        os.replace(linked, target)
    if target == LIBRARY:
        STAMP.write_text(fingerprint() + "\n")
    return target


def compile_units(
    folder: Path, flags: Sequence[str] = (), cxx: str | None = None, machine: str | None = None
) -> list[Path]:
    """Every file of the library as an object in `folder`.

    flags: more of them for every file (the sanitizers' tests use this). machine: for a cross-compiler `cxx`.
    """
    command = (cxx or compiler()).split()

    def compile_one(item: tuple[str, list[str]]) -> Path:
        name, own = item
        out = folder / f"{name}.o"
        run([*command, *COMMON, *WARNINGS, *own, *flags, "-c", str(SOURCE / name), "-o", str(out)])
        return out

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(compile_one, units(machine or platform.machine()).items()))


def run(command: Sequence[str]) -> None:
    """Runs a compiler, quietly unless it fails."""
    subprocess.run(command, check=True, capture_output=True, text=True)


def main() -> int:
    """Builds if needed; says what is lost where it cannot."""
    if built():
        return 0
    print("Building the native step (about half a minute, once) ...", file=sys.stderr)
    try:
        build()
    except NoCompiler as error:
        print(f"{error}: the slower PyTorch path will answer.", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"{error.stderr[-2000:]}\nThe native step was not built: PyTorch will answer.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
