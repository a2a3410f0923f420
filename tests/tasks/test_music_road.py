"""The road of music, without a model: what it asks for, what it makes of the answer, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_composer import ABC

from tokenloom.sound.abc import read_tune
from tokenloom.sound.midi import write_midi
from tokenloom.sound.score import Note, Score, Track, transposed
from tokenloom.tasks.music import (
    BARS,
    DRAFTS,
    Composer,
    How,
    MusicError,
    Write,
    accompanied,
    bars_of,
    compose,
    go_on,
    infill,
    whole_bars,
    wish_of,
)
from tokenloom.tasks.music_in import read_score
from tokenloom.tasks.music_out import KINDS, deliver, kind_of
from tokenloom.tasks.places import numbered
from tokenloom.tokens.music import CLOSED, MusicTokens, add_music
from tokenloom.tokens.music_wish import Wish
from tokenloom.tokens.train import Plan, train_tokenizer


@pytest.fixture(scope="module")
def composer() -> Composer:
    trained = train_tokenizer(["music"], Plan(vocab_size=258, characters=True, chat=False))
    tokens = MusicTokens(*add_music(trained.tokenizer, trained.vocabulary))
    return Composer("tiny", tokens, {"temperature": 0.8})


def answer(composer: Composer, score: Score) -> tuple[int, ...]:
    """The ids that a model would have written for a score, behind <|compose|>."""
    ids = composer.tokens.ids_of(score)
    return tuple(id for id in ids[1:] if id != composer.tokens.tokenizer.special[CLOSED])


def test_a_piece(composer: Composer) -> None:
    road = compose(composer, Wish(), How(n=2, seed=5, harmonise=True))
    need = next(road)
    assert isinstance(need, Write)
    request = need.request("a", "m")
    assert request.constraint is not None
    assert request.constraint.kind == "music"
    assert (request.n, request.seed) == (2, 5)
    assert (request.sampling.temperature, request.sampling.top_p) == (0.8, 0.95)
    given = read_tune(ABC)
    with pytest.raises(StopIteration) as end:
        road.send([answer(composer, given)] * 2)
    made = end.value.value
    assert made.seed == 5
    for score in made.scores:
        assert score.title == "Reel in A dorian"
        assert [(n.start, n.pitch) for n in score.tracks[0].notes] == [
            (n.start, n.pitch) for n in given.tracks[0].notes
        ]
        assert len(score.tracks) == 3


def test_of_drafts_one_in_the_asked_key_is_kept(composer: Composer) -> None:
    """In A dorian is the second draft of the first version, and none of the other, whose first is kept."""
    inside = read_tune(ABC)
    outside = transposed(inside, 2)
    road = compose(composer, Wish("reel", mode="dorian", tonic="A"), How(n=2, seed=5, drafts=3))
    need = next(road)
    assert isinstance(need, Write)
    assert need.n == 6
    ids = {score: answer(composer, score)[len(need.ask.ids) - 1 :] for score in (inside, outside)}
    with pytest.raises(StopIteration) as end:
        road.send([ids[score] for score in (outside, inside, outside, outside, outside, outside)])
    kept = [score.tracks[0].notes[0].pitch for score in end.value.value.scores]
    assert kept == [score.tracks[0].notes[0].pitch for score in (inside, outside)]


@pytest.mark.parametrize(
    ("wish", "how", "asked"),
    [
        (Wish("reel"), How(n=2), 2),  # in no key
        (Wish("reel", mode="major", tonic="D"), How(n=2), 2 * DRAFTS),
        (Wish("reel", mode="major", tonic="D"), How(n=2, temperature=0.0), 2),  # all would be the same
    ],
)
def test_drafts_where_they_help(composer: Composer, wish: Wish, how: How, asked: int) -> None:
    need = next(compose(composer, wish, how))
    assert isinstance(need, Write)
    assert need.n == asked


def test_sixteen_bars_unless_said(composer: Composer) -> None:
    plain = next(compose(composer, Wish("reel"), How(seed=1)))
    said = next(compose(composer, Wish("reel", bars=BARS), How(seed=1)))
    assert plain == said
    assert plain != next(compose(composer, Wish("reel", bars=8), How(seed=1)))


def test_a_drawn_seed_is_told(composer: Composer) -> None:
    seeds = {next(compose(composer, Wish(), How())).seed for _ in range(4)}
    assert len(seeds) > 1


def test_values_go_over_words() -> None:
    assert wish_of("a lively reel in D", key="A minor", metre="4/4", bars=8) == Wish(
        "reel", (4, 4), "minor", "A", pace=1.1, bars=8
    )
    assert wish_of("", key="d").tonic == "D"
    assert wish_of("", key="降B大调").tonic == "Bb"
    assert wish_of("a lively reel", tempo=120) == Wish("reel", tempo=120)
    assert wish_of("a heavy reel").unknown == ("heavy",)


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        ("a polka", {}, "prompt: found 'a polka'"),
        ("😀🎻 xyz", {}, "prompt"),
        ("a reel and a jig", {}, "kind: found both"),
        ("", {"key": "H"}, "key: found 'H'"),
        ("", {"key": "D reel"}, "key"),
        ("", {"metre": "7"}, "metre: found '7'"),
        ("", {"metre": "4/4 reel"}, "metre"),
        ("", {"kind": "polka"}, "kind: found 'polka'"),
        ("", {"tempo": 5}, "tempo: found 5"),
        ("", {"bars": 0}, "bars"),
        ("", {"bars": 65}, "bars"),
    ],
)
def test_wishes_that_are_none(words: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(MusicError, match=said):
        wish_of(words, **options)


@pytest.mark.parametrize(
    "how",
    [
        {"n": 0}, {"n": 17}, {"n": True}, {"temperature": 2.5}, {"temperature": float("nan")}, {"top_p": 0},
        {"top_p": "1"}, {"top_k": -1}, {"seed": 1.5}, {"seed": 2**70},
    ],
)  # fmt: skip
def test_hows_that_are_none(how: dict[str, Any]) -> None:
    with pytest.raises(MusicError, match=next(iter(how))):
        How(**how)


def test_going_on_and_writing_anew(composer: Composer) -> None:
    score = read_tune(ABC)
    assert whole_bars(score) == 8
    whole = next(go_on(composer, score, 4, how=How(seed=1))).ask
    assert whole == composer.tokens.go_on(score, 12)
    part = next(infill(composer, score, 5, 6, how=How(seed=1))).ask
    assert part.hidden == (4, 5)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(tonic="D"), "key: found D major; allowed: that of the score, A dorian"),
        (Wish(metre=(6, 8)), "metre: found 6/8; allowed: the score's, 4/4"),
        (Wish(tempo=100), "tempo"),
    ],
)
def test_what_a_given_score_is_not(composer: Composer, wish: Wish, said: str) -> None:
    for road in (go_on(composer, read_tune(ABC), 4, wish), infill(composer, read_tune(ABC), 1, 2, wish)):
        with pytest.raises(MusicError, match=said):
            next(road)


def test_bars_that_are_not_there(composer: Composer) -> None:
    for first, last in ((0, 1), (8, 9), (4, 2)):
        with pytest.raises(MusicError, match="infill"):
            next(infill(composer, read_tune(ABC), first, last))
    with pytest.raises(MusicError, match="bars"):
        next(go_on(composer, read_tune(ABC), 60))
    assert (bars_of("5-8"), bars_of(" 7 ")) == ((5, 8), (7, 7))
    for text in ("", "a", "5-", "-5", "5-b", "1-2-3", "²"):
        with pytest.raises(MusicError, match="infill"):
            bars_of(text)


def test_an_accompaniment_of_a_score_without_a_key() -> None:
    scale = [62, 64, 66, 67, 69, 71, 73, 74, 69, 66, 62, 66, 69, 74, 66, 62]
    score = Score((Track(tuple(Note(at * 6, 6, pitch) for at, pitch in enumerate(scale))),))
    made = accompanied(score)
    assert made.keys == ((0, "D", "major"),)
    assert len(made.tracks) == 3


def test_only_a_composer_composes(tmp_path: Path) -> None:
    with pytest.raises(MusicError, match="composes no music"):
        Composer.open(tmp_path, "writer")


# --- files --------------------------------------------------------------------------------------------------


def test_scores_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    score = read_tune(ABC)
    (tmp_path / "wrong.abc").write_bytes(write_midi(score))
    assert read_score(tmp_path / "wrong.abc").tracks[0].notes == score.tracks[0].notes
    assert read_score(b"\xef\xbb\xbf" + ABC.encode()) == score


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MThd",
        b"hello",
        b"<svg></svg>",
        b"PK\x03\x04",
        b"\xff\xd8\xff\xe0",
        b"RIFF\x00",
        "一首曲子".encode(),
        b"X:1\nK:C\n",
        b"X:1\nK:C\nzzzz|\n",
        b"X:1\nK:C\n\x00CDEF|",
    ],
)
def test_files_that_are_no_scores(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^file: "):
        read_score(data, "file")


@pytest.mark.parametrize("kind", KINDS)
def test_what_leaves_is_labelled(kind: Any) -> None:
    from tokenloom.trust import read_label
    from tokenloom.trust.notation import NOTATIONS, labels_in

    score = read_tune("X:1\nM:2/4\nL:1/8\nQ:1/4=240\nK:D\nDFAF|D4|]\n")
    data = deliver(score, kind, width=640)
    if kind != "ogg":  # libsndfile draws its serial number
        assert data == deliver(score, kind, width=640), "the same again"
    label = labels_in(data, kind)[0] if kind in NOTATIONS else read_label(data)
    assert label is not None
    assert label.kind == "1"


def test_tones_before_a_sound() -> None:
    from tokenloom.sound.audio import read_audio
    from tokenloom.trust.verify import inspect

    score = read_tune("X:1\nM:2/4\nL:1/8\nQ:1/4=240\nK:D\nDFAF|D4|]\n")
    for kind in ("wav", "flac"):
        said, silent = deliver(score, kind), deliver(score, kind, audible=False)
        assert len(read_audio(said)[0]) > len(read_audio(silent)[0])
        assert inspect(said, kind).visible  # type: ignore[arg-type]
        assert not inspect(silent, kind).visible  # type: ignore[arg-type]


def test_endings(tmp_path: Path) -> None:
    assert [kind_of(tmp_path / f"a{ending}") for ending in (".mid", ".MIDI", ".svg")] == [
        "midi",
        "midi",
        "svg",
    ]
    with pytest.raises(ValueError, match=r"a\.doc"):
        kind_of(tmp_path / "a.doc")
    with pytest.raises(ValueError, match="format"):
        deliver(read_tune(ABC), "doc")
    assert [path.name for path in numbered(Path("a.mid"), 2)] == ["a-1.mid", "a-2.mid"]
