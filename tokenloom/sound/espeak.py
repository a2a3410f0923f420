"""espeak-ng as a separate program: a hundred languages, robotic, with nothing of it in this process.

It is under the GPL, so it is called and never linked. The text goes to its standard input, its sound comes
from its standard output as a WAV.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np

from tokenloom.sound.voices import GET_ESPEAK, NoVoice, Samples, VoiceInfo

PROGRAM = "espeak-ng"
WORDS_A_MINUTE = 175
TIMEOUT_S = 60.0
SAID_AS = {"zh": "cmn", "en": "en-us", "no": "nb"}
"""Codes for which it has other names."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9+_-]{0,31}")


class EspeakVoice:
    """One language of espeak-ng. seed has no effect: the same words always sound the same."""

    def __init__(self, which: str, program: str) -> None:
        self.name = f"espeak:{which}"
        self.languages: tuple[str, ...] = (which,)
        self._voice, self._program = SAID_AS.get(which, which), program
        self.rate = 22_050

    def utter(self, text: str, speed: float, seed: int) -> Samples:
        pace = str(round(min(max(WORDS_A_MINUTE * speed, 80), 700)))
        wav = _run([self._program, "--stdin", "--stdout", "-b", "1", "-v", self._voice, "-s", pace], text)
        samples, self.rate = _samples(wav)
        return samples


def _samples(wav: bytes) -> tuple[Samples, int]:
    """A WAV from a stream, whose sizes are not stated, and its rate."""
    at = wav.find(b"data")
    if wav[:4] != b"RIFF" or at < 36:
        raise NoVoice(f"{PROGRAM}: it gave no sound")
    rate = int.from_bytes(wav[24:28], "little")
    body = wav[at + 8 :]
    pcm = np.frombuffer(body[: len(body) // 2 * 2], "<i2")
    return (pcm / np.float32(32768)).astype(np.float32), rate


def _run(command: list[str], text: str) -> bytes:
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except OSError as error:
        raise NoVoice(f"{command[0]}: it cannot be run ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise NoVoice(f"{command[0]}: no sound came within {TIMEOUT_S:g} s") from error
    complaint = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode != 0 or "does not exist" in complaint:
        raise NoVoice(f"voice: {PROGRAM} says: {complaint[-200:] or f'exit status {done.returncode}'}")
    return done.stdout


def known(folder: Path) -> list[VoiceInfo]:
    """It reads every language it knows, where it is installed. folder: not looked at."""
    if shutil.which(PROGRAM) is None:
        return []
    return [VoiceInfo("espeak", "espeak", ("*",), "GPL-3.0-or-later", "espeak:LANGUAGE, a separate program")]


def open_voice(which: str) -> EspeakVoice:
    """The voice of a language's code, "en" where none is said."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise NoVoice(f"voice: {PROGRAM} is not installed; get {GET_ESPEAK}")
    which = which or "en"
    if not _NAME.fullmatch(which):
        raise NoVoice(f"voice: espeak:{which[:40]} is no language; give a code as espeak:de")
    listed = languages(program)
    if listed and SAID_AS.get(which, which).lower().split("+")[0] not in listed:
        raise NoVoice(
            f"voice: {PROGRAM} knows no language {which!r}; `{PROGRAM} --voices` lists those it does"
        )
    return EspeakVoice(which, program)


@cache
def languages(program: str) -> frozenset[str]:
    """The codes that the program lists, in small letters."""
    found = set()
    for line in _run([program, "--voices"], "").decode("utf-8", "replace").splitlines()[1:]:
        words = line.split()
        if len(words) > 1:
            found.add(words[1].lower())
            found.update(code.lower() for code in re.findall(r"\(([\w-]+) \d+\)", line))
    return frozenset(found | {code.partition("-")[0] for code in found})


def phonemes(text: str, language: str) -> str:
    """The text in the International Phonetic Alphabet, one line; for voices that read that."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise NoVoice(f"{PROGRAM}: not installed, and this voice needs its phonemes; get {GET_ESPEAK}")
    voice = SAID_AS.get(language, language)
    if not _NAME.fullmatch(voice):
        raise NoVoice(f"voice: {voice[:40]!r} is no language of {PROGRAM}")
    out = _run([program, "--stdin", "-q", "-b", "1", "--ipa", "-v", voice], text)
    return re.sub(r"\([a-z-]+\)", "", " ".join(out.decode("utf-8", "replace").split()))
