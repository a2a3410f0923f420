"""`loom compose`: tunes from words, in this process: new ones, longer ones, bars of one anew."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.api_music import Composed
    from tokenloom.sound.score import Score

LABELS = ("audible", "hidden")


def compose(
    words: Annotated[
        str,
        typer.Argument(
            help="What it shall be, in English or Chinese: a kind (reel, jig, slip jig, hornpipe, air, "
            "march, strathspey, clog, fling, set dance), a key or mode, a metre, a pace, a number of bars. "
            "Words that are not known are named on stderr and have no effect.",
            show_default=False,
        ),
    ] = "",
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            help="A file, ending in .mid, .abc (notation), .wav, .flac, .ogg, .mp3 (sound), .png or .svg "
            "(piano roll), labelled as AI-generated; may be given several times. Without it tune.mid, or a "
            "name that is free, here.",
            show_default=False,
        ),
    ] = None,
    wav: Annotated[bool, typer.Option("--wav", help="Also a WAV file beside the first file.")] = False,
    bars: Annotated[
        int | None,
        typer.Option(
            help="Whole bars, at most 64: of a new piece (else 16), or behind one that goes on (else 8).",
            min=1,
            max=64,
            show_default=False,
        ),
    ] = None,
    go_on: Annotated[
        Path | None,
        typer.Option(
            "--continue", help="Go on with the melody of this MIDI, ABC or MusicXML file.", show_default=False
        ),
    ] = None,
    given: Annotated[
        Path | None,
        typer.Option(
            "--in", help="The file of which --infill or --harmonise takes the melody.", show_default=False
        ),
    ] = None,
    infill: Annotated[
        str | None,
        typer.Option(
            help="Write these bars of --in anew, as 5-8, counted from 1 (a pickup is 0); the others stay.",
            show_default=False,
        ),
    ] = None,
    harmonise: Annotated[
        bool,
        typer.Option(
            "--harmonise",
            help="Put chords and a bass under the melody: by rules (the best path of the key's triads), not "
            "learned. With --in alone nothing is composed.",
        ),
    ] = False,
    kind: Annotated[
        str | None, typer.Option(help="A kind, whatever the words say.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option(help='As "D", "A minor", "Bb dorian".', show_default=False)
    ] = None,
    metre: Annotated[str | None, typer.Option(help="As 4/4, 6/8.", show_default=False)] = None,
    tempo: Annotated[
        int | None, typer.Option(help="Quarter notes a minute, 40 to 300.", show_default=False)
    ] = None,
    n: Annotated[
        int, typer.Option("--n", "-n", help="How many versions: reel-1.mid, reel-2.mid, ...", min=1, max=16)
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same file.", show_default=False)
    ] = None,
    drafts: Annotated[
        int,
        typer.Option(
            help="Drafts of each version where a key is asked for; one that is in it is kept.", min=1, max=8
        ),
    ] = 4,
    temperature: Annotated[
        float | None,
        typer.Option(help="How freely events are chosen, 0 to 2; 0 takes the likeliest.", show_default=False),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Only the likeliest events that make this share.", show_default=False),
    ] = None,
    soundfont: Annotated[
        Path | None,
        typer.Option(help="A .sf2 file that plays, instead of the synthesiser.", show_default=False),
    ] = None,
    label: Annotated[
        str,
        typer.Option(
            help="audible: a rhythm of tones before a sound says that it is AI-generated, and the file's own "
            "label too; hidden: the file's label alone."
        ),
    ] = "audible",
    model: Annotated[str, typer.Option("--model", "-m", help="A composer's name or folder.")] = "composer",
    lang: Annotated[
        str | None,
        typer.Option(
            help="en or zh, of the label's words; without it the terminal's language.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print files, seed and keys as JSON.")] = False,
) -> None:
    """Compose a tune from words: `loom compose "a lively reel in D" --bars 16 --seed 3 -o reel.mid`.

    `--continue in.abc --bars 8` goes on with one, `--in in.mid --infill 5-8` writes bars of one anew, and
    `--in in.mid --harmonise` puts chords and a bass under one.
    """
    from tokenloom.tasks.music import How, bars_of, wish_of
    from tokenloom.tasks.music_in import read_score

    files = _files(output, wav, n)
    spoken = _check(label, lang, soundfont)
    span = None if infill is None else bars_of(infill)
    _check_together(go_on, given, span is not None, harmonise, bars)
    options: dict[str, Any] = {"n": n, "drafts": drafts, "seed": seed}
    options |= {"temperature": temperature, "top_p": top_p}
    How(**options)
    wished = {"kind": kind, "key": key, "metre": metre, "tempo": tempo}
    wish = wish_of(words, **wished, bars=bars)  # type: ignore[arg-type]
    source = go_on or given
    score = None if source is None else read_score(source, "--continue" if go_on else "--in")
    if wish.unknown:
        print(f"not understood, and without effect: {', '.join(wish.unknown)}", file=sys.stderr)
    asked = {**wished, **options, "harmonise": harmonise}
    if score is not None and go_on is None and span is None:
        if n > 1:
            raise ValueError(
                f"n: found {n}; allowed: 1 where chords are put under a tune, for there is one way"
            )
        made = [_accompanied(score)]
    else:
        made = _composed(model, words, score, span, bars or wish.bars, asked)
    sound = {"audible": label == "audible", "soundfont": soundfont, "lang": spoken}
    _deliver(made, files, sound, as_json)


def _composed(
    model: str,
    words: str,
    score: Score | None,
    span: tuple[int, int] | None,
    bars: int | None,
    asked: dict[str, Any],
) -> list[Composed]:
    from rich.console import Console

    from tokenloom.api import load

    with (
        Console(stderr=True).status("composing"),
        load(model) as loaded,
    ):
        if score is None:
            return loaded.music.compose(words, bars=bars, **asked)
        if span is not None:
            return loaded.music.infill(score, *span, words, **asked)
        return loaded.music.go_on(score, 8 if bars is None else bars, words, **asked)


def _accompanied(score: Score) -> Composed:
    from tokenloom.api_music import Composed

    return Composed(score).accompanied()


def _files(output: list[Path] | None, wav: bool, n: int) -> list[list[Path]]:
    """The files of each version, whose places are right."""
    from tokenloom.tasks.music_out import kind_of
    from tokenloom.tasks.places import check_place, free, numbered

    asked = output or [free(Path("tune.mid"))]
    if wav:
        asked = [*asked, asked[0].with_suffix(".wav")]
    asked = list(dict.fromkeys(asked))
    for path in asked:
        for one in numbered(path, n):
            kind_of(one)
            check_place(one)
    return [list(paths) for paths in zip(*(numbered(path, n) for path in asked), strict=True)]


def _check(label: str, lang: str | None, soundfont: Path | None) -> str:
    """The language of the label's words; ValueError for a value that is not allowed."""
    from tokenloom.tasks import terminal_lang
    from tokenloom.trust import check_producer

    if label not in LABELS:
        raise ValueError(f"label: found {label!r}; allowed are {', '.join(LABELS)}")
    if lang not in (None, "en", "zh"):
        raise ValueError(f"lang: found {lang!r}; allowed are en, zh")
    if soundfont is not None and not soundfont.is_file():
        raise ValueError(f"soundfont: found no file {soundfont}; allowed: a .sf2 file")
    check_producer()
    return lang or terminal_lang()


def _check_together(
    go_on: Path | None, given: Path | None, infill: bool, harmonise: bool, bars: int | None
) -> None:
    if go_on is not None and (given is not None or infill):
        raise ValueError("--continue: found beside --in or --infill; allowed: one of them, as each is a task")
    if infill and given is None:
        raise ValueError("--infill: found without --in; allowed: --in FILE --infill 5-8")
    if given is not None and not infill and not harmonise:
        raise ValueError("--in: found alone; allowed: with --infill 5-8 or --harmonise (or use --continue)")
    if given is not None and bars is not None:
        raise ValueError("--bars: found beside --in; allowed: with a new piece or --continue")


def _deliver(made: list[Composed], files: list[list[Path]], sound: dict[str, Any], as_json: bool) -> None:
    facts = []
    for one, paths in zip(made, files, strict=True):
        for path in paths:
            one.save(path, **sound)
        score = one.score
        beats, unit = score.metres[0][1:]
        found = {
            "files": [str(path) for path in paths],
            "seed": one.seed,
            "kind": score.kind,
            "key": " ".join(score.keys[0][1:]) if score.keys else None,
            "metre": f"{beats}/{unit}",
            "tempo": round(score.tempos[0][1]) if score.tempos else None,
            "bars": len(score.bars) - bool(score.pickup),
            "seconds": round(one.seconds, 2),
            "unknown": list(one.unknown),
        }
        facts.append(found)
        if not as_json:
            key = f", {found['key']}" if found["key"] else ""
            print(
                f"written to {', '.join(map(str, paths))} ({found['bars']} bars of {beats}/{unit}{key}, "
                f"{one.seconds:.1f} s, seed {one.seed})"
            )
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
