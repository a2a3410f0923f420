"""Speech -> a training and a held-out set of a model that speaks, and its tokenizer.

Not the speech (speech.py) and not the layout (tokens/speech.py). An utterance is said in the codes of a
codec, and each word gets the frames that are its own: those whose middle lies before the word's end.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np

from tokenloom.config import put_json
from tokenloom.data.shards import Shards, ShardWriter
from tokenloom.data.speech import Speech, Utterance
from tokenloom.tokens.layout import Example
from tokenloom.tokens.speech import SpeechTokens, Word, add_speech, split_words
from tokenloom.tokens.train import Plan, train_tokenizer, write_tokenizer

TRAIN, HELD, TOKENIZER = "train", "held", "tokenizer"


class Codec(Protocol):
    """Who says sound in codes: codec.audio_folder.SoundCodec."""

    rate: int
    hop: int
    depth: int
    n_codes: int
    sha256: str

    def encode(self, samples: np.ndarray, rate: int | None = None) -> np.ndarray: ...


def words_said(one: Utterance, codes: np.ndarray, hop: int, depth: int) -> list[Word]:
    """An utterance's words with their codes; every frame is a word's, and every word has one frame at least.

    ValueError where there are fewer frames than words.
    """
    words = split_words(one.phonemes)
    frames = len(codes) // depth
    if len(words) != len(one.ends):
        raise ValueError(f"ends: found {len(one.ends)} for {len(words)} words of {one.text!r}")
    if frames < len(words):
        raise ValueError(f"codes: found {frames} frames for {len(words)} words of {one.text!r}")
    found, at = [], 0
    for place, (word, end) in enumerate(zip(words, one.ends, strict=True)):
        left = len(words) - place - 1
        stop = frames if not left else min(max(round(end / hop), at + 1), frames - left)
        found.append(Word(word, codes[at * depth : stop * depth]))
        at = stop
    return found


def write_speech_set(
    out: Path,
    speech: Speech,
    codec: Codec,
    *,
    longest: int = 512,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Writes tokenizer/, train/ and held/ into a folder; returns the counts. longest: ids of a document.

    ValueError for speech of another rate than the codec's.
    """
    if speech.rate != codec.rate:
        raise ValueError(f"codec: its rate is {codec.rate}, the speech's {speech.rate}; allowed: the same")
    trained = train_tokenizer(
        [one.phonemes for one in speech.utterances if not one.held],
        Plan(vocab_size=512, characters=True, chat=False, min_count=1),
    )
    tokenizer, vocabulary = add_speech(
        trained.tokenizer, codec.n_codes, codec.sha256, vocabulary=trained.vocabulary
    )
    out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(
        out / TOKENIZER, replace(trained, tokenizer=tokenizer, vocabulary=vocabulary), overwrite=True
    )
    tokens = SpeechTokens.open(out / TOKENIZER, codec.depth)
    sets: dict[str, list[Example]] = {TRAIN: [], HELD: []}
    dropped: Counter[str] = Counter()
    used: set[int] = set()
    for number, one in enumerate(speech.utterances):
        codes = codec.encode(speech.sound(number), speech.rate)
        why = _add(sets[HELD if one.held else TRAIN], one, codes, codec, tokens, longest)
        if why:
            dropped[why] += 1
        else:
            used.update(codes.tolist())
        if progress is not None:
            progress(number + 1, len(speech.utterances))
    about: dict[str, Any] = {
        "codec": codec.sha256,
        "vocab_size": vocabulary.size,
        "codes_used": len(used),
        "n_codes": codec.n_codes,
        "dropped": dict(dropped),
    }
    Random(seed).shuffle(sets[TRAIN])
    for name, documents in sets.items():
        if not documents:
            raise ValueError(
                f"speech: gives nothing for {name}; allowed: more utterances (`loom data speech`)"
            )
        shards = _write(out / name, documents, tokens)
        about[f"documents_{name}"], about[f"tokens_{name}"] = shards.n_documents, shards.n_tokens
    put_json(out / "about.json", about)
    return about


def _add(
    documents: list[Example],
    one: Utterance,
    codes: np.ndarray,
    codec: Codec,
    tokens: SpeechTokens,
    longest: int,
) -> str:
    """Adds an utterance's document; says why where it does not."""
    if len(codes) // codec.depth < len(one.ends):
        return "fewer frames than words"
    example = tokens.example(words_said(one, codes, codec.hop, codec.depth))
    if len(example.ids) > longest:
        return "too long"
    documents.append(example)
    return ""


def _write(folder: Path, documents: Sequence[Example], tokens: SpeechTokens) -> Shards:
    shutil.rmtree(folder, ignore_errors=True)
    with ShardWriter(
        folder, tokenizer_hash=tokens.tokenizer.hash, vocab_size=tokens.vocabulary.size, masked=True
    ) as writer:
        for ids, learned in documents:
            writer.add(ids, learned, n_bytes=len(ids))
        return writer.finish()
