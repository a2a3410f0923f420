"""The codec's bench runs and says what it promises."""

from __future__ import annotations

import json

import torch

from tokenloom.bench import codec
from tokenloom.codec.config import ImageCodecConfig


def test_the_bench_measures_both_loops() -> None:
    threads = torch.get_num_threads()
    said: list[str] = []
    tiny = ImageCodecConfig(size=32, widths=(8, 16), encoder=(1, 1), decoder=(1, 1))
    try:
        found = codec.run(rounds=1, threads=1, rows=2, steps=1, config=tiny, say=said.append)
    finally:
        torch.set_num_threads(threads)
    assert said, "how it goes is told"
    assert json.loads(json.dumps(found)) == found, "it is a line of JSON"
    for kind in ("alone", "adversary"):
        assert found[kind]["tokenloom_pictures_s"] > 0
        assert found[kind]["ratio"] > 0
