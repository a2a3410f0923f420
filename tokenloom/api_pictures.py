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
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tokenloom.engine.diffusion import Brush, Paint, Stroke, prepare_diffusion
from tokenloom.engine.request import Request
from tokenloom.tasks.artist import (
    Artist,
    Diffuser,
    describe,
    draw,
    edit,
    frame,
    open_artist,
    restyle,
    vary,
)
from tokenloom.tasks.picture_wish import Wish
from tokenloom.tasks.pictures import (
    Decode,
    Described,
    Drawn,
    Encode,
    Judge,
    Need,
    Road,
    Write,
    walk,
)
from tokenloom.tasks.pictures_in import (
    Fit,
    fit_mask,
    fit_picture,
    has_clear,
    open_picture,
    own_mask,
    read_mask,
    read_picture,
)
from tokenloom.tasks.pictures_out import SIZE, deliver, enlarge, kind_of, put_into
from tokenloom.tasks.places import write as write_file

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
    whole: bool = False
    """It is as large as it is to be: a diffusion model drew it, (H, W, 4)."""
    withheld: bool = False
    """It is black, for the model's own safety checker held it back."""

    def large(self, size: int = SIZE) -> np.ndarray:
        """uint8 (size, size, 4), RGBA, enlarged for use; what a diffusion model drew stays as it is."""
        if self.before is None or self.marked is None:
            return self.pixels if self.whole else enlarge(self.pixels, size)
        new = self.pixels if self.whole else enlarge(self.pixels, len(self.before))
        mixed = put_into(self.before, new, self.marked)
        return mixed if self.whole else enlarge(mixed, size)

    def data(self, kind: Any = "png", *, size: int = SIZE, lang: str = "en") -> bytes:
        """The labelled file: png, webp or jpeg."""
        return deliver(self.large(size), size=None, kind=kind, lang=lang)

    def save(self, path: str | Path, *, size: int = SIZE, lang: str = "en") -> Path:
        """Writes the labelled file; its ending names the format. Returns the path."""
        path = Path(path)
        write_file(path, self.data(kind_of(path), size=size, lang=lang))
        return path


class Pictures:
    """What a picture model does. `run` writes a request's ids."""

    def __init__(self, name: str, folder: Path, run: Run) -> None:
        """PictureError where the folder holds a model of another kind."""
        self.artist: Artist = open_artist(folder, name)
        self._folder = folder
        self._run = run
        self._hands: Future[Hands] | None = None
        self._lock = threading.Lock()

    def draw(self, prompt: str, *, style: str | None = None, **wish: Any) -> list[Picture]:
        """Pictures of these words; wish: n, seed, guidance, and best_of, temperature, top_k, top_p, or of a
        diffusion model negative, steps, size."""
        return self._pictures(draw(self.artist, prompt, style, Wish(**wish)))

    def edit(
        self,
        image: Any,
        prompt: str,
        *,
        mask: Any = None,
        style: str | None = None,
        fit: Fit = "pad",
        size: int | tuple[int, int] | None = None,
        **wish: Any,
    ) -> list[Picture]:
        """The picture, drawn anew where the mask is light, or clear; all else stays as it is.

        image, mask: a path, a file's bytes, or a Pillow image. mask: of the same size; None takes what is
        clear in the picture. size: of the source that is kept around what is drawn; of a diffusion model that
        which is drawn, as width and height. Where nothing is marked, it draws the whole anew.
        """
        source = _image(image, "image")
        if isinstance(self.artist, Diffuser) and size is not None:
            wish["size"] = (size, size) if isinstance(size, int) else size
        asked = Wish(**wish)
        shape = frame(self.artist, asked)
        small = fit_picture(source, shape, fit)
        if isinstance(self.artist, Diffuser) and mask is None and not has_clear(source):
            return self._pictures(edit(self.artist, small, None, prompt, style, asked))
        marks = own_mask(source) if mask is None else read_mask(_bytes(mask), source)
        road = edit(self.artist, small, fit_mask(marks, shape, fit), prompt, style, asked)
        kept = shape if isinstance(self.artist, Diffuser) else SIZE if size is None else size
        return self._pictures(road, fit_picture(source, kept, fit), fit_mask(marks, kept, fit))

    def restyle(self, image: Any, style: str, *, fit: Fit = "pad", **wish: Any) -> list[Picture]:
        """The picture in another style; a diffusion model takes any words for it, and strength."""
        asked = Wish(**wish)
        source = fit_picture(_image(image, "image"), frame(self.artist, asked), fit)
        return self._pictures(restyle(self.artist, source, style, asked))

    def vary(self, image: Any, *, style: str | None = None, fit: Fit = "pad", **wish: Any) -> list[Picture]:
        """Other pictures of what this one shows."""
        asked = Wish(**wish)
        source = fit_picture(_image(image, "image"), frame(self.artist, asked), fit)
        return self._pictures(vary(self.artist, source, style, asked))

    def describe(self, image: Any, *, lang: str = "en", fit: Fit = "pad", **options: Any) -> Described:
        """What the picture shows, in "en" or "zh"; options: seed, temperature, max_tokens,
        best_of."""
        source = fit_picture(_image(image, "image"), self.artist.size, fit)
        return self._walk(describe(self.artist, source, lang, **options))

    def begin(self) -> None:
        """Opens codec and judge on a thread, if that has not begun."""
        with self._lock:
            if self._hands is None:
                self._hands = _begin(self._folder)

    def _pictures(
        self, road: Road[Drawn], before: np.ndarray | None = None, marked: np.ndarray | None = None
    ) -> list[Picture]:
        drawn = self._walk(road)
        whole = isinstance(self.artist, Diffuser)
        return [
            Picture(
                pixels,
                drawn.codes[at],
                drawn.seed,
                drawn.prompt,
                drawn.scores[at] if drawn.scores else None,
                before,
                marked,
                whole,
                any(drawn.withheld[at : at + 1]),
            )
            for at, pixels in enumerate(drawn.pixels)
        ]

    def _walk(self, road: Road[T]) -> T:
        self.begin()
        return walk(road, self._take)

    def _take(self, need: Need) -> Any:
        if isinstance(need, Write):
            return [tuple(ids) for ids in self._run(need.request("local-picture", self.artist.name))]
        if isinstance(need, Paint):
            raise AssertionError(need)
        assert self._hands is not None
        hands = self._hands.result()
        match need:
            case Encode():
                return hands.encode(need.pictures)
            case Decode():
                return hands.decode(need.codes)
            case Judge():
                return hands.judge(list(need.told), need.pictures)


class Diffusion(Pictures):
    """A loaded diffusion model: it draws, edits, restyles and varies, and writes and describes nothing."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        dtype: str = "auto",
        device: str = "auto",
        news: Callable[[Stroke], None] | None = None,
    ) -> None:
        """ValueError for a folder that cannot be opened, or where diffusers is missing. news: told each step
        of a painting."""
        super().__init__(name, folder, _no_words)
        self.name, self.path = name, folder
        plan = prepare_diffusion(folder, dtype, device)
        self._brush: Brush | None = Brush(folder, plan.dtype, plan.device)
        self.news = news

    def begin(self) -> None:
        """Nothing is left to open."""

    @property
    def pictures(self) -> Diffusion:
        """Itself: a text model has its pictures here."""
        return self

    def close(self) -> None:
        """Gives the memory back; it cannot be used afterwards."""
        self._brush = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, need: Need) -> Any:
        assert isinstance(need, Paint)
        if self._brush is None:
            raise ValueError(f"model: {self.name} was closed; load it again")
        with self._lock:
            return self._brush.paint(need, self.news)


def _no_words(_: Request) -> Sequence[Sequence[int]]:
    raise AssertionError("a diffusion model writes nothing")


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
