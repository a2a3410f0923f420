"""`loom audio encode`, `decode` and `score`: a codec of sound by itself, without the model that speaks."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from rich.progress import Progress

    from tokenloom.codec.audio_folder import SoundCodec
    from tokenloom.evals.sound import Spoken

SPEAKER = "speaker"
_CODEC = Annotated[
    str,
    typer.Option(
        "--codec", help="A codec's folder, or the name or folder of a model that speaks, which has one."
    ),
]


def encode(
    sounds: Annotated[list[Path], typer.Argument(help="Recordings: WAV, FLAC, OGG or MP3, of any rate.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="The JSON file of codes to write.")] = Path(
        "codes.json"
    ),
    codec: _CODEC = SPEAKER,
) -> None:
    """Say sound in codes, 50 whole numbers a second.

    All channels become one. The file names the codec by its sha256, and only that one can decode it. It has
    learned one voice: what it makes of others is heard by decoding.
    """
    from tokenloom.config import put_json
    from tokenloom.sound.audio import read_audio

    opened = open_named(codec)
    rows = []
    for path in sounds:
        samples, rate = read_audio(path, rate=opened.rate, mono=True)
        rows.append({"name": path.name, "codes": opened.encode(samples[:, 0], rate).tolist()})
    put_json(out, {"codec": opened.sha256, "rate": opened.rate, "depth": opened.depth, "sounds": rows})
    typer.echo(f"{sum(len(row['codes']) for row in rows)} codes of {len(rows)} sounds: {out}")


def decode(
    codes: Annotated[Path, typer.Argument(help="A JSON file that loom audio encode wrote.")],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The sound to write; several become out-1.wav, out-2.wav and so on."
        ),
    ] = Path("decoded.wav"),
    codec: _CODEC = SPEAKER,
) -> None:
    """Make sound of codes again. The files carry the hidden label of what a model has made."""
    from tokenloom.cli.codes import read_codes
    from tokenloom.tasks.places import check_place, numbered, write
    from tokenloom.tasks.sound_out import check_ending, deliver

    kind = check_ending(out)
    check_place(out)
    opened = open_named(codec)
    rows = read_codes(codes, opened.sha256, "audio", lambda facts: [one["codes"] for one in facts["sounds"]])
    made = [deliver(opened.decode(row), opened.rate, kind, audible=False) for row in rows]
    for place, data in zip(numbered(out, len(made)), made, strict=True):
        write(place, data)
    seconds = sum(map(len, rows)) / opened.codes_hz
    typer.echo(f"{len(rows)} sounds, {seconds:.1f} s: {out.parent or '.'}")


def score(
    speech: Annotated[Path, typer.Argument(help="The folder that `loom data speech` wrote.")] = Path(
        "speech"
    ),
    codec: _CODEC = SPEAKER,
    n: Annotated[int, typer.Option("-n", "--n", help="Utterances of held-out texts.", min=1)] = 50,
    voice: Annotated[
        str | None,
        typer.Option(
            help="Judge a voice too, as own:speaker: it says the same texts for a recogniser to write down.",
            show_default=False,
        ),
    ] = None,
    recogniser: Annotated[
        str | None, typer.Option(help="A recogniser's name or folder; without it the one that is here.")
    ] = None,
    words: Annotated[bool, typer.Option(help="Have a recogniser write down what is said.")] = True,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Also write the first ten, each followed by what was made of it, as a sound."),
    ] = None,
) -> None:
    """Measure a codec on texts kept out of its training: mel distance, STOI, use of codes, words heard.

    Words a recogniser hears in what was made are counted against those it hears in the original. Without a
    recogniser that is said, and the other figures stand alone. The last line of the output is JSON.
    """
    from tokenloom.cli.speech import bar
    from tokenloom.data.speech import open_speech
    from tokenloom.evals.sound import Spoken, codec_figures, heard_figures, listener

    opened, found = open_named(codec), open_speech(speech)
    if found.rate != opened.rate:
        raise ValueError(f"codec: its rate is {opened.rate}, the speech's {found.rate}; allowed: the same")
    held = [i for i, one in enumerate(found.utterances) if one.held][:n]
    some = [Spoken(found.utterances[i].text, found.sound(i)) for i in held]
    if not some:
        raise ValueError(f"speech: {speech} has no held-out text; make more utterances")
    tell = partial(print, file=sys.stderr)
    hear = listener(recogniser, opened.rate, tell, threads=1) if words else None
    facts: dict[str, Any] = {"what": "audio score", "codec": opened.sha256}
    with bar() as shown:
        task = shown.add_task("codec", total=len(some))
        figures, made = codec_figures(
            opened,
            some,
            lambda a, b: _mel_db(a, b, opened.rate),
            lambda done: shown.update(task, completed=done),
        )
        facts |= figures
        if hear is not None:
            task = shown.add_task("listening", total=len(some))
            facts |= heard_figures(some, made, hear, lambda done: shown.update(task, completed=done))
        if voice is not None:
            facts["voice"] = voice
            said = _said(voice, some, opened.rate, shown)
            if hear is not None:
                task = shown.add_task("listening to the voice", total=len(some))
                heard = heard_figures(some, said, hear, lambda done: shown.update(task, completed=done))
                facts |= {f"voice_{key}": value for key, value in heard.items()}
            made = said
    if sheet is not None:
        _sheet(some, made, opened.rate, sheet)
    typer.echo(json.dumps(facts))


def _mel_db(made: np.ndarray, real: np.ndarray, rate: int) -> float:
    import torch

    from tokenloom.codec.spectra import mel_distance

    one, other = (torch.from_numpy(x.copy())[None] for x in (made, real))
    return float(mel_distance(one, other, rate))


def _said(voice: str, some: list[Spoken], rate: int, shown: Progress) -> list[np.ndarray]:
    from tokenloom.engine.speaker import open_voice
    from tokenloom.sound.audio import resample

    speaker = open_voice(voice)
    task = shown.add_task("speaking", total=len(some))
    said = []
    for number, one in enumerate(some):
        said.append(resample(speaker.utter(one.text, 1.0, number), speaker.rate, rate))
        shown.update(task, completed=number + 1)
    return said


def _sheet(some: list[Spoken], made: list[np.ndarray], rate: int, out: Path) -> None:
    """Ten originals, each before what was made of it, in one labelled file."""
    import numpy as np

    from tokenloom.tasks.places import write
    from tokenloom.tasks.sound_out import check_ending, deliver

    kind, pause = check_ending(out), np.zeros(rate // 3, np.float32)
    parts = [
        x
        for one, other in list(zip(some, made, strict=True))[:10]
        for x in (one.samples, pause, other, pause)
    ]
    write(out, deliver(np.concatenate(parts), rate, kind, audible=False))


def open_named(name: str) -> SoundCodec:
    """A codec's folder, or that of a speaking model's folder or name. ValueError, FileNotFoundError."""
    from tokenloom.cli.codes import codec_place
    from tokenloom.codec.audio_folder import open_audio_codec
    from tokenloom.hub.card import SPEECH as CODEC

    return open_audio_codec(codec_place(name, CODEC))
