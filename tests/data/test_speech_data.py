"""Speech made here: its texts, its split, the times of its words, and the set that a model learns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_speech import Tones, tiny_audio_codec, tiny_speech

from tokenloom.codec.audio_folder import open_audio_codec
from tokenloom.data.shards import open_shards
from tokenloom.data.speech import Utterance, is_held_out, open_speech, texts, write_speech
from tokenloom.data.speech_set import words_said, write_speech_set
from tokenloom.data.speech_words import KINDS, sentence
from tokenloom.tokens.speech import CLOSED, SpeechTokens, split_words


def test_texts_are_a_function_of_their_seed_and_none_comes_twice() -> None:
    found = list(texts(500, 1))
    assert found == list(texts(500, 1))
    assert found != list(texts(500, 2))
    assert len(set(found)) == 500
    assert all(text == text.strip() and text[-1] in ".?" for text in found)
    assert sum(share for _, share in KINDS) == 100
    assert sentence(1, 7) == sentence(1, 7)
    assert 5 < sum(map(is_held_out, found)) < 45
    assert is_held_out(found[0]) == is_held_out(found[0].upper())


def test_a_folder_of_speech_reads_back(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    about = write_speech(tmp_path / "a", 20, 1, Tones(), lambda done, of: told.append((done, of)))
    assert told[-1] == (20, 20)
    speech = open_speech(tmp_path / "a")
    assert (speech.rate, speech.voice, len(speech.utterances)) == (16_000, "tones", 20)
    assert speech.seconds == pytest.approx(about["seconds"], abs=0.1)
    voice = Tones()
    for number, one in enumerate(speech.utterances):
        assert one.phonemes == voice.phonemes(one.text)
        sound = speech.sound(number)
        assert sound.dtype == np.float32
        assert len(sound) == one.stop - one.start == one.ends[-1]
        assert len(one.ends) == len(split_words(one.phonemes))
        assert list(one.ends) == sorted(one.ends)
        # a letter of the tones lasts 60 ms, and a word ends before the space behind it
        assert one.ends[0] == pytest.approx(960 * len(one.phonemes.split()[0]), abs=2)
        assert one.held == is_held_out(one.text)
    write_speech(tmp_path / "b", 20, 1, voice)
    for name in ("samples.s16", "utterances.jsonl", "speech.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_is_no_speech_and_what_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found no speech\.json in .*; `loom data speech` writes it"):
        open_speech(tmp_path)
    place = tiny_speech(tmp_path / "speech", 5)
    with pytest.raises(FileExistsError, match="not empty"):
        tiny_speech(place, 5)
    with pytest.raises(ValueError, match="n: found 1"):
        write_speech(tmp_path / "c", 1, 1, Tones())
    samples = (place / "samples.s16").read_bytes()
    (place / "samples.s16").write_bytes(samples[:-2])
    with pytest.raises(ValueError, match="is cut short"):
        open_speech(place)
    (place / "utterances.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(ValueError, match="is not whole"):
        open_speech(place)


def test_a_broken_writing_leaves_nothing(tmp_path: Path) -> None:
    class Hoarse(Tones):
        def say(self, phonemes: str, speed: float = 1.0, seed: int = 0) -> object:  # type: ignore[override]
            raise RuntimeError("hoarse")

    with pytest.raises(RuntimeError, match="hoarse"):
        write_speech(tmp_path / "here" / "speech", 5, 1, Hoarse())  # type: ignore[arg-type]
    assert not list((tmp_path / "here").iterdir())


def test_every_frame_is_a_words_and_every_word_has_one() -> None:
    one = Utterance("a b c", "a b c", 0, 3200, (10, 1600, 3200), False)
    found = words_said(one, np.arange(10), 320, 1)
    assert [word.codes.tolist() for word in found] == [[0], [1, 2, 3, 4], [5, 6, 7, 8, 9]]  # type: ignore[union-attr]
    pairs = words_said(one, np.arange(20), 320, 2)
    assert [len(word.codes) for word in pairs] == [2, 8, 10]
    late = Utterance("a b c", "a b c", 0, 960, (960, 960, 960), False)
    assert [len(word.codes) for word in words_said(late, np.arange(3), 320, 1)] == [1, 1, 1]
    with pytest.raises(ValueError, match="found 2 frames for 3 words"):
        words_said(late, np.arange(2), 320, 1)
    with pytest.raises(ValueError, match="found 3 for 2 words"):
        words_said(Utterance("a b", "a b", 0, 9, (1, 2, 3), False), np.arange(9), 320, 1)


def test_a_set_says_its_speech_in_codes(tmp_path: Path) -> None:
    speech = open_speech(tiny_speech(tmp_path / "speech", 60))
    codec = open_audio_codec(tiny_audio_codec(tmp_path / "codec"))
    about = write_speech_set(tmp_path / "set", speech, codec, longest=400)
    assert about == json.loads((tmp_path / "set" / "about.json").read_text())
    assert about["codec"] == codec.sha256
    held = sum(one.held for one in speech.utterances)
    train, kept = open_shards(tmp_path / "set" / "train"), open_shards(tmp_path / "set" / "held")
    assert train.n_documents + kept.n_documents + about["dropped"].get("too long", 0) == 60
    assert 0 < kept.n_documents <= held
    tokens = SpeechTokens.open(tmp_path / "set" / "tokenizer", codec.depth)
    assert tokens.codec == codec.sha256
    ids, learned = kept.document(0).tolist(), kept.learned(0)
    assert learned is not None
    start, stop = tokens.vocabulary.range("sound")
    closed = tokens.tokenizer.special[CLOSED]
    assert [start <= id < stop or id == closed for id in ids] == learned.astype(bool).tolist()
    codes = [id - start for id in ids if start <= id < stop]
    numbers = [i for i, one in enumerate(speech.utterances) if one.held]
    assert any(codec.encode(speech.sound(i)).tolist() == codes for i in numbers)
