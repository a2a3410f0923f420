"""The catalogue, names, local models, removal, and the rule that picks a repository's files. No network."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom import config, hub
from tokenloom.hub import NotInstalled, PullError, UnknownModel
from tokenloom.hub.choose import choose, of_type
from tokenloom.hub.entries import parse_catalogue
from tokenloom.hub.fetch import parse
from tokenloom.hub.hashes import git_hash_of

GGUF = b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
SAFE = struct.pack("<Q", 2) + b"{}"
GOOD = """
[tiny]
source = "hub:org/tiny"
revision = "main"
size = 1
params = 1
licence = "MIT"
abilities = ["chat"]
languages = ["en"]
context = 8
summary = {en = "a", zh = "b"}
"""


def test_home_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path / "a"))
    assert config.home() == tmp_path / "a"
    monkeypatch.setenv("TOKENLOOM_HOME", "~/b")
    assert config.home() == Path.home() / "b"
    monkeypatch.delenv("TOKENLOOM_HOME")
    assert config.home() == Path.home() / ".tokenloom"


def test_the_shipped_catalogue() -> None:
    entries = hub.catalogue()
    assert entries["smollm2"].size == 98_362_432
    assert entries["smollm2"].languages == ("en",)
    assert sum("transcribe" in entry.abilities for entry in entries.values()) == 1
    for entry in entries.values():
        if "transcribe" in entry.abilities:
            continue
        assert entry.context >= 8192
        assert ("zh" in entry.languages) == ("Qwen" in entry.origin), entry.name
        assert bool(entry.sha256) == (entry.road == "pypi"), "no hash that was not measured"
        assert any("一" <= c <= "鿿" for c in entry.summary["zh"])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("licence", "license", r"\[tiny\] has unknown \['license'\]"),
        ('revision = "main"\n', "", r"lacks \['revision'\]"),
        ("hub:org/tiny", "https://x", "source is 'https://x'"),
        ("hub:org/tiny", "pypi:tiny", "comes in a wheel"),
        (', zh = "b"', "", "summary needs exactly en and zh"),
        ("[tiny]", '["Ti--ny"]', "is no name"),
    ],
)
def test_a_wrong_catalogue_names_the_fault(old: str, new: str, complaint: str) -> None:
    assert parse_catalogue(GOOD)["tiny"].origin == "org/tiny"
    with pytest.raises(ValueError, match=complaint):
        parse_catalogue(GOOD.replace(old, new))


def test_names_say_what_they_are() -> None:
    wanted = parse("org/name@refs/pr/1:Q4_K_M")
    assert (wanted.repo, wanted.revision, wanted.choice) == ("org/name", "refs/pr/1", "Q4_K_M")
    assert parse("Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0").name == "qwen2.5-0.5b"
    assert parse("Qwen/Qwen2.5-0.5B-Instruct-GGUF").name == "Qwen/Qwen2.5-0.5B-Instruct-GGUF"
    for name in ("", "nope", "a/b/c", "a/../b", "a b/c", "org/name:", "org--a/b", "a/b@../../x"):
        with pytest.raises(UnknownModel, match="smollm2"):
            parse(name)


@given(st.text(max_size=40))
def test_any_name_is_answered_in_words(name: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        hub.find(name)


@pytest.mark.parametrize("name", ["~0", "~nosuchuser/foo", "~nosuchuser/a.gguf"])
def test_a_tilde_that_is_nobodys_is_an_unknown_name(name: str) -> None:
    for ask in (hub.find, hub.pull, hub.remove):
        with pytest.raises(UnknownModel, match="there is no model"):
            ask(name)


def test_a_missing_model_says_what_to_do() -> None:
    with pytest.raises(NotInstalled, match="loom pull smollm2"):
        hub.find("smollm2")
    with pytest.raises(NotInstalled, match="loom pull org/name"):
        hub.find("org/name")
    with pytest.raises(NotInstalled, match="Nor is there such a folder or file in /"):
        hub.find("org/name")
    with pytest.raises(UnknownModel) as error:
        hub.find("smolm2")
    said = str(error.value)
    assert said.startswith(
        "there is no model 'smolm2'; did you mean 'smollm2'? There are, on this machine, in "
    )
    assert f"{config.models_home()}: none; with Tokenloom: " in said
    assert re.search(r"to be fetched by `loom pull`: .*\bsmollm2\b", said)
    assert f"a path is looked for from {Path.cwd()}" in said
    with pytest.raises(UnknownModel, match="no model file or folder at"):
        hub.find("./nothing.gguf")


def test_a_model_put_there_by_hand_is_found(home: Path) -> None:
    folder = home / "models" / "smollm2"
    folder.mkdir(parents=True)
    (folder / "any.gguf").write_bytes(b"GGUF")
    assert hub.find("smollm2").entry == hub.catalogue()["smollm2"]
    assert hub.pull("smollm2").path == folder / "any.gguf"


def test_a_local_file_is_registered_where_it_lies(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "My Model.Q8_0.gguf"
    file.write_bytes(GGUF)
    found = hub.pull(str(file))
    assert (found.name, found.path, found.kind) == ("my-model.q8_0", file, "gguf")
    assert hub.find("my-model.q8_0") == found
    assert hub.pull(str(file)) == found
    assert hub.disk_use(found) == len(GGUF)
    assert hub.find(str(file)).path == file
    hub.remove("my-model.q8_0")
    assert file.exists(), "only the pointer goes"
    assert hub.installed() == []
    with pytest.raises(UnknownModel):
        hub.remove("my-model.q8_0")


@pytest.mark.parametrize("data", [b"", b"GGUF", b"GGUF" * 100, b"not one", GGUF[:-4]])
def test_a_damaged_file_is_not_registered(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "bad.gguf"
    file.write_bytes(data)
    with pytest.raises(PullError, match=r"bad\.gguf.*nothing was registered"):
        hub.pull(str(file))
    assert hub.installed() == []


def test_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    with pytest.raises(PullError, match="is no model folder"):
        hub.pull(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(PullError, match=r"pickles only \(pytorch_model\.bin\)"):
        hub.pull(str(folder))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(PullError, match="nothing was registered"):
        hub.pull(str(folder), alias="mine")
    (folder / "model.safetensors").write_bytes(SAFE)
    (folder / "config.json").write_text("[")
    with pytest.raises(PullError, match=r"config\.json is not JSON.*nothing was registered"):
        hub.pull(str(folder), alias="mine")
    assert hub.installed() == []
    (folder / "config.json").write_text("{}")
    found = hub.pull(str(folder), alias="mine")
    assert (found.name, found.path, found.kind) == ("mine", folder, "hub")
    monkeypatch.chdir(tmp_path)
    assert hub.find("trained").path == folder
    other = tmp_path / "other"
    folder.rename(other)
    with pytest.raises(NotInstalled, match="which is gone; `loom remove mine`"):
        hub.find("mine")
    with pytest.raises(PullError, match="named 'mine' is here already"):
        hub.pull(str(other), alias="mine")
    with pytest.raises(PullError, match="name of the catalogue"):
        hub.pull(str(other), alias="smollm2")
    with pytest.raises(PullError, match="no name for a model"):
        hub.pull(str(other), alias="../up")
    assert hub.remove("mine") > 0
    assert other.is_dir()


def test_local_pickles_and_other_files_are_refused(tmp_path: Path) -> None:
    for name, complaint in (("m.pt", "is a pickle"), ("m.onnx", "is no model")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(PullError, match=complaint):
            hub.pull(str(tmp_path / name))
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PullError, match=r"several GGUF files.*a\.gguf, b\.gguf"):
        hub.pull(str(tmp_path))


def test_remove_also_clears_what_a_broken_pull_left(home: Path) -> None:
    partial = home / "models" / ".partial" / "org--tiny"
    partial.mkdir(parents=True)
    (partial / "model.safetensors.abc.part").write_bytes(bytes(1000))
    assert hub.remove("org/tiny") == 1000
    assert not partial.exists()


@pytest.mark.parametrize("name", [".", "..", "../x", ".partial", ".locks", "", "/"])
def test_remove_cannot_leave_its_folder(home: Path, name: str) -> None:
    outside = home / "keep"
    outside.write_text("x")
    (home / "models" / ".partial").mkdir(parents=True)
    with pytest.raises(ValueError):
        hub.remove(name)
    assert outside.exists()
    assert (home / "models" / ".partial").is_dir()


def test_the_rule_for_files() -> None:
    kind, files = choose("o/r", ["config.json", "model.safetensors", "consolidated.safetensors", "a.gguf"])
    assert (kind, files) == ("hub", ["config.json", "model.safetensors"])
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = "model.safetensors.index.json"
    assert choose("o/r", ["config.json", *shards, index])[1] == ["config.json", index, *shards]
    with pytest.raises(PullError, match=r"without model\.safetensors\.index\.json"):
        choose("o/r", ["config.json", *shards])
    assert choose("o/r", ["m.Q2_K.gguf", "mmproj-m.gguf"])[1] == ["m.Q2_K.gguf"]
    assert choose("o/r", ["m-Q5_0.gguf", "m-Q8_0.gguf", "LICENSE"])[1] == ["m-Q8_0.gguf", "LICENSE"]
    assert choose("o/r", ["m-Q8_0.gguf", "m-Q4_K_M.gguf"])[1] == ["m-Q4_K_M.gguf"]
    with pytest.raises(PullError, match=r"pick one as o/r:FILE of: m-F16\.gguf, m-Q5_0\.gguf"):
        choose("o/r", ["m-Q5_0.gguf", "m-F16.gguf"])
    with pytest.raises(PullError, match="2 GGUF files match 'Q4_K_M'"):
        choose("o/r", ["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], "Q4_K_M")
    with pytest.raises(PullError, match="only split GGUF"):
        choose("o/r", ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"])
    with pytest.raises(PullError, match="is an adapter"):
        choose("o/r", ["adapter_config.json", "adapter_model.safetensors"])
    with pytest.raises(PullError, match="it has nothing"):
        choose("o/r", [])
    assert choose("o/r", ["config.json", "model.safetensors", "a.gguf"], "safetensors")[0] == "hub"
    assert choose("o/r", ["sub/a-Q8_0.gguf"])[1] == ["sub/a-Q8_0.gguf"]


def test_a_block_type_is_a_whole_word() -> None:
    names = ["m-Q4_K_M.gguf", "m.q4_k_m.gguf", "m-IQ4_K_M.gguf", "m-Q4_K_M_L.gguf", "q4_k_m.gguf"]
    assert of_type(names, "Q4_K_M") == ["m-Q4_K_M.gguf", "m.q4_k_m.gguf", "q4_k_m.gguf"]
    assert of_type(names, "Q4_K") == []


def test_git_hash_is_gits(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"hello\n")
    assert git_hash_of(tmp_path / "f") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_damaged_record_is_said(home: Path) -> None:
    folder = home / "models" / "org--x"
    folder.mkdir(parents=True)
    (folder / "pulled.json").write_text("{")
    with pytest.raises(PullError, match=r"pulled\.json is damaged"):
        hub.find("org/x")
    assert hub.installed() == []
    assert os.listdir(folder) == ["pulled.json"]
