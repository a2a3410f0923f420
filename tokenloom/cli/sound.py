"""`loom speak`, `voices`, `transcribe`: text read aloud and speech written down, in this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from tokenloom.sound.recognise import Heard

FORMATS = ("text", "srt", "vtt", "json")
LABELS = ("audible", "hidden")
TEXT_MOST = 20_000_000
"""Bytes of a text file that are read aloud: some weeks of speech."""


def speak(
    text: Annotated[
        str | None,
        typer.Argument(
            help="What is read aloud; - or nothing reads standard input. A text that begins with <speak> is "
            "SSML: break, emphasis, say-as, sub, prosody rate, p and s are known.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Read this text file aloud.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file, ending in .wav (or .flac, .ogg, .mp3 where their labels are known), labelled as "
            "AI-generated. Without it a name that is free, here.",
            show_default=False,
        ),
    ] = None,
    voice: Annotated[
        str,
        typer.Option(
            help="A voice's name (`loom voices` lists them), or the path of a piper voice's .onnx; auto: the "
            "voice of the text's language."
        ),
    ] = "auto",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A model that speaks, by name or folder: the same as --voice own:NAME. It says what it has "
            "learned, as numbers, dates and short commands.",
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="The text's language, as en or zh; without it heard from the text.")
    ] = None,
    speed: Annotated[float, typer.Option(help="0.25 to 4; 1 is as the voice learned.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    label: Annotated[
        str,
        typer.Option(
            help="audible: a rhythm of tones at the start says that it is AI-generated, and the file's own "
            "label too; hidden: the file's label alone."
        ),
    ] = "audible",
    as_json: Annotated[bool, typer.Option("--json", help="Print the file and figures as JSON.")] = False,
) -> None:
    """Read a text aloud: `loom speak "Hello there." -o hello.wav`. Long texts go sentence by sentence."""
    import time

    from tokenloom.config import new_file
    from tokenloom.engine.speaker import open_voice
    from tokenloom.sound.say import check_speed, pieces_of, say
    from tokenloom.sound.voices import choose_voice
    from tokenloom.tasks.places import free
    from tokenloom.tasks.sound_out import check_ending, deliver
    from tokenloom.trust import check_producer

    path = output if output is not None else free(Path("speech.wav"))
    kind = check_ending(path)
    if label not in LABELS:
        raise ValueError(f"label: found {label!r}; allowed are {', '.join(LABELS)}")
    if not path.parent.is_dir():
        raise ValueError(f"output: there is no folder {path.parent}")
    check_speed(speed)
    check_producer()
    if model is not None:
        if voice != "auto":
            raise ValueError(f"model: found with --voice {voice}; allowed: one of them")
        voice = f"own:{model}"
    words = _text(text, file)
    pieces = pieces_of(words)
    name = choose_voice(" ".join(piece.text for piece in pieces), voice, language)
    began = time.perf_counter()
    opened = open_voice(name)
    _tell_unread(
        words if pieces[-1].end != len(words) else " ".join(p.text for p in pieces), opened.languages
    )
    import numpy as np

    parts = []
    with _bar() as bar:
        task = bar.add_task("reading aloud", total=len(words))
        for piece, sound in say(opened, pieces, speed=speed, seed=seed):
            parts.append(sound)
            bar.update(task, completed=piece.end)
    samples = np.concatenate(parts)
    if not len(samples):
        raise ValueError(f"text: the voice {name} can read nothing in it; `loom voices` lists others")
    data = deliver(samples, opened.rate, kind, audible=label == "audible")
    with new_file(path) as new:
        new.write_bytes(data)
    seconds, took = len(samples) / opened.rate, time.perf_counter() - began
    facts = {"file": str(path), "voice": name, "seconds": round(seconds, 3), "seed": seed, "speed": speed}
    if as_json:
        print(json.dumps({**facts, "took_s": round(took, 3)}, ensure_ascii=False))
    else:
        print(f"written to {path} ({seconds:.1f} s of speech, voice {name}, in {took:.1f} s)")


def voices(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
) -> None:
    """List the voices that are here, and how to get others."""
    from tokenloom.sound.voices import GET_EMBEDDED, GET_ESPEAK, known, voices_home

    found = known()
    if as_json:
        for info in found:
            facts = {"name": info.name, "engine": info.engine, "languages": info.languages}
            print(json.dumps({**facts, "licence": info.licence}, ensure_ascii=False))
        return
    for info in found:
        spoken = "all that it knows" if "*" in info.languages else ", ".join(info.languages)
        note = f" ({info.note})" if info.note else ""
        print(f"{info.name:24} {spoken:20} {info.licence}{note}")
    engines = {info.engine for info in found}
    if "hibari" not in engines:
        print(f"The embedded English voice is not installed: {GET_EMBEDDED}")
    if "espeak" not in engines:
        print(f"For other languages get {GET_ESPEAK}.")
    print(f"Piper voices (NAME.onnx, NAME.onnx.json) and Kokoro's files go into {voices_home()}.")


def transcribe(
    sound: Annotated[
        Path,
        typer.Argument(help="A recording: WAV, FLAC, OGG, MP3, or WebM and MP4 where PyAV is installed."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file; its ending says the form: .txt, .srt, .vtt or .json. Without it the text is "
            "printed.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="text, srt, vtt or json (verbose: segments with their times)."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="What is spoken, as en or zh; without it heard from the sound.")
    ] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Write it down in English.")] = False,
    words: Annotated[
        bool, typer.Option("--words", help="The time of each word, in JSON and subtitles.")
    ] = False,
    prompt: Annotated[str, typer.Option(help="Names and words as they are spelled.")] = "",
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A recogniser's name or folder; without it the one that is here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Write down what is said in a recording: `loom transcribe in.wav -o in.srt`."""
    from tokenloom.config import put_text
    from tokenloom.sound.audio import read_audio
    from tokenloom.sound.recognise import RATE, Ask, Recogniser, recogniser_folder

    chosen = _form("json" if as_json else form, output)
    ask = Ask(language, translate, words, prompt)
    folder = recogniser_folder(model)
    samples, _ = read_audio(sound, rate=RATE, mono=True)
    recogniser = Recogniser(folder)
    with _bar() as bar:
        task = bar.add_task("listening", total=len(samples) / RATE)
        heard = recogniser.hear(samples[:, 0], ask, lambda done: bar.update(task, completed=done))
    written = written_as(heard, chosen, translate)
    if output is None:
        print(written.rstrip("\n"))
    else:
        put_text(output, written if written.endswith("\n") else written + "\n")
        print(f"written to {output} ({len(heard.segments)} segments, {heard.duration:.1f} s of sound)")
    if not heard.segments:
        print("No speech was found in it.", file=sys.stderr)


def written_as(heard: Heard, form: str, translated: bool = False) -> str:
    """What was heard as a text, subtitles or JSON."""
    from tokenloom.sound.subtitles import srt, vtt

    if form == "srt":
        return srt(heard)
    if form == "vtt":
        return vtt(heard)
    if form == "text":
        return heard.text
    facts: dict[str, Any] = {
        "task": "translate" if translated else "transcribe",
        "language": heard.language,
        "duration": round(heard.duration, 3),
        "text": heard.text,
        "segments": [
            {
                "start": round(one.start, 3),
                "end": round(one.end, 3),
                "text": one.text.strip(),
                "avg_logprob": round(one.avg_logprob, 4),
                "no_speech_prob": round(one.no_speech_prob, 4),
                **(
                    {"words": [{"word": w.text, "start": w.start, "end": w.end} for w in one.words]}
                    if one.words
                    else {}
                ),
            }
            for one in heard.segments
        ],
    }
    return json.dumps(facts, ensure_ascii=False, indent=1)


def _form(form: str | None, output: Path | None) -> str:
    endings = {".txt": "text", ".srt": "srt", ".vtt": "vtt", ".json": "json"}
    if form is None and output is not None:
        form = endings.get(output.suffix.lower())
        if form is None:
            raise ValueError(f"output: found {output.name}; allowed endings are {', '.join(endings)}")
    if form is not None and form not in FORMATS:
        raise ValueError(f"format: found {form!r}; allowed are {', '.join(FORMATS)}")
    return form or "text"


def _text(text: str | None, file: Path | None) -> str:
    """The words to be read: of the command, a file, or standard input."""
    if text not in (None, "-") and file is not None:
        raise ValueError("text: give words or --file, not both")
    if file is not None:
        if not file.is_file():
            raise ValueError(f"file: there is no file {file}")
        if file.stat().st_size > TEXT_MOST:
            raise ValueError(f"file: {file.stat().st_size} bytes; at most {TEXT_MOST} are read aloud")
        data = file.read_bytes()
    elif text in (None, "-"):
        if sys.stdin.isatty():
            raise ValueError('text: none was given; `loom speak "Hello." -o hello.wav`, or --file, or a pipe')
        data = sys.stdin.buffer.read(TEXT_MOST + 1)
    else:
        assert text is not None
        return text
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = str(file) if file is not None else "standard input"
        raise ValueError(f"text: {where} is no UTF-8 text (byte {error.start})") from error


def _tell_unread(text: str, languages: tuple[str, ...]) -> None:
    """Says on stderr which letters of another script an English voice leaves out."""
    from tokenloom.sound.say import unread

    if languages == ("en",) and (left := unread(text, frozenset({"LATIN"}))):
        print(f"Not read, for the voice knows no such letters: {left[:40]}", file=sys.stderr)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
