"""What is counted of a sound beside the one it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from tokenloom.evals.sound import (
    Spoken,
    codec_figures,
    heard_figures,
    mean_stoi,
    plain_words,
    stoi,
    word_errors,
)


def voice(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes four times a second, as syllables do."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 16_000)
    loud = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * np.arange(n) / 16_000 + rng.uniform(0, 6))
    return (rng.standard_normal(n) * loud * 0.1).astype(np.float32)


def test_intelligibility_is_one_for_the_same_and_falls_with_noise() -> None:
    real = voice()
    assert stoi(real, real, 16_000) == pytest.approx(1.0, abs=1e-6)
    assert stoi(real, real * np.float32(0.1), 16_000) == pytest.approx(
        1.0, abs=1e-3
    )  # loudness as a whole does not count
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(len(real)).astype(np.float32)
    found = [stoi(real, real + np.float32(size) * noise, 16_000) for size in (0.02, 0.1, 0.5)]
    assert 1 > found[0] > found[1] > found[2]
    # pystoi 0.4.1, which takes another filter on the way to 10 kHz, counts 0.9673, 0.5369 and 0.0945
    assert found == pytest.approx([0.9673, 0.5369, 0.0945], abs=3e-3)
    assert stoi(real, voice(seed=5), 16_000) < 0.5


def test_silence_around_speech_does_not_count() -> None:
    real = voice()
    still = np.zeros(16_000, np.float32)
    rng = np.random.default_rng(1)
    made = real + 0.05 * rng.standard_normal(len(real)).astype(np.float32)
    bare = stoi(real, made, 16_000)
    assert stoi(np.concatenate([still, real]), np.concatenate([still, made]), 16_000) == pytest.approx(
        bare, abs=0.02
    )


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="made: found the shape"):
        stoi(voice(), voice()[:-1], 16_000)
    with pytest.raises(ValueError, match=r"real: found \d+ frames that are loud enough; allowed: 30"):
        stoi(voice(0.2), voice(0.2), 16_000)
    with pytest.raises(ValueError, match="loud enough"):
        stoi(np.zeros(100, np.float32), np.zeros(100, np.float32), 16_000)
    both = np.stack([voice(), np.zeros(32_000, np.float32)])
    assert mean_stoi(both, both, 16_000) == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(mean_stoi(both[1:], both[1:], 16_000))


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("Turn on the light.", "turn on the light", 0),
        ("Turn on the light.", "turn the light", 1),
        ("Turn on the light.", "turn it on the bright light", 2),
        ("It is 7:30 pm.", "It is 7:30 pm", 0),
        ("$4.50, please.", "$4.50 please", 0),
        ("29 percent.", "29%.", 2),
        ("Stop.", "", 1),
        ("a b c", "x y z", 3),
    ],
)
def test_words_that_are_wrong(said: str, heard: str, errors: int) -> None:
    assert word_errors(said, heard) == (errors, len(plain_words(said)))


def test_words_keep_the_marks_within_numbers() -> None:
    assert plain_words("It's 7:30, or 4.5% -- 'no'!") == ["it's", "7:30", "or", "4.5%", "'no'"]


def test_a_codec_and_what_is_heard_of_it() -> None:
    class Halved:
        rate, n_codes = 16_000, 65_536

        def encode(self, samples: np.ndarray, rate: int | None = None) -> np.ndarray:
            return np.round(samples * 32767).astype(np.int64) + 32768

        def decode(self, codes: np.ndarray) -> np.ndarray:
            return ((codes - 32768) / 32767).astype(np.float32)

    some = [Spoken("one two", voice(seed=1)), Spoken("three", voice(seed=2))]
    told: list[int] = []
    figures, made = codec_figures(Halved(), some, lambda a, b: float(np.abs(a - b).max()), told.append)
    assert told == [1, 2]
    assert figures["stoi"] == pytest.approx(1.0, abs=1e-4)
    assert figures["mel_db"] < 1e-4
    assert figures["n"] == 2
    answers = iter(["one two", "one too", "three", "three"])
    heard = heard_figures(some, made, lambda samples: next(answers))
    assert heard == {
        "word_errors_original": 0.0,
        "word_errors_made": pytest.approx(1 / 3),
        "words_apart": pytest.approx(1 / 3),
        "words": 3,
    }
