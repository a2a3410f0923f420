"""Pulling from a Hub: whole, interrupted, resumed, damaged, refused. Against a server on 127.0.0.1."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from fake_hub import COMMIT, Hub
from huggingface_hub import constants
from tiny_speech import tiny_speaker

from tokenloom import hub
from tokenloom.hub import PullError
from tokenloom.hub.card import card_of

WEIGHTS = os.urandom(300_000)
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "README.md": b"card",
    "LICENSE": b"free",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickle",
    "onnx/model.onnx": b"x",
    "run.py": b"print()",
}


def files_of(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_repository_arrives_whole_and_only_what_is_wanted(hub_server: Hub, home: Path) -> None:
    hub_server.repos["org/tiny"] = MODEL
    seen: list[tuple[int, int | None]] = []
    found = hub.pull("org/tiny", lambda done, total: seen.append((done, total)))
    assert (found.name, found.kind, found.entry) == ("org/tiny", "hub", None)
    wanted = {"config.json", "tokenizer.json", "README.md", "LICENSE", "model.safetensors"}
    assert files_of(found.path) == {*wanted, "pulled.json"}
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    record = json.loads((found.path / "pulled.json").read_text())
    assert record["commit"] == COMMIT
    assert set(record["files"]) == wanted
    total = sum(len(MODEL[n]) for n in wanted)
    assert seen[-1] == (total, total)
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    assert hub.find("org/tiny") == found
    assert hub.installed() == [found]
    assert hub.disk_use(found) >= total
    asked = len(hub_server.asked)
    assert hub.pull("org/tiny") == found
    assert len(hub_server.asked) == asked, "a second pull fetches nothing"


def test_a_picture_models_codec_and_judge_come_with_it(hub_server: Hub) -> None:
    parts = {f"{part}/{name}" for part in ("codec", "judge") for name in ("config.json", "model.safetensors")}
    repo = {**MODEL, **{name: name.encode() for name in parts}, "codec/deep/model.safetensors": b"x"}
    repo |= {"codec/run.py": b"print()", "other/config.json": b"{}"}
    hub_server.repos["org/painter"] = repo
    hub_server.cut["judge/model.safetensors"] = 5
    with pytest.raises(PullError, match="goes on from there"):
        hub.pull("org/painter")
    hub_server.cut.clear()
    found = hub.pull("org/painter")
    lie = {str(p.relative_to(found.path)) for p in found.path.rglob("*") if p.is_file()}
    assert (
        lie
        == {"config.json", "tokenizer.json", "README.md", "LICENSE", "model.safetensors", "pulled.json"}
        | parts
    )
    assert (found.path / "judge" / "model.safetensors").read_bytes() == b"judge/model.safetensors"
    assert hub_server.ranges("judge/model.safetensors")[-1] == "bytes=5-"


def test_a_speaking_models_codec_of_sound_comes_with_it(hub_server: Hub, tmp_path: Path) -> None:
    folder = tiny_speaker(tmp_path / "speaker")
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert {"sound/config.json", "sound/model.safetensors"} <= set(files)
    hub_server.repos["org/speaker"] = {**files, "sound/run.py": b"print()", "judge/config.json": b"{}"}
    found = hub.pull("org/speaker").path
    lie = {str(p.relative_to(found)): p.read_bytes() for p in found.rglob("*") if p.is_file()}
    assert lie.pop("pulled.json")
    assert lie == files, "the model whole, and nothing else"
    assert card_of(found).abilities == ("speak",)


def test_a_folder_of_sounds_is_no_codec(hub_server: Hub) -> None:
    hub_server.repos["org/text"] = {**MODEL, "sound/model.safetensors": b"x", "sound/README.md": b"bells"}
    assert not (hub.pull("org/text").path / "sound").exists()


def test_the_catalogues_name_and_the_repositorys_are_one_model(hub_server: Hub) -> None:
    hub_server.repos["Qwen/Qwen3-0.6B"] = MODEL
    found = hub.pull("Qwen/Qwen3-0.6B")
    assert found.name == "qwen3-0.6b"
    assert found.entry is not None
    assert found.entry.licence == "Apache-2.0"
    assert hub.find("qwen3-0.6b") == hub.find("Qwen/Qwen3-0.6B") == found


def test_a_broken_transfer_is_kept_and_continued(hub_server: Hub, home: Path) -> None:
    hub_server.repos["org/tiny"] = MODEL
    hub_server.cut["model.safetensors"] = 120_000
    with pytest.raises(PullError, match="connection"):
        hub.pull("org/tiny")
    assert not (home / "models" / "org--tiny").exists(), "no half model under its name"
    with pytest.raises(hub.NotInstalled, match="loom pull org/tiny"):
        hub.find("org/tiny")
    [part] = (home / "models" / ".partial" / "org--tiny").glob("*.part")
    assert part.read_bytes() == WEIGHTS[:120_000]
    hub_server.cut.clear()
    hub_server.asked.clear()
    starts: list[int] = []
    found = hub.pull("org/tiny", lambda done, total: starts.append(done))
    assert hub_server.asked[0][:2] == ("model.safetensors", "bytes=120000-"), (
        "small files are not asked again"
    )
    assert starts[0] < starts[-1]
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS


def test_ctrl_c_leaves_a_state_that_resumes(hub_server: Hub, home: Path) -> None:
    hub_server.repos["org/tiny"] = {**MODEL, "model.safetensors": WEIGHTS * 60}

    def stop(done: int, total: int | None) -> None:
        if done > 9_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.pull("org/tiny", stop)
    assert not (home / "models" / "org--tiny").exists()
    [part] = (home / "models" / ".partial" / "org--tiny").glob("*.part")
    size = part.stat().st_size
    assert size > 9_000_000
    found = hub.pull("org/tiny")
    assert hub_server.ranges("model.safetensors") == [None, f"bytes={size}-"]
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS * 60


def test_a_server_without_ranges_starts_over_and_is_right(hub_server: Hub) -> None:
    hub_server.repos["org/tiny"] = MODEL
    hub_server.cut["model.safetensors"] = 1000
    with pytest.raises(PullError):
        hub.pull("org/tiny")
    hub_server.cut.clear()
    hub_server.no_ranges = True
    assert (hub.pull("org/tiny").path / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_file_is_refused_and_deleted(hub_server: Hub, home: Path, name: str) -> None:
    hub_server.repos["org/tiny"] = MODEL
    hub_server.served[name] = bytes(len(MODEL[name]))
    with pytest.raises(PullError, match=f"{name} of org/tiny arrived damaged"):
        hub.pull("org/tiny")
    assert not list(home.rglob(f"{name}*"))
    assert hub.installed() == []
    hub_server.served.clear()
    assert (hub.pull("org/tiny").path / name).read_bytes() == MODEL[name]


def test_a_part_of_another_commit_is_not_continued(hub_server: Hub, home: Path) -> None:
    hub_server.repos["org/tiny"] = MODEL
    hub_server.cut["model.safetensors"] = 1000
    with pytest.raises(PullError):
        hub.pull("org/tiny")
    hub_server.cut.clear()
    newer = os.urandom(5000)
    hub_server.repos["org/tiny"] = {**MODEL, "model.safetensors": newer}
    found = hub.pull("org/tiny")
    assert (found.path / "model.safetensors").read_bytes() == newer
    assert not list(home.rglob("*.part"))


def test_token_and_gate(hub_server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.repos["org/tiny"] = MODEL
    hub_server.token = "hf_secret"
    with pytest.raises(PullError, match="HF_TOKEN"):
        hub.pull("org/tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub_server.gated.add("org/tiny")
    with pytest.raises(PullError, match="gated"):
        hub.pull("org/tiny")
    hub_server.gated.clear()
    hub.pull("org/tiny")
    assert {auth for _, _, auth in hub_server.asked} == {"Bearer hf_secret"}


def test_the_token_does_not_follow_a_redirect(hub_server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.repos["org/tiny"] = MODEL
    hub_server.token = "hf_secret"
    hub_server.redirect = hub_server.url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.pull("org/tiny")
    fetched = [(f, auth) for f, _, auth in hub_server.asked if not f.startswith("redirect")]
    assert len(fetched) == 5
    assert all(auth is None for _, auth in fetched)


def test_revision_and_choice_are_models_of_their_own(hub_server: Hub) -> None:
    ggufs = {f"m-{t}.gguf": f"GGUF {t}".encode() for t in ("Q4_K_M", "Q8_0", "F16")}
    hub_server.repos["org/ggufs"] = {**ggufs, "README.md": b"card", "config.json": b"{}"}
    plain = hub.pull("org/ggufs")
    assert plain.path.name == "m-Q4_K_M.gguf"
    assert plain.kind == "gguf"
    assert hub.pull("org/ggufs:q8_0").path.read_bytes() == b"GGUF Q8_0"
    tagged = hub.pull("org/ggufs@v1:m-F16.gguf")
    assert tagged.path.name == "m-F16.gguf"
    assert {f.name for f in hub.installed()} == {"org/ggufs", "org/ggufs:q8_0", "org/ggufs@v1:m-F16.gguf"}
    assert hub.remove("org/ggufs:q8_0") > 0
    with pytest.raises(hub.NotInstalled):
        hub.find("org/ggufs:q8_0")
    assert hub.find("org/ggufs") == plain
    with pytest.raises(PullError, match="no revision 'v9'"):
        hub.pull("org/ggufs@v9")
    with pytest.raises(PullError, match=r"no GGUF file matches 'Q2_K'.*m-F16\.gguf, m-Q4_K_M\.gguf"):
        hub.pull("org/ggufs:Q2_K")


def test_several_forms_ask_for_one(hub_server: Hub) -> None:
    hub_server.repos["org/ggufs"] = {"m-Q4_0.gguf": b"4", "m-Q8_0.gguf": b"8"}
    hub.pull("org/ggufs:Q4_0")
    assert hub.find("org/ggufs").name == "org/ggufs:Q4_0", "the only form that is here"
    hub.pull("org/ggufs:Q8_0")
    with pytest.raises(hub.NotInstalled, match="org/ggufs:Q4_0, org/ggufs:Q8_0"):
        hub.find("org/ggufs")


def test_pickles_are_refused_by_name(hub_server: Hub, home: Path) -> None:
    hub_server.repos["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"x"}
    with pytest.raises(PullError, match=r"pytorch_model\.bin.*safetensors or GGUF"):
        hub.pull("org/old")
    assert hub_server.asked == []


def test_plain_words_for_what_is_not_there(hub_server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PullError, match="no repository 'org/none'"):
        hub.pull("org/none")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PullError, match=r"connection to http://127\.0\.0\.1:9 failed.*offline"):
        hub.pull("org/none")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PullError, match="HF_HUB_OFFLINE is set"):
        hub.pull("org/none")


def test_a_full_disk_is_said_before(hub_server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenloom.hub import store

    hub_server.repos["org/tiny"] = MODEL
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 60 << 20})())
    with pytest.raises(PullError, match=r"63 MB free.*TOKENLOOM_HOME"):
        hub.pull("org/tiny")
    assert hub_server.asked == []


def test_two_pulls_at_once_fetch_once(hub_server: Hub) -> None:
    hub_server.repos["org/tiny"] = MODEL
    gate, results = threading.Barrier(4), []

    def work() -> None:
        gate.wait()
        results.append(hub.pull("org/tiny"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == 4
    assert len(set(map(str, results))) == 1
    assert hub_server.ranges("model.safetensors") == [None]


def test_names_from_the_server_stay_inside_the_folder(hub_server: Hub, home: Path) -> None:
    hub_server.repos["org/evil"] = {**MODEL, "../../escape.json": b"{}", "..\\up.json": b"{}"}
    found = hub.pull("org/evil")
    assert not list(home.rglob("*escape*"))
    assert not list(home.rglob("*up.json"))
    assert (found.path / "config.json").is_file()
