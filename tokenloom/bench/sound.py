"""How fast sound is made, and whether it is understood: reading aloud, composing and playing on this machine.

Not a codec's quality (`loom audio score`). What is measured, and how:

- first_sound_ms: from the call to the first samples of a sentence, the voice open; the median of sentences.
- first_sound_cold_s: from the start of a process to the same; the median of rounds.
- speech_x_real_time: seconds of speech over the seconds it took, all sentences together.
- word_errors: of a recogniser that hears the sentences, after the English normaliser of Whisper, as
  transformers has it; None where there is no recogniser.
- compose_s: 16 bars as `loom compose` makes them, the model open; play_x_real_time: the synthesiser.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenloom.evals.sound import Listener

WARM = "This is said first, so that everything is there."
COLD = """
import time
from tokenloom.sound.say import pieces_of, say
from tokenloom.sound.voices import choose_voice, open_voice
text = {text!r}
next(iter(say(open_voice(choose_voice(text)), pieces_of(text))))
print(time.time())
"""
WORDS = range(8, 33)
"""Words of a sentence that is taken."""
TITLES = ("Mr.", "Mrs.", "Dr.", "St.")
TUNE = "a lively reel in D"
BARS = 16


def run(
    text: Path,
    *,
    n: int = 50,
    rounds: int = 5,
    recogniser: str | None = None,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Measures with `n` sentences of a text file; says and returns the figures.

    recogniser: its name or folder; None = the one that is here. ValueError where the text has too few
    sentences, or no voice or no composer is here.
    """
    chosen = sentences(text.read_text(encoding="utf-8"), n)
    figures: dict[str, Any] = {"what": "bench sound", "text": text.name, "n": n, "rounds": rounds}
    for part in (_speech(chosen, rounds, recogniser, say), _music(rounds)):
        for name, value in part.items():
            say(f"{name}: {value}")
        figures |= part
    return figures


def sentences(text: str, n: int) -> list[str]:
    """`n` whole sentences, the same ones of the same text: half of them with a number or an abbreviation,
    as far as there are so many."""
    from tokenloom.sound import say as saying

    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    found = [part[a:b].strip() for part in paragraphs for a, b in saying.sentences(part)]
    whole = [one for one in dict.fromkeys(found) if len(one.split()) in WORDS and _whole(one)]
    if len(whole) < n:
        raise ValueError(f"text: found {len(whole)} sentences of 8 to 32 words; allowed: {n} or more")
    random.Random(n).shuffle(whole)
    marked = [one for one in whole if any(c.isdigit() for c in one) or _abbreviates(one)][: n // 2]
    taken = set(marked)
    plain = [one for one in whole if one not in taken]
    return [*marked, *plain[: n - len(marked)]]


def _whole(sentence: str) -> bool:
    return sentence[0].isupper() and sentence[-1] in ".!?" and sentence.split()[-1] not in TITLES


def _abbreviates(sentence: str) -> bool:
    return any(word.endswith(".") and word[0].isupper() and len(word) < 5 for word in sentence.split()[:-1])


def _speech(
    chosen: list[str], rounds: int, recogniser: str | None, say_so: Callable[[str], object]
) -> dict[str, Any]:
    from tokenloom.evals.sound import listener
    from tokenloom.sound.say import pieces_of, say
    from tokenloom.sound.voices import choose_voice, open_voice

    voice = open_voice(choose_voice(WARM))
    list(say(voice, pieces_of(WARM)))
    first, spent, seconds, sounds = [], 0.0, 0.0, []
    for sentence in chosen:
        begun = time.perf_counter()
        parts = iter(say(voice, pieces_of(sentence)))
        said = [next(parts)[1]]
        first.append(time.perf_counter() - begun)
        said += [samples for _, samples in parts]
        spent += time.perf_counter() - begun
        seconds += sum(map(len, said)) / voice.rate
        sounds.append(said)
    figures = {
        "first_sound_ms": round(1000 * statistics.median(first), 1),
        "first_sound_cold_s": round(statistics.median(_cold(chosen[0]) for _ in range(rounds)), 3),
        "speech_s": round(seconds, 1),
        "speech_x_real_time": round(seconds / spent, 1),
    }
    hear = listener(recogniser, voice.rate, say_so)
    return figures | ({"word_errors": None} if hear is None else _understood(chosen, sounds, hear))


def _cold(sentence: str) -> float:
    begun = time.time()
    done = subprocess.run(
        [sys.executable, "-c", COLD.format(text=sentence)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1]) - begun


def _understood(chosen: list[str], sounds: list[Any], hear: Listener) -> dict[str, Any]:
    import numpy as np
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    from tokenloom.evals.sound import word_errors

    plain = EnglishTextNormalizer({})
    wrong = words = 0
    for sentence, said in zip(chosen, sounds, strict=True):
        errors, count = word_errors(plain(sentence), plain(hear(np.concatenate(said))))
        wrong, words = wrong + errors, words + count
    return {"word_errors": round(wrong / words, 4), "words": words, "recogniser": hear.name}


def _music(rounds: int) -> dict[str, Any]:
    from tokenloom.api import load
    from tokenloom.tasks.music_out import samples_of

    music = load("composer").music
    music.compose(TUNE, bars=2, seed=0)
    composed, played = [], []
    for seed in range(rounds):
        begun = time.perf_counter()
        tune = music.compose(TUNE, bars=BARS, seed=seed)[0]
        composed.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        samples_of(tune.score)
        played.append(tune.seconds / (time.perf_counter() - begun))
    return {
        "compose_s": round(statistics.median(composed), 3),
        "play_x_real_time": round(statistics.median(played), 1),
    }
