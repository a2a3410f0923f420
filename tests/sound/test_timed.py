"""The embedded voice with the time of each of its words."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tokenloom.sound import timed
from tokenloom.sound.say import heard_part

pytest.importorskip("hibari")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def voice() -> timed.TimedVoice:
    return timed.TimedVoice()


def test_it_says_what_the_voice_says_and_tells_where_words_end(voice: timed.TimedVoice) -> None:
    phonemes = voice.phonemes("Turn on the  kitchen light.")
    assert len(phonemes.split(" ")) == 5
    said = voice.say(phonemes, seed=3)
    whole = voice._engine.from_phonemes(phonemes, 1.0, seed=3)
    np.testing.assert_array_equal(said.samples, whole[heard_part(whole, voice.rate)])
    words = timed.words_of(said)
    assert [word for word, _, _ in words] == phonemes.split(" ")
    assert words[0][1] == 0
    assert words[-1][2] == len(said.samples)
    assert all(0.04 < (stop - start) / voice.rate < 1 for _, start, stop in words)
    assert all(a[2] == b[1] for a, b in pairwise(words))


def test_a_word_ends_where_the_next_is_not_yet_heard(voice: timed.TimedVoice) -> None:
    said = voice.say(voice.phonemes("Stop, please stop, please stop."))
    loud = np.abs(said.samples).max()
    for _, _, stop in timed.words_of(said)[:-1]:  # each ends and begins with a closed mouth
        assert np.abs(said.samples[stop - 300 : stop + 300]).max() < 0.3 * loud
    counts = np.array([2, 3, 5, 6, 9, 12])
    assert timed.word_ends("ab c", counts) == [4 * timed.TICK]


def test_a_slower_voice_takes_longer_and_unknown_signs_are_left_out(voice: timed.TimedVoice) -> None:
    assert len(voice.say("stˈɑp.", 0.5).samples) > 1.5 * len(voice.say("stˈɑp.", 1.0).samples)
    assert voice.say("st中ˈɑp.").phonemes == "stˈɑp."


def test_a_network_that_tells_no_times(
    tmp_path: Path, voice: timed.TimedVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed, "COUNT", "/nothing")
    with pytest.raises(ValueError, match="it tells no times of phonemes"):
        timed._told(Path(voice._engine.model_path))
