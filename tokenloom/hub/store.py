"""What is installed: one folder per model under `models_home()`. Fetches nothing.

    models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf, pulled.json      a catalogue model
    models/org--name@rev--Q8_0/...                                   a Hub repository (@revision, :choice)
    models/mine/pulled.json                                          a pointer to a local folder or file
    models/.partial/, models/.locks/                                 pulls under way

A few small models are part of Tokenloom itself (`shipped`): folders inside the package, found by name too.

A model's folder gets its final name only when everything in it was verified, so a folder that is there is
whole. pulled.json says where it came from: name, source, commit, files with size and hash.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenloom.config import models_home, put_json
from tokenloom.hub.entries import Entry, catalogue
from tokenloom.hub.pipeline import PIPELINE, BadPipeline, has_pipeline, read_pipeline

log = logging.getLogger("tokenloom")

RECORD = "pulled.json"
NAMED = re.compile(r"\w[\w.+=@/:-]*")
MARGIN_BYTES = 64 << 20
SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
SHIPPED = Path(__file__).resolve().parent.parent / "models"
"""Where the models lie that come with the package."""
Kind = Literal["gguf", "hub", "ctranslate2"]
"""ctranslate2: a recogniser of speech, which takes no text; see sound.recognise."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class UnknownModel(ValueError):
    """No model of that name exists."""


class NotInstalled(ValueError):
    """The model is known but is not on this machine."""


class PullError(ValueError):
    """A model could not be fetched; the message says why and what to do."""


@dataclass(frozen=True)
class Found:
    """A model on this machine."""

    name: str
    path: Path
    """A .gguf file, or a folder in the Hub's layout."""
    kind: Kind
    entry: Entry | None = None
    """The catalogue's entry, when it is one of the catalogue's."""


def slug(name: str) -> str:
    """The folder name for a model's name: org/name@rev:choice -> org--name@rev--choice."""
    return name.replace("/", "--").replace(":", "--")


def folder_of(name: str) -> Path:
    return models_home() / slug(name)


def partial_of(name: str) -> Path:
    return models_home() / ".partial" / slug(name)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes pulled.json, whole or not at all."""
    put_json(folder / RECORD, record)


def read_record(folder: Path) -> dict[str, Any]:
    """pulled.json of a model's folder; {} where a folder was put there by hand."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise PullError(f"{folder / RECORD} is damaged ({error}); pull the model again") from error
    if not isinstance(record, dict):
        raise PullError(f"{folder / RECORD} is damaged (not an object); pull the model again")
    return record


def weights_in(path: Path) -> tuple[Path, Kind]:
    """(file or folder, kind) of a local model; ValueError says why a path holds none."""
    if path.is_file():
        if path.suffix.lower() == ".gguf":
            return path, "gguf"
        if path.suffix.lower() in PICKLES:
            raise PullError(f"{path} is a pickle, which can run code when opened: give safetensors or GGUF")
        raise PullError(f"{path} is no model: give a .gguf file or a folder with config.json and safetensors")
    names = sorted(p.name for p in path.iterdir())
    if is_recogniser(path):
        return path, "ctranslate2"
    if PIPELINE in names:
        try:
            read_pipeline(path)
        except BadPipeline as error:
            raise PullError(str(error)) from error
        return path, "hub"
    ggufs = [n for n in names if n.lower().endswith(".gguf")]
    if "config.json" in names and any(n.endswith(".safetensors") for n in names):
        return path, "hub"
    if len(ggufs) == 1:
        return path / ggufs[0], "gguf"
    if ggufs:
        raise PullError(f"{path} holds several GGUF files, name one of them: {', '.join(ggufs)}")
    if pickles := [n for n in names if n.lower().endswith(PICKLES)]:
        raise PullError(
            f"{path} holds its weights as pickles only ({', '.join(pickles[:3])}), which can run code when "
            "opened: convert them to safetensors"
        )
    raise PullError(f"{path} is no model folder: it needs config.json and .safetensors files, or one .gguf")


def is_recogniser(folder: Path) -> bool:
    """Whether a folder holds Whisper's weights in CTranslate2's form: numbers after a version and a name."""
    path = folder / "model.bin"
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(32)
    return head[1:4] == b"\0\0\0" and head[6:17] == b"WhisperSpec"


def _open(folder: Path) -> Found:
    record = read_record(folder)
    name = record.get("name", folder.name)
    place = Path(record["path"]) if "path" in record else folder
    if not place.exists():
        raise NotInstalled(
            f"model {name!r} points to {place}, which is gone; `loom remove {name}` forgets it"
        )
    path, kind = weights_in(place)
    return Found(name, path, kind, catalogue().get(name))


def _folders() -> list[Path]:
    place = models_home()
    if not place.is_dir():
        return []
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))


def installed() -> list[Found]:
    """Every whole model under `models_home()` that takes text, by folder name; folders that hold none are
    passed over."""
    return [one for one in _whole() if one.kind != "ctranslate2"]


def recognisers() -> list[Found]:
    """Every whole recogniser of speech under `models_home()`, by folder name."""
    return [one for one in _whole() if one.kind == "ctranslate2"]


def _whole() -> list[Found]:
    found = []
    for folder in _folders():
        try:
            found.append(_open(folder))
        except (PullError, NotInstalled):
            continue
    return found


def shipped() -> list[Found]:
    """The models inside the package, by name."""
    if not SHIPPED.is_dir():
        return []
    folders = sorted(p for p in SHIPPED.iterdir() if (p / "config.json").is_file())
    return [Found(folder.name, *weights_in(folder), catalogue().get(folder.name)) for folder in folders]


def looks_local(name: str) -> bool:
    """Whether a name is meant as a path: by its first characters, its ending, or a model that lies there."""
    if name.startswith((".", "/", "~", "\\")) or name.lower().endswith((".gguf", *PICKLES)):
        return ":" not in name or Path(name).exists()
    place = Path(name)
    here = (place / "config.json").is_file() or has_pipeline(place)
    return place.is_dir() and (here or any(place.glob("*.gguf")))


def local_path(name: str) -> Path:
    """A name that is meant as a path, whole; UnknownModel where its ~ is nobody's home folder."""
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError:
        raise UnknownModel(
            f"there is no model {name!r}: its ~ is no home folder of this machine; `loom models` lists "
            "what there is"
        ) from None


def find(name: str) -> Found:
    """The installed model of this name: a catalogue name, a Hub name already pulled, a registered name, or a
    path to a folder or .gguf file. Raises NotInstalled or UnknownModel, saying what to do."""
    if not looks_local(name):
        if not NAMED.fullmatch(name) or ".." in name:
            raise UnknownModel(f"{name!r} is no name of a model; `loom models` lists what there is")
        if (folder := folder_of(name)).is_dir():
            return _open(folder)
        if found := next((one for one in shipped() if one.name == name), None):
            return found
    if looks_local(name):
        place = local_path(name)
        if not place.exists():
            raise UnknownModel(f"there is no model file or folder at {place}")
        path, kind = weights_in(place)
        return Found(name, path, kind)
    if name in catalogue():
        raise NotInstalled(f"model {name!r} is not on this machine: `loom pull {name}` fetches it")
    if (place := Path(name)).is_dir():
        return Found(name, *weights_in(place))  # says what the folder lacks
    here = [f.name for f in installed()]
    if "/" in name:
        same = [n for n in here if re.split("[@:]", n)[0] == name or _origin(n) == name]
        if len(same) == 1:
            return find(same[0])
        if same:
            raise NotInstalled(f"{name!r} is here in several forms, name one of: {', '.join(same)}")
        raise NotInstalled(
            f"model {name!r} is not on this machine: `loom pull {name}` fetches it from the Hub. Nor is "
            f"there such a folder or file in {Path.cwd()}"
        )
    raise UnknownModel(_unknown(name, here))


def _unknown(name: str, here: list[str]) -> str:
    """What is said of a name that nothing has: the nearest one, what there is, and where was looked."""
    own = [one.name for one in shipped()]
    apart = sorted({*catalogue()} - {*here, *own})
    near = difflib.get_close_matches(name, [*here, *own, *apart], 1)
    there = (
        (f"on this machine, in {models_home()}", here),
        ("with Tokenloom", own),
        ("to be fetched by `loom pull`", apart),
    )
    listed = "; ".join(f"{where}: {', '.join(names) or 'none'}" for where, names in there)
    return (
        f"there is no model {name!r}"
        + (f"; did you mean {near[0]!r}?" if near else ".")
        + f" There are, {listed}. A Hub repository is org/name, and a path is looked for from {Path.cwd()}"
    )


def _origin(name: str) -> str:
    entry = catalogue().get(name)
    return entry.origin if entry and entry.road == "hub" else ""


def disk_use(found: Found) -> int:
    """Bytes of the model's files; a registered local model's are counted where they lie."""
    if found.path.is_file():
        folder = found.path.parent
        if folder.parent != models_home():
            return found.path.stat().st_size
    else:
        folder = found.path
    return bytes_in(folder)


def bytes_in(folder: Path, suffix: str = "") -> int:
    """Of a folder's files whose names end so. What vanishes meanwhile, as pip's files do, counts nothing."""
    size = 0
    for place, _, names in os.walk(folder):  # passes over a folder that is gone, where Path.rglob raises
        for name in names:
            if name.endswith(suffix):
                with suppress(OSError):
                    size += os.path.getsize(os.path.join(place, name))
    return size


def remove(name: str) -> int:
    """Deletes an installed model (a registered local one is only forgotten) and what a broken pull of it
    left. Returns the bytes freed; raises NotInstalled when there is nothing of that name."""
    target = name
    if (
        looks_local(name)
        or not NAMED.fullmatch(name)
        or not (folder_of(name).is_dir() or partial_of(name).is_dir())
    ):
        target = _registered(name)
    with lock(target):
        freed = 0
        folder, partial = folder_of(target), partial_of(target)
        if folder.is_dir():
            grave = models_home() / ".partial" / f".removed-{slug(target)}-{os.getpid()}"
            grave.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder, grave)
            freed += _delete(grave)
        if partial.is_dir():
            freed += _delete(partial)
    return freed


def _registered(name: str) -> str:
    """The installed model a name or path stands for."""
    if looks_local(name):
        place = str(local_path(name))
        for folder in _folders():
            record = read_record(folder)
            if record.get("path") == place:
                return str(record["name"])
        raise NotInstalled(f"{place} is not registered here; nothing was removed")
    if (found := find(name)).path.is_relative_to(SHIPPED):
        raise NotInstalled(f"{name} is part of Tokenloom; it is removed with it")
    return found.name


def _delete(folder: Path) -> int:
    size = bytes_in(folder)
    shutil.rmtree(folder)
    return size


def check_space(need: int, what: str) -> None:
    """PullError with both numbers when `need` bytes and a margin do not fit beside `models_home()`."""
    place = models_home()
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if need + MARGIN_BYTES > free:
        raise PullError(
            f"{what} needs {need / 1e6:,.0f} MB and {MARGIN_BYTES / 1e6:,.0f} MB to spare, but the disk of "
            f"{place} has {free / 1e6:,.0f} MB free; set TOKENLOOM_HOME to a folder on a larger disk"
        )


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Held by one process per model at a time; the others wait."""
    from filelock import FileLock, Timeout

    place = models_home() / ".locks" / f"{slug(name)}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(place)
    try:
        held.acquire(timeout=0)
    except Timeout:
        log.warning("another process is at work on %s; waiting for it", name)
        held.acquire()
    try:
        yield
    finally:
        held.release()
