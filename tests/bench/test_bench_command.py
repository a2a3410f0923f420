"""`loom bench` ends with one line of JSON, whatever is measured, and the ledger has the same line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tokenloom import cli
from tokenloom.bench import data, sound, training


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        (data, "run", ["--data"]),
        (training, "run", ["--training"]),
        (training, "packing", ["--packing", "x"]),
        (sound, "run", ["--sound", "x"]),
    ],
)
def test_the_last_line_is_the_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: Any, name: str, words: list[str]
) -> None:
    def measured(*_: object, say: Any, **__: object) -> dict[str, Any]:
        say("on its way")
        return {"what": name, "ratio": 1.5}

    monkeypatch.setattr(module, name, measured)
    ledger = tmp_path / "ledger.jsonl"
    done = CliRunner().invoke(cli.app, ["bench", *words, "--ledger", str(ledger)])
    lines = done.output.splitlines()
    assert (done.exit_code, lines[0]) == (0, "on its way")
    assert lines[-1] == ledger.read_text().strip()
    found = json.loads(lines[-1])
    assert (found["what"], found["ratio"]) == (name, 1.5)
    assert {"commit", "machine"} <= found.keys()
