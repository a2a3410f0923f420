"""Sentences, pauses, marks and readings, with a voice that tones stand for."""

from __future__ import annotations

import numpy as np
import pytest

from tokenloom.sound import say
from tokenloom.sound.english import readable
from tokenloom.sound.language import language_of
from tokenloom.sound.say import NothingToSay, Piece, pieces_of
from tokenloom.sound.ssml import read_ssml

RATE = 8000


class Toned:
    """A voice: a tenth of a second of tone for each word, in silence; it notes what it is asked."""

    name, languages, rate = "toned", ("en",), RATE

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, int]] = []

    def utter(self, text: str, speed: float, seed: int) -> np.ndarray:
        self.asked.append((text, speed, seed))
        n = round(0.1 * RATE * len(text.split()) / speed)
        tone = (0.5 * np.sin(np.arange(n) * 0.5 + seed % 7)).astype(np.float32)
        return np.concatenate([np.zeros(RATE // 2, np.float32), tone, np.zeros(RATE // 2, np.float32)])


def texts(text: str) -> list[str]:
    return [piece.text for piece in pieces_of(text)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Hello there. How are you?", 2),
        ("He met Mr. Wu vs. Dr. No at No. 10 in St. Louis. Then he left.", 2),
        ("Aye—Mr. Stubb said so. (Dr. Wu too.)", 2),
        ("J. K. Rowling wrote it, e.g. in a cafe, i.e. there. Yes!", 2),
        ("It cost 3.50 dollars at 5 p.m. in the U.S. market.", 1),
        ('"Stop!" she cried. "Never," he said.', 2),
        ("Wait... what? No way!", 2),
        ("one line\nthe same sentence", 1),
        ("First\n\nSecond", 2),
        ("这是第一句。这是第二句！还有吗？", 3),
    ],
)
def test_sentences(text: str, count: int) -> None:
    found = texts(text)
    assert len(found) == count, found
    assert "".join("".join(found).split()) == "".join(text.split())


def test_the_end_of_a_piece_is_where_its_words_end() -> None:
    text = "One two.  Three four.\n\nFive."
    found = pieces_of(text)
    assert [text[: piece.end].rstrip() for piece in found] == [
        "One two.",
        "One two.  Three four.",
        text,
    ]
    assert found[0].pause_s == say.SENTENCE_S
    assert found[1].pause_s == say.PARAGRAPH_S


@pytest.mark.parametrize("text", ["word " * 2000, "x" * 5000, "a, " * 3000, "字" * 3000])
def test_no_piece_is_longer_than_a_breath(text: str) -> None:
    found = texts(text)
    assert max(map(len, found)) <= say.LONGEST
    assert "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "text", ["", "  \n ", "🙂🙂", "...", "—", "<speak></speak>", "<speak><break/></speak>"]
)
def test_nothing_to_say(text: str) -> None:
    with pytest.raises(NothingToSay, match=r"^text: "):
        pieces_of(text)


def test_silence_around_a_sentence_is_the_texts() -> None:
    voice = Toned()
    first, second = (sound for _, sound in say.say(voice, "One two. Three."))
    edge = say.EDGE_S
    assert len(first) / RATE == pytest.approx(0.2 + 3 * edge + say.SENTENCE_S, abs=0.01)
    assert len(second) / RATE == pytest.approx(0.1 + 3 * edge + say.LAST_S, abs=0.01)
    assert np.flatnonzero(np.abs(first) > 0.004)[0] <= edge * RATE + 8


def test_the_same_seed_gives_the_same_sound_and_pieces_can_be_made_alone() -> None:
    whole = [sound for _, sound in say.say(Toned(), "One two. Three.", seed=5)]
    again = [sound for _, sound in say.say(Toned(), "One two. Three.", seed=5)]
    other = [sound for _, sound in say.say(Toned(), "One two. Three.", seed=6)]
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    assert not np.array_equal(whole[0], other[0])
    alone = say.utter(Toned(), say.ending(pieces_of("One two. Three."))[1], seed=say.seed_of(5, 1))
    assert np.array_equal(alone, whole[1])


def test_speed_is_checked_at_the_call_and_handed_on() -> None:
    voice = Toned()
    with pytest.raises(ValueError, match=r"speed: found 5.0; allowed are 0.25 to 4"):
        say.say(voice, "One.", speed=5.0)
    list(say.say(voice, "One.", speed=2.0))
    assert voice.asked[0][1] == 2.0


def test_marks() -> None:
    found = read_ssml(
        '<speak>Hello <break time="1.5s"/> <emphasis level="strong">big</emphasis> world. '
        '<prosody rate="80%">Slow.</prosody> <say-as interpret-as="spell-out">BBC</say-as> on '
        '<say-as interpret-as="date" format="dmy">3/4/2024</say-as> the '
        '<say-as interpret-as="ordinal">12</say-as> by <sub alias="World Wide Web">WWW</sub>.</speak>'
    )
    assert [piece.text for piece in found] == [
        "Hello",
        "big",
        "world.",
        "Slow.",
        "B, B, C on April 3, 2024 the 12th by World Wide Web.",
    ]
    assert found[0].pause_s == 1.5
    assert found[1].speed < 1 < found[1].gain
    assert found[1].pause_s == 0
    assert found[3].speed == 0.8


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<speak><audio src='x'/></speak>", "<audio>, which is not read; known are speak, p"),
        ("<speak><break time='99s'/></speak>", "break> has time '99s'; allowed are 0ms to 30s"),
        ("<speak><break pitch='1'/></speak>", "attribute pitch, which is not read"),
        ("<speak><emphasis level='huge'>a</emphasis></speak>", "level 'huge'; allowed are strong"),
        ("<speak><say-as interpret-as='song'>a</say-as></speak>", "interpret-as 'song'; allowed are"),
        ("<speak><prosody rate='9%'>a</prosody></speak>", "rate '9%'; allowed are 50% to 200%"),
        ("<speak>unclosed", "is no XML: .* at line 1"),
        ("<speak>a</speak><speak>b</speak>", "is no XML"),
        ("<speak><say-as interpret-as='date'>45/45/2024</say-as></speak>", "is no date of format mdy"),
        ('<speak xml:lang="en">a &bomb;</speak>', "is no XML: undefined entity"),
    ],
)
def test_marks_that_are_not_known_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pieces_of(text)


def test_a_document_type_is_refused_before_its_entities_grow() -> None:
    bomb = '<!DOCTYPE speak [<!ENTITY a "aaaa">]><speak>&a;</speak>'
    with pytest.raises(ValueError, match=r"a document type, which is not read"):
        read_ssml(bomb)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("See [the docs](http://x.y/z).", "See the docs."),
        ("A **bold** word and `code`.", "A bold word and code."),
        ("Version 2.0.1 is out.", "Version 2 point 0 point 1 is out."),
        ("It made $3.2bn.", "It made 3.2 billion dollars."),
        ("At https://www.example.com/a/b?x=1.", "At example dot com slash a slash b"),
        ("Mail a.b@example.org now.", "Mail a dot b at example dot org now."),
        ("Cats, dogs etc. are pets, e.g. mine.", "Cats, dogs et cetera are pets, for example mine."),
        ("At No. 10, no. 11.", "At Number 10, number 11."),
        ("# Heading", "Heading"),
        ("Upwards of L1,000,000 a year.", "Upwards of 1,000,000 pounds a year."),
        ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
    ],
)
def test_readings(written: str, read: str) -> None:
    assert readable(written) == read


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat sat on the mat.", "en"),
        ("Hello", "en"),
        ("你好，世界。", "zh"),
        ("これは日本語の文です。", "ja"),
        ("안녕하세요", "ko"),
        ("Привет, как дела?", "ru"),
        ("Привіт, як їдеш?", "uk"),
        ("Γειά σου", "el"),
        ("Das Wetter ist heute schön und wir gehen in den Wald.", "de"),
        ("12345", ""),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


def test_letters_that_are_not_read_are_named() -> None:
    assert say.unread("Hello 你好, 你 Жcafé", frozenset({"LATIN"})) == "你好Ж"


def test_a_piece_without_words_is_silence() -> None:
    assert not say.utter(Toned(), Piece("", 0.5)).any()
