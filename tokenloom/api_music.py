"""Music in the Python API: compose, go on with a score, write bars of one anew, with a loaded composer.

Synchronous and in this process, as tokenloom.api is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenloom.engine.request import Request
from tokenloom.sound.score import Score
from tokenloom.tasks.music import Composer, How, Road, accompanied, compose, go_on, infill, wish_of
from tokenloom.tasks.music_in import read_score
from tokenloom.tasks.music_out import RATE, deliver, kind_of, samples_of
from tokenloom.tasks.places import write

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Run = Callable[[Request], Sequence[Sequence[int]]]
"""Writes a request's ids, by choice."""
WISHED = ("kind", "key", "metre", "tempo")


@dataclass(frozen=True)
class Composed:
    """One piece. Files bear the label that says it is AI-generated."""

    score: Score
    seed: int = 0
    unknown: tuple[str, ...] = ()
    """Words of the wish that were not understood, and so had no effect."""

    @property
    def midi(self) -> bytes:
        """A MIDI file."""
        return self.data("midi")

    @property
    def abc(self) -> str:
        """An ABC text."""
        return self.data("abc").decode()

    @property
    def seconds(self) -> float:
        return self.score.seconds

    def samples(self, rate: int = RATE, soundfont: str | Path | None = None) -> np.ndarray:
        """The sound, float32 (samples, 2), without a label."""
        found: np.ndarray = samples_of(self.score, rate, self.seed, soundfont)
        return found

    def wav(self, **options: Any) -> bytes:
        """A WAV file; options as `data`."""
        return self.data("wav", **options)

    def roll(self, width: int = 1200) -> Image:
        """The piano roll, RGB."""
        from tokenloom.sound.roll import roll

        return roll(self.score, width)

    def data(self, kind: str, **options: Any) -> bytes:
        """The labelled file: midi, abc, wav, flac, ogg, mp3, png or svg.

        options: audible=False leaves out the tones before a sound, soundfont, lang, width.
        """
        return deliver(self.score, kind, **{"seed": self.seed, **options})

    def save(self, path: str | Path, **options: Any) -> Path:
        """Writes the labelled file; its ending names the format. Returns the path."""
        path = Path(path)
        write(path, self.data(kind_of(path), **options))
        return path

    def accompanied(self) -> Composed:
        """The same with chords and a bass, put there by rules."""
        return Composed(accompanied(self.score), self.seed, self.unknown)


class Music:
    """What a composer does. `run` writes a request's ids."""

    def __init__(self, name: str, folder: Path, run: Run) -> None:
        """MusicError where the folder holds a model of another kind."""
        self.composer = Composer.open(folder, name)
        self._run = run

    def compose(self, words: str = "", *, bars: int | None = None, **options: Any) -> list[Composed]:
        """Pieces of these words, in English or Chinese.

        options: kind, key ("A minor"), metre ("6/8"), tempo, which go over the words; n, seed, temperature,
        top_k, top_p, harmonise, drafts. 16 bars unless said.
        """
        wish, how = _asked(words, options, bars=bars)
        return self._walk(compose(self.composer, wish, how), wish.unknown)

    def go_on(self, score: Any, bars: int = 8, words: str = "", **options: Any) -> list[Composed]:
        """The melody of a score, and so many bars behind it. score: a Score, a path or a file's bytes."""
        wish, how = _asked(words, options)
        return self._walk(go_on(self.composer, _score(score), bars, wish, how), wish.unknown)

    def infill(self, score: Any, first: int, last: int, words: str = "", **options: Any) -> list[Composed]:
        """The melody of a score with bars `first` to `last` written anew; all others stay."""
        wish, how = _asked(words, options)
        return self._walk(infill(self.composer, _score(score), first, last, wish, how), wish.unknown)

    def _walk(self, road: Road, unknown: tuple[str, ...]) -> list[Composed]:
        need = next(road)
        request = need.request("local-music", self.composer.name)
        try:
            road.send([tuple(ids) for ids in self._run(request)])
        except StopIteration as end:
            return [Composed(score, end.value.seed, unknown) for score in end.value.scores]
        raise AssertionError("the road asks once")


def _asked(words: str, options: dict[str, Any], bars: int | None = None) -> tuple[Any, How]:
    wished = {name: options[name] for name in WISHED if name in options}
    rest = {name: value for name, value in options.items() if name not in WISHED}
    return wish_of(words, bars=bars, **wished), How(**rest)


def _score(given: Any) -> Score:
    return given if isinstance(given, Score) else read_score(given)
