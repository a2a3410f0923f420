"""The measurement of data preparation: its documents are the same each time, its line holds the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenloom.bench.data import documents, prose, run


def test_documents_are_real_prose_and_the_same_each_time() -> None:
    made = documents(prose(), 0.3)
    assert made == documents(prose(), 0.3)
    assert made != documents(prose(), 0.3, seed=1)
    size = sum(len(r.text.encode()) for r in made)
    assert 0.3e6 <= size < 0.32e6
    assert 0.02 < 1 - len({r.text for r in made}) / len(made) < 0.2  # some are exact duplicates


def test_the_line_of_a_run(tmp_path: Path) -> None:
    said: list[str] = []
    line = run(megabytes=0.1, workers=1, rounds=1, say=said.append)
    assert json.loads(json.dumps(line)) == line
    assert line["equal"] is True
    assert 0 < line["documents_out"] < line["documents"]
    assert min(line["mb_s_core"], line["mb_s_cpu"], line["mb_s_workers"]) > 0
    assert len(said) == 2
    short = tmp_path / "short.txt"
    short.write_text("One sentence only.")
    with pytest.raises(ValueError, match="text: found 0 sentences"):
        run(short)
