"""Word error rate of the embedded voice, read back by a recogniser: sentences of prose read aloud in groups.

    python scripts/read_back.py --model whisper-base prose.txt more.rst

Sentences are drawn with a seed, most of them with figures, dates or abbreviations. Both sides pass Whisper's
English normaliser (that of the package transformers, without its table of British spellings). Groups of
sentences fill the recogniser's window of 30 s. Prints the worst groups, the rate, and the voice's speed.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from pathlib import Path

import numpy as np
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from tokenloom.sound import say
from tokenloom.sound.audio import resample
from tokenloom.sound.recognise import RATE, Ask, Recogniser, recogniser_folder
from tokenloom.sound.voices import open_voice

MARKED = re.compile(r"\d|\b(?:Mr|Mrs|Dr|St|Capt|No|vs|etc|viz|Dec|Jan|i\.e|e\.g)\.")
MARKUP = re.compile(r"[_*`|:=<>(){}\[\]\\#~]|\b[A-Z]{3,}\b|--")
WINDOW_S = 26.0


def sentences_of(paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        for paragraph in re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="ignore")):
            plain = re.sub(r"\s+", " ", paragraph).strip()
            found += [plain[a:b].strip() for a, b in say.sentences(plain)]
    good = (s for s in found if 8 <= len(s.split()) <= 30 and s[0].isupper() and s[-1] in ".!?")
    return list(dict.fromkeys(s for s in good if not MARKUP.search(s)))


def errors(said: list[str], heard: list[str]) -> int:
    """Words put in, left out or changed."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        before, row[0] = row[:], i
        for j, b in enumerate(heard, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
    return row[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=6)
    asked = parser.parse_args()
    rng, all_of_them = random.Random(asked.seed), sentences_of(asked.texts)
    rng.shuffle(all_of_them)
    marked = [s for s in all_of_them if MARKED.search(s)][: asked.count * 3 // 5]
    chosen = marked + [s for s in all_of_them if not MARKED.search(s)][: asked.count - len(marked)]
    folder = (
        Path(asked.model) if asked.model and Path(asked.model).is_dir() else recogniser_folder(asked.model)
    )
    voice, recogniser = open_voice("heart"), Recogniser(folder, threads=1)
    list(say.say(voice, "Warm up now."))
    normal = EnglishTextNormalizer({})
    sounds: list[np.ndarray] = []
    began = time.process_time()
    for sentence in chosen:
        sounds.append(np.concatenate([sound for _, sound in say.say(voice, sentence)]))
    took = time.process_time() - began
    seconds = sum(map(len, sounds)) / voice.rate
    groups: list[list[int]] = [[]]
    for number in range(len(chosen)):
        if sum(len(sounds[n]) for n in [*groups[-1], number]) / voice.rate > WINDOW_S:
            groups.append([])
        groups[-1].append(number)
    wrong = words = 0
    gap = np.zeros(voice.rate // 3, np.float32)
    for group in groups:
        joined = np.concatenate([part for n in group for part in (sounds[n], gap)])
        heard = recogniser.hear(resample(joined, voice.rate, RATE), Ask(language="en")).text
        said = " ".join(chosen[n] for n in group)
        a, b = normal(said).split(), normal(heard).split()
        wrong, words = wrong + errors(a, b), words + len(a)
        print(f"{errors(a, b)}/{len(a)}\n  said  {said}\n  heard {heard}", flush=True)
        print(f"so far {wrong}/{words} = {wrong / words:.4f}", flush=True)
    print(f"word error rate {wrong / words:.4f}: {wrong} of {words} words")
    print(f"{len(chosen)} sentences, {len(marked)} of them with figures, dates or abbreviations")
    print(f"{seconds:.0f} s spoken in {took:.2f} s of CPU: {seconds / took:.0f}x real time")


if __name__ == "__main__":
    main()
