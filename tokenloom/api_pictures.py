"""Pictures in the Python API: draw, edit, restyle, vary and describe with a loaded picture model.

Synchronous and in this process, as tokenloom.api is. The codec is opened on a thread while the model writes,
for importing PyTorch takes as long as that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tokenloom.engine.request import Request
from tokenloom.tasks.pictures import (
    Decode,
    Described,
    Drawn,
    Encode,
    Judge,
    Need,
    Painter,
    Road,
    Wish,
    Write,
    describe,
    draw,
    edit,
    restyle,
    vary,
    walk,
)
from tokenloom.tasks.pictures_in import (
    Fit,
    fit_mask,
    fit_picture,
    open_picture,
    own_mask,
    read_mask,
    read_picture,
)
from tokenloom.tasks.pictures_out import SIZE, deliver, enlarge, kind_of, put_into
from tokenloom.tasks.pictures_out import write as write_file

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from tokenloom.engine.works import Hands

T = TypeVar("T")
Run = Callable[[Request], Sequence[Sequence[int]]]
"""Writes a request's ids, by choice."""


@dataclass(frozen=True)
class Picture:
    """One drawn picture."""

    pixels: np.ndarray
    """uint8 (S, S, 4), RGBA, as the codec made it."""
    codes: np.ndarray
    """int64 (P,)."""
    seed: int
    prompt: str = ""
    score: float | None = None
    """The judge's, where candidates were compared."""
    before: np.ndarray | None = field(default=None, repr=False)
    """An edit's source, uint8 (D, D, 4), of which all that was not marked stays."""
    marked: np.ndarray | None = field(default=None, repr=False)
    """What was to be drawn anew, bool (D, D)."""

    def large(self, size: int = SIZE) -> np.ndarray:
        """uint8 (size, size, 4), RGBA, enlarged for use."""
        if self.before is None or self.marked is None:
            return enlarge(self.pixels, size)
        side = len(self.before)
        whole = put_into(self.before, enlarge(self.pixels, side), self.marked)
        return enlarge(whole, size)

    def data(self, kind: Any = "png", *, size: int = SIZE, lang: str = "en") -> bytes:
        """The labelled file: png, webp or jpeg."""
        return deliver(self.large(size), size=size, kind=kind, lang=lang)

    def save(self, path: str | Path, *, size: int = SIZE, lang: str = "en") -> Path:
        """Writes the labelled file; its ending names the format. Returns the path."""
        path = Path(path)
        write_file(path, self.data(kind_of(path), size=size, lang=lang))
        return path


class Pictures:
    """What a picture model does. `run` writes a request's ids."""

    def __init__(self, name: str, folder: Path, run: Run) -> None:
        """PictureError where the folder holds a model of another kind."""
        self.painter = Painter.open(folder, name)
        self._folder = folder
        self._run = run
        self._hands: Future[Hands] | None = None
        self._lock = threading.Lock()

    def draw(self, prompt: str, *, style: str | None = None, **wish: Any) -> list[Picture]:
        """Pictures of these words; wish: n, seed, best_of, guidance, temperature, top_k, top_p."""
        return _pictures(self._walk(draw(self.painter, prompt, style, Wish(**wish))))

    def edit(
        self,
        image: Any,
        prompt: str,
        *,
        mask: Any = None,
        style: str | None = None,
        fit: Fit = "pad",
        size: int = SIZE,
        **wish: Any,
    ) -> list[Picture]:
        """The picture, drawn anew where the mask is light, or clear; all else stays as it is.

        image, mask: a path, a file's bytes, or a Pillow image. mask: of the same size; None takes what is
        clear in the picture. size: of the source that is kept around what is drawn.
        """
        source = _image(image, "image")
        marks = own_mask(source) if mask is None else read_mask(_bytes(mask), source)
        small, marked = self._fit(source, fit), fit_mask(marks, self.painter.size, fit)
        drawn = self._walk(edit(self.painter, small, marked, prompt, style, Wish(**wish)))
        return _pictures(drawn, fit_picture(source, size, fit), fit_mask(marks, size, fit))

    def restyle(self, image: Any, style: str, *, fit: Fit = "pad", **wish: Any) -> list[Picture]:
        """The picture in another style."""
        source = self._fit(_image(image, "image"), fit)
        return _pictures(self._walk(restyle(self.painter, source, style, Wish(**wish))))

    def vary(self, image: Any, *, style: str | None = None, fit: Fit = "pad", **wish: Any) -> list[Picture]:
        """Other pictures of what this one shows."""
        source = self._fit(_image(image, "image"), fit)
        return _pictures(self._walk(vary(self.painter, source, style, Wish(**wish))))

    def describe(self, image: Any, *, lang: str = "en", fit: Fit = "pad", **options: Any) -> Described:
        """What the picture shows, in "en" or "zh"; options: seed, temperature, max_tokens."""
        return self._walk(describe(self.painter, self._fit(_image(image, "image"), fit), lang, **options))

    def _fit(self, image: Image, fit: Fit) -> np.ndarray:
        return fit_picture(image, self.painter.size, fit)

    def begin(self) -> None:
        """Opens codec and judge on a thread, if that has not begun."""
        with self._lock:
            if self._hands is None:
                self._hands = _begin(self._folder)

    def _walk(self, road: Road[T]) -> T:
        self.begin()
        return walk(road, self._take)

    def _take(self, need: Need) -> Any:
        if isinstance(need, Write):
            return [tuple(ids) for ids in self._run(need.request("local-picture", self.painter.name))]
        assert self._hands is not None
        hands = self._hands.result()
        match need:
            case Encode():
                return hands.encode(need.pictures)
            case Decode():
                return hands.decode(need.codes)
            case Judge():
                return hands.judge(list(need.texts), need.pictures)


def _begin(folder: Path) -> Future[Hands]:
    """Opens codec and judge on a thread."""
    from tokenloom.engine.works import open_works

    opened: Future[Hands] = Future()

    def work() -> None:
        try:
            opened.set_result(open_works(str(folder)))
        except (ValueError, OSError, ImportError, RuntimeError) as error:
            opened.set_exception(error)

    threading.Thread(target=work, name="codec", daemon=True).start()
    return opened


def _pictures(
    drawn: Drawn, before: np.ndarray | None = None, marked: np.ndarray | None = None
) -> list[Picture]:
    scores = drawn.scores or (None,) * len(drawn.pixels)
    return [
        Picture(pixels, codes, drawn.seed, drawn.prompt, score, before, marked)
        for pixels, codes, score in zip(drawn.pixels, drawn.codes, scores, strict=True)
    ]


def _image(given: Any, name: str) -> Image:
    return open_picture(_bytes(given), name)


def _bytes(given: Any) -> bytes:
    """A picture's file, however it was given."""
    if isinstance(given, bytes):
        return given
    if isinstance(given, str | Path):
        return read_picture(Path(given))
    import io

    from PIL import Image as Images

    if not isinstance(given, Images.Image):
        raise ValueError(
            f"image: found {type(given).__name__}; allowed: a path, a file's bytes or a Pillow image"
        )
    buffer = io.BytesIO()
    given.save(buffer, "PNG")
    return buffer.getvalue()
