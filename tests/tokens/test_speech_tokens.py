"""The layout of a model that speaks: a fixed form of ids, and asks that cannot be answered otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tokenloom.tokens.image import add_pictures
from tokenloom.tokens.speech import CLOSED, OPENED, SPEAK, WORD, SpeechTokens, Word, add_speech, split_words
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.train import Plan, train_tokenizer
from tokenloom.tokens.vocabulary import Vocabulary

PHONEMES = "tˈɜɹn ˌɔn ðə kˈɪʧᵊn lˈIt."
N = 40


def extended() -> tuple[Tokenizer, Vocabulary]:
    trained = train_tokenizer([PHONEMES], Plan(vocab_size=400, characters=True, chat=False, min_count=1))
    return add_speech(trained.tokenizer, N, "a" * 64, trained.vocabulary)


def tokens(depth: int = 1, context: int | None = None) -> SpeechTokens:
    return SpeechTokens(*extended(), depth, context)


def said() -> list[Word]:
    rng = np.random.default_rng(0)
    return [Word(word, rng.integers(0, N, 3 + 2 * i)) for i, word in enumerate(split_words(PHONEMES))]


def test_an_example_has_one_form_and_only_what_is_said_is_learned() -> None:
    made = tokens()
    words = said()
    ids, learned = made.example(words)
    special = made.tokenizer.special
    assert ids[0] == special[SPEAK]
    at = 1 + len(made.tokenizer.encode(PHONEMES))
    assert made.tokenizer.decode(ids[1:at]) == PHONEMES
    assert not any(learned[:at])
    for word in words:
        own = made.tokenizer.encode(word.phonemes)
        part = [
            special[WORD],
            *own,
            special[OPENED],
            *made.vocabulary.ids("sound", word.codes),
            special[CLOSED],
        ]
        assert ids[at : at + len(part)] == part
        assert learned[at : at + len(part)] == [False] * (2 + len(own)) + [True] * (len(word.codes) + 1)
        at += len(part)
    assert at == len(ids) == len(learned)
    assert made.codec == "a" * 64


def test_an_ask_is_the_example_cut_before_the_word() -> None:
    made, words = tokens(), said()
    ids, _ = made.example(words)
    texts = [word.phonemes for word in words]
    for place in range(len(words)):
        ask = made.ask(texts, [word.codes.tolist() for word in words[:place]])  # type: ignore[union-attr]
        assert list(ask.ids) == ids[: len(ask.ids)]
        codes = made.vocabulary.ids("sound", words[place].codes)
        closed = made.tokenizer.special[CLOSED]
        assert ids[len(ask.ids) : len(ask.ids) + len(codes) + 1] == [*codes, closed]
        allowed = {id for start, stop in ask.allowed for id in range(start, stop)}
        assert allowed == {*range(*made.vocabulary.range("sound")), closed}
        assert ask.stop_ids == (closed,)
        assert ask.min_tokens == 1
        assert np.array_equal(made.codes_of(codes), words[place].codes)
    with pytest.raises(ValueError, match="said: found 5 words; allowed: 0 to 4"):
        made.ask(texts, [[1]] * 5)


def test_phonemes_are_one_id_each_and_marks_in_them_stay_text() -> None:
    made = tokens()
    assert len(made.tokenizer.encode(PHONEMES)) == len(PHONEMES)
    ids, _ = made.example([Word("<|sound|>", [1, 2])])
    assert ids.count(made.tokenizer.special[OPENED]) == 1


def test_the_first_words_are_left_out_where_not_all_fit() -> None:
    made = tokens(context=420)
    words = [f"w{i}" for i in range(12)]
    spoken = [[7] * 60 for _ in range(11)]
    ask = made.ask(words, spoken)
    assert len(ask.ids) + ask.max_tokens <= 420
    assert ask.ids.count(made.tokenizer.special[WORD]) < 12
    assert made.tokenizer.decode(ask.ids[1 : 1 + len(made.tokenizer.encode(" ".join(words)))]).startswith(
        "w0 w1"
    )
    with pytest.raises(ValueError, match=r"text: its phonemes take .* say it in shorter sentences"):
        made.ask(["long"] * 200, [])


def test_frames_of_several_codes_are_whole() -> None:
    made = tokens(depth=2)
    start, _ = made.vocabulary.range("sound")
    assert made.codes_of([start + 1, start + 2, start + 3]).tolist() == [1, 2]
    assert made.ask(["a"], []).min_tokens == 2
    for bad in ([], [1, 2, 3]):
        with pytest.raises(ValueError, match="codes: found"):
            made.example([Word("a", bad)])
    with pytest.raises(ValueError, match="ids: found"):
        made.codes_of([start - 1])


def test_folders_of_other_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lm").mkdir()
    with pytest.raises(ValueError, match="no codes of sound"):
        SpeechTokens.open(tmp_path / "lm")
    trained = train_tokenizer(["a"], Plan(vocab_size=258, characters=True, chat=False))
    with pytest.raises(ValueError, match="range: found 'sound'"):
        SpeechTokens(*add_pictures(trained.tokenizer, 4, vocabulary=trained.vocabulary))
    with pytest.raises(ValueError, match="phonemes: found none"):
        tokens().example([])
    with pytest.raises(ValueError, match="depth: found 0"):
        tokens(depth=0)


def test_speech_stands_beside_pictures_in_one_vocabulary() -> None:
    trained = train_tokenizer([PHONEMES], Plan(vocab_size=400, characters=True, chat=False, min_count=1))
    tokenizer, vocabulary = add_pictures(trained.tokenizer, 16, vocabulary=trained.vocabulary)
    both = SpeechTokens(*add_speech(tokenizer, N, vocabulary=vocabulary))
    assert both.vocabulary.range("image")[1] <= both.vocabulary.range("sound")[0]
    assert both.example(said()).ids
