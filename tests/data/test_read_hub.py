"""Data sets by name, streamed from a Hub on this machine in a process of its own, as a user's would be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fake_data_hub import DataHub, data_hub
from pyarrow import parquet

from tokenloom.data.hub_sets import HubSet, parse
from tokenloom.data.read import read
from tokenloom.data.record import DataError

CODE = """
import json, sys
from tokenloom.data.conversations import read_conversations
from tokenloom.data.read import read
for name in sys.argv[2:]:
    out = {"texts": [], "places": [], "bad": [], "notes": [], "error": ""}
    try:
        if sys.argv[1] == "text":
            bad = lambda b: out["bad"].append(str(b))
            for r in read([name], on_bad=bad, on_note=out["notes"].append, online=True):
                out["texts"].append(r.text); out["places"].append(r.source)
        else:
            for c in read_conversations([name], on_dropped=lambda d: out["bad"].append(str(d)), online=True):
                out["texts"].append(c.messages); out["places"].append(c.source)
    except ValueError as error:
        out["error"] = f"{type(error).__name__}: {error}"
    print("=>" + json.dumps(out), flush=True)
"""


def table(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def hub() -> Iterator[DataHub]:
    with data_hub() as made:
        yield made


def ask(hub: DataHub, folder: Path, kind: str, *names: str) -> list[dict[str, Any]]:
    environment = {  # its own Hub, and nothing else
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0", "NO_PROXY": "*", "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    environment.pop("HF_TOKEN", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE, kind, *names],
        capture_output=True,
        text=True,
        env=environment,
        timeout=200,
    )
    answers = [json.loads(line[2:]) for line in done.stdout.splitlines() if line.startswith("=>")]
    assert len(answers) == len(names), done.stderr[-3000:]
    return answers


@pytest.mark.slow
def test_sets_are_streamed_by_name_config_and_split(hub: DataHub, tmp_path: Path) -> None:
    rows = [{"text": f"row {n}", "id": n} for n in range(3)]
    hub.sets["org/plain"] = {"data.jsonl": lines([*rows, {"text": None, "id": 3}])}
    hub.sets["org/split"] = {
        "data/train-00000-of-00001.parquet": table(rows),
        "data/test-00000-of-00001.parquet": table(rows[:1]),
    }
    card = "configs:\n- config_name: en\n  data_files: en.jsonl\n- config_name: zh\n  data_files: zh.jsonl\n"
    hub.sets["org/two"] = {
        "README.md": f"---\n{card}---\n".encode(),
        "en.jsonl": lines([{"text": "word"}]),
        "zh.jsonl": lines([{"text": "字"}]),
    }
    hub.sets["org/other"] = {"a.jsonl": lines([{"body": "x"}])}
    hub.sets["org/broken"] = {"a.parquet": table(rows)}
    hub.broken.add("a.parquet")
    names = [
        "org/plain", "org/split", "org/split:test", "org/split:default:test", "org/split@main:train",
        "org/two:zh", "org/two", "org/split:nope", "org/two:fr:train", "org/none", "org/other", "org/broken",
    ]  # fmt: skip
    answers = dict(zip(names, ask(hub, tmp_path, "text", *(f"hub:{name}" for name in names)), strict=True))
    texts = ["row 0", "row 1", "row 2"]
    assert answers["org/plain"]["texts"] == texts
    assert answers["org/plain"]["places"] == [f"hub:org/plain:default:train:{n}" for n in (1, 2, 3)]
    assert answers["org/plain"]["bad"] == [
        "hub:org/plain:default:train:4: field 'text' is null; wanted a text"
    ]
    assert answers["org/split"]["texts"] == texts
    assert answers["org/split:test"]["texts"] == answers["org/split:default:test"]["texts"] == ["row 0"]
    assert answers["org/split@main:train"]["places"][0] == "hub:org/split@main:default:train:1"
    assert answers["org/two:zh"]["texts"] == ["字"]
    assert answers["org/two:zh"]["notes"][0] == "hub:org/two:zh is read as hub:org/two:zh:train"
    errors = {name: answer["error"] for name, answer in answers.items() if answer["error"]}
    assert set(errors) == {*names[6:]}
    assert errors["org/broken"].startswith("DataError: hub:org/broken could not be read")
    assert errors["org/two"] == "DataError: hub:org/two has several configs, name one: en, zh"
    assert errors["org/split:nope"].endswith("has no split 'nope'; its splits are: train, test")
    assert errors["org/two:fr:train"].endswith("has no config 'fr'; it has: en, zh")
    assert "the Hub has no such data set that may be read" in errors["org/none"]
    assert "hub:org/other has no column 'text'; its columns are: body." in errors["org/other"]


@pytest.mark.slow
def test_conversations_come_from_sets_too(hub: DataHub, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [messages[0], {"role": "assistant", "content": "wait", "tool_calls": [called]}]
    hub.sets["org/chat"] = {"train.parquet": table([{"messages": messages}, {"messages": tools}])}
    (answer,) = ask(hub, tmp_path, "chat", "hub:org/chat")
    assert answer["error"] == ""
    assert answer["texts"] == [messages, tools]
    assert answer["places"] == ["hub:org/chat:default:train:1", "hub:org/chat:default:train:2"]


def test_nothing_is_asked_of_the_network_unless_allowed() -> None:
    with pytest.raises(DataError, match="hub:org/plain is on the Hub, and going online was not allowed"):
        read(["hub:org/plain"])
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):  # as it is in these tests
        read(["hub:org/plain"], online=True)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("hub:a/b", (HubSet("a/b"), False)),
        ("hub:a/b:c", (HubSet("a/b", "", "c"), True)),
        ("hub:a/b:c:d", (HubSet("a/b", "", "c", "d"), False)),
        ("hub:a/b::d", (HubSet("a/b", "", "", "d"), False)),
        ("hub:a/b@v1/x:c", (HubSet("a/b", "v1/x", "c"), True)),
    ],
)
def test_names(name: str, wanted: tuple[HubSet, bool]) -> None:
    assert parse(name) == wanted


@pytest.mark.parametrize("name", ["hub:", "hub:a", "hub:a/b/c", "hub:a/b:c:d:e", "hub:a b/c"])
def test_no_names(name: str) -> None:
    with pytest.raises(DataError, match="found no data set's name; allowed: hub:org/name"):
        read([name], online=True)
