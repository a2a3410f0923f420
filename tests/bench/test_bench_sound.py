"""The bench of sound takes whole sentences, half of them hard to read, and says its figures."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tokenloom.bench import sound

PLAIN = ["The weaver went to the market with her two sisters on that day.",
         "Nobody had told the baker that the flour was already gone.",
         "A loom stands in the corner where the light is best.",
         "They spoke about the weather until the kettle began to sing."]  # fmt: skip
MARKED = ["Mr. Hall paid 25 dollars for the lamp on the 3rd of May.",
          "In 1961 the bridge was 412 feet long and 30 feet wide."]  # fmt: skip
CUT = [
    "and so it went on for a long while without an end.",
    "Too short.",
    "This one leads to the house of Mr.",
]


def test_whole_sentences_are_taken_and_half_of_them_are_hard() -> None:
    text = "\n\n".join([*PLAIN, *MARKED, *CUT, PLAIN[0]])
    found = sound.sentences(text, 4)
    assert sorted(found[:2]) == sorted(MARKED)
    assert len(set(found)) == 4
    assert set(found[2:]) <= set(PLAIN)
    assert found == sound.sentences(text, 4)
    with pytest.raises(ValueError, match="text: found 6 sentences of 8 to 32 words; allowed: 7 or more"):
        sound.sentences(text, 7)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hibari") is None, reason="needs the embedded voice")
def test_every_figure_is_measured(tmp_path: Path) -> None:
    text = tmp_path / "prose.txt"
    text.write_text("\n\n".join([*PLAIN, *MARKED]))
    said: list[str] = []
    found = sound.run(text, n=3, rounds=1, say=said.append)
    assert json.loads(json.dumps(found)) == found
    names = ["first_sound_ms", "first_sound_cold_s", "speech_x_real_time", "compose_s", "play_x_real_time"]
    for name in names:
        assert found[name] > 0
        assert any(line.startswith(f"{name}: ") for line in said)
    assert found["word_errors"] is None or 0 <= found["word_errors"] < 1
