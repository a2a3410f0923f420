"""What is told while a model trains, and the machine's peak it is held against."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tokenloom.train import peak as peaks
from tokenloom.train.progress import TrainingBar, duration, measuring_bar


def test_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with TrainingBar(
        100, 10, flops_per_token=2e6, peak_flops=1e9, console=Console(file=out), plain_seconds=1000
    ) as bar:
        for step in range(11, 101):
            bar.update(step, loss=1.5, tok_s=250.0)
            if step == 50:
                bar.note("[b] a sample")
    first, note, last = out.getvalue().splitlines()
    assert first.startswith("step 11/100 · loss 1.5000 · 250 tok/s · 50% of peak · ")
    assert note == "[b] a sample"
    assert last.startswith("step 100/100")
    assert last.endswith("0 s left")


def test_a_bar_in_a_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with TrainingBar(10, console=console) as bar:
        bar.update(4, loss=2.0, tok_s=1234.0)
        bar.note("checkpoint at 4")
    shown = out.getvalue()
    assert "4/10" in shown
    assert "loss 2.0000 · 1,234 tok/s" in shown
    assert "of peak" not in shown
    assert "checkpoint at 4" in shown


def test_the_bar_makes_room_for_one_that_measures() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with TrainingBar(10, console=console) as bar:
        bar.update(4, loss=2.0, tok_s=1234.0)
        with bar.paused(), measuring_bar("what may be forgotten", console=console) as told:
            told(3, 8)
        bar.update(5, loss=1.0, tok_s=1234.0)
    shown = out.getvalue()
    assert shown.index("loss 2.0000") < shown.index("measuring what may be forgotten")
    assert shown.rindex("measuring what may be forgotten") < shown.index("loss 1.0000")


def test_measuring_says_little_where_there_is_no_terminal() -> None:
    def said(say: bool, plain_seconds: float) -> list[str]:
        out = io.StringIO()
        with (
            TrainingBar(10, console=Console(file=out)) as bar,
            bar.paused(),
            measuring_bar("texts", say, Console(file=out), plain_seconds) as told,
        ):
            told(4, 8)
            told(8, 8)
        return out.getvalue().splitlines()

    assert said(False, 1000) == []
    assert said(True, 1000) == ["measuring texts"]
    assert said(False, 0) == ["measuring texts · 4/8"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min"), (math.nan, "?")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_best_product_ever_seen_is_the_peak(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "CPU_WIDTH", 128)
    torch.set_num_threads(1)
    found = peaks.peak("float32", seconds=0.05)
    assert 1e8 < found.flops < 1e14
    assert (found.dtype, found.threads) == ("float32", 1)
    assert found.share(found.flops / 2) == 0.5
    kept = json.loads((home / "peak.json").read_text())
    assert list(kept.values()) == [found.flops]
    (home / "peak.json").write_text(json.dumps(dict.fromkeys(kept, 1e18)))
    assert peaks.peak("float32", seconds=0.01).flops == 1e18
    assert peaks.peak("float32", seconds=0.01, fresh=True).flops < 1e14
    (home / "peak.json").write_text(json.dumps(dict.fromkeys(kept, 123.0)))
    assert peaks.peak("float32", seconds=0.01).flops > 1e6, "measured while the machine was busy, it grows"
    assert peaks.peak("bfloat16", seconds=0.01).flops > 1e6
    assert len(json.loads((home / "peak.json").read_text())) == 2


def test_a_damaged_peak_file_is_measured_anew(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "CPU_WIDTH", 64)
    for text in ("{", "[]"):
        (home / "peak.json").write_text(text)
        assert peaks.peak("float32", seconds=0.01).flops > 1e6
        assert len(json.loads((home / "peak.json").read_text())) == 1


def test_what_has_no_peak() -> None:
    with pytest.raises(ValueError, match="dtype: found 'int4'; allowed: bfloat16"):
        peaks.peak("int4")
    with pytest.raises(ValueError, match="device: found 'meta'"):
        peaks.peak("float32", "meta")
