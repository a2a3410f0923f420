"""POST /v1/images/generations, /edits and /variations: pictures in OpenAI's shape, whole or streamed.

An edit without a mask and without words, but with a style, is the whole picture in that style. What is drawn
where nothing was marked is put back as it was, pixel by pixel. An edit of a diffusion model where nothing is
marked, neither by a mask nor by clear parts, draws the whole picture anew from it and the words.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from starlette.datastructures import UploadFile
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.serve import sse
from tokenloom.serve.body import checked, read_json
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.fetch import data_url
from tokenloom.serve.models import Drawing
from tokenloom.serve.schema_images import (
    EditRequest,
    ImagesRequest,
    Pictured,
    VariationRequest,
    from_form,
)
from tokenloom.serve.walking import Done, Partials, arrive, named, walk
from tokenloom.tasks import artist as roads
from tokenloom.tasks.artist import Artist, Diffuser
from tokenloom.tasks.picture_wish import Wish, check_style
from tokenloom.tasks.pictures import Drawn, Painter, Road
from tokenloom.tasks.pictures_in import (
    MAX_BYTES,
    BadPicture,
    fit_mask,
    fit_picture,
    has_clear,
    open_picture,
    own_mask,
    read_mask,
)
from tokenloom.tasks.pictures_out import deliver, put_into, resized

FILES = ("image", "image[]", "mask")
GENERATION, EDIT = "image_generation", "image_edit"
Asked = TypeVar("Asked", bound=Pictured)


@dataclass(frozen=True)
class Kept:
    """An edit's source at the size that is delivered, and what of it is drawn anew."""

    before: np.ndarray
    """uint8 (H, W, 4)."""
    marked: np.ndarray
    """bool (H, W)."""


@dataclass(frozen=True)
class Job:
    """A request for pictures that is ready to run."""

    body: Pictured
    model: Drawing
    kind: str
    """What its events are called."""
    road: Road[Drawn]
    wish: Wish
    size: tuple[int, int]
    """Width and height of what is delivered."""
    kept: Kept | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    def head(self) -> dict[str, Any]:
        """What every answer and event says."""
        opaque = self.body.background == "opaque" or self.body.output_format == "jpeg"
        return {
            "background": "opaque" if opaque else "transparent",
            "output_format": self.body.output_format or "png",
            "size": "{}x{}".format(*self.size),
        }

    def headers(self) -> dict[str, str]:
        return {"x-tokenloom-seed": str(self.wish.seed)}

    async def files(self, pictures: Iterable[np.ndarray], early: bool = False) -> list[dict[str, str]]:
        """The pictures' labelled files as the answer's fields, in base64, made side by side.

        early: they are under way; where both labels are asked for, such a picture has the hidden one.
        """
        return list(await asyncio.gather(*(asyncio.to_thread(self._files, one, early) for one in pictures)))

    def _files(self, pixels: np.ndarray, early: bool) -> dict[str, str]:
        large = resized(pixels, self.size)
        if self.kept is not None:
            large = put_into(self.kept.before, large, self.kept.marked)
        label = self.body.label or "visible"
        if label == "both" and not early:
            return {"b64_json": self._encoded(large, True), "plain_b64_json": self._encoded(large, False)}
        return {"b64_json": self._encoded(large, label == "visible")}

    def _encoded(self, large: np.ndarray, visible: bool) -> str:
        data = deliver(
            large,
            size=None,
            kind=self.body.output_format or "png",
            lang=self.body.lang or "en",
            visible=visible,
            opaque=self.body.background == "opaque",
        )
        return base64.b64encode(data).decode()

    def usage(self, drawn: Drawn) -> dict[str, Any]:
        artist = self.model.artist
        seen = self.kind == EDIT and isinstance(artist, Painter)
        codes = artist.tokens.per_picture if seen and isinstance(artist, Painter) else 0
        given, made = drawn.prompt_tokens, drawn.picture_tokens
        return {
            "input_tokens": given,
            "output_tokens": made,
            "total_tokens": given + made,
            "input_tokens_details": {"text_tokens": max(given - codes, 0), "image_tokens": codes},
        }


# --- the routes ---------------------------------------------------------------------------------------------


async def generations(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    """Pictures of words."""
    body = checked(ImagesRequest, value)
    model = await desk.models.drawing(body.model)
    wish, size = wish_of(body, model.artist)
    road = _made(lambda: roads.draw(model.artist, body.prompt, body.style, wish))
    return await answer(desk, http, Job(body, model, GENERATION, road, wish, size))


async def edits(desk: Desk, http: HttpRequest) -> Response:
    """A picture with a part drawn anew, or the whole in another style."""
    body, files = await _read(http, EditRequest)
    return await edited(desk, http, body, files)


async def edited(desk: Desk, http: HttpRequest, body: EditRequest, files: Mapping[str, bytes]) -> Response:
    """As `edits`, for a body that was read. files: image, mask."""
    model = await desk.models.drawing(body.model)
    artist, fit = model.artist, body.fit or "pad"
    wish, size = wish_of(body, artist)
    if "image" not in files:
        raise bad_request("image: missing, and required", "image", "missing_required_parameter")
    prompt = body.prompt

    def prepare() -> tuple[Road[Drawn], Kept | None]:
        image = open_picture(files["image"])
        frame = roads.frame(artist, wish)
        small = fit_picture(image, frame, fit)
        if prompt is None:
            if "mask" in files or body.style is None:
                raise BadPicture(
                    "prompt: missing; say what the marked part shall show, or give a style alone"
                )
            return roads.restyle(artist, small, body.style, wish), None
        if isinstance(artist, Diffuser) and "mask" not in files and not has_clear(image):
            return roads.edit(artist, small, None, prompt, body.style, wish), None
        marks = read_mask(files["mask"], image) if "mask" in files else own_mask(image)
        road = roads.edit(artist, small, fit_mask(marks, frame, fit), prompt, body.style, wish)
        return road, Kept(fit_picture(image, size, fit), fit_mask(marks, size, fit))

    try:
        road, kept = await asyncio.to_thread(prepare)
    except ValueError as error:
        raise named(str(error)) from None
    return await answer(desk, http, Job(body, model, EDIT, road, wish, size, kept))


async def variations(desk: Desk, http: HttpRequest) -> Response:
    """Other pictures of what one shows."""
    body, files = await _read(http, VariationRequest)
    return await varied(desk, http, body, files)


async def varied(
    desk: Desk, http: HttpRequest, body: VariationRequest, files: Mapping[str, bytes]
) -> Response:
    """As `variations`, for a body that was read. files: image."""
    model = await desk.models.drawing(body.model)
    artist, fit = model.artist, body.fit or "pad"
    wish, size = wish_of(body, artist)
    if "image" not in files:
        raise bad_request("image: missing, and required", "image", "missing_required_parameter")
    try:
        frame = roads.frame(artist, wish)
        small = await asyncio.to_thread(lambda: fit_picture(open_picture(files["image"]), frame, fit))
        road = roads.vary(artist, small, body.style, wish)
    except ValueError as error:
        raise named(str(error)) from None
    return await answer(desk, http, Job(body, model, GENERATION, road, wish, size))


async def answer(desk: Desk, http: HttpRequest, job: Job) -> Response:
    """The pictures, whole or as events."""
    if job.body.stream:
        return await sse.stream(
            http,
            _events(desk, job),
            hold_s=desk.settings.first_news_s,
            keepalive_s=desk.settings.keepalive_s,
            headers=job.headers(),
        )
    whole = await unless_gone(http, collect(desk, job))
    return JSONResponse(whole, headers=job.headers())


async def collect(desk: Desk, job: Job) -> dict[str, Any]:
    """The whole answer as one object."""
    drawn: Drawn = await arrive(desk, job.model, job.road)
    files = await job.files(drawn.pixels)
    data = [{**file, **_about(drawn, index)} for index, file in enumerate(files)]
    return {"created": job.created, **job.head(), "data": data, "usage": job.usage(drawn)}


def _about(drawn: Drawn, index: int) -> dict[str, Any]:
    """What is told of one picture beside its file."""
    about: dict[str, Any] = {"index": index, "seed": drawn.seed}
    if drawn.prompt:
        about["revised_prompt"] = drawn.prompt
    if drawn.scores:
        about["score"] = round(drawn.scores[index], 4)
    if any(drawn.withheld[index : index + 1]):
        about["withheld"] = True  # black: the model's own safety checker held it back
    return about


async def _events(desk: Desk, job: Job) -> AsyncGenerator[bytes, None]:
    head = {"created_at": job.created, "quality": "auto", **job.head()}
    count = job.body.partial_images or 0
    partials = Partials(desk, job.model, job.model.artist, count)

    def event(name: str, values: Mapping[str, Any]) -> bytes:
        kind = f"{job.kind}.{name}"
        return sse.event({"type": kind, **head, **values}, kind)

    async with aclosing(walk(desk, job.model, job.road, count)) as steps:
        async for step in steps:
            if isinstance(step, Done):
                drawn: Drawn = step.value
                break
            due = await partials.of(step)
            files = await job.files([pixels for *_, pixels in due], early=True)
            for (choice, number, _), file in zip(due, files, strict=True):
                shown = {**file, "partial_image_index": number, "index": choice}
                yield event("partial_image", shown)
    for index, file in enumerate(await job.files(drawn.pixels)):
        yield event("completed", {**file, **_about(drawn, index), "usage": job.usage(drawn)})
    yield sse.DONE


# --- what is asked ------------------------------------------------------------------------------------------


def wish_of(body: Pictured, artist: Artist) -> tuple[Wish, tuple[int, int]]:
    """How it is to be drawn, and width and height of what is delivered; the seed is drawn here, so that the
    answer's head can tell it."""
    given = body.given() if isinstance(artist, Diffuser) else None
    wish = _made(lambda: Wish(**body.wish(), size=given))
    if wish.seed is None:
        wish = dataclasses.replace(wish, seed=wish.drawn_seed())
    if isinstance(artist, Diffuser):
        return wish, _made(lambda: artist.frame(wish))
    try:
        check_style(body.style)
        side = body.square()
    except ValueError as error:
        field = str(error).partition(":")[0]
        raise ApiError(422, str(error), param=field, code="invalid_value") from None
    return wish, (side, side)


def _made(make: Any) -> Any:
    try:
        return make()
    except ValueError as error:
        raise named(str(error)) from None


async def _read(http: HttpRequest, kind: type[Asked]) -> tuple[Asked, dict[str, bytes]]:
    """A form's fields and files; JSON does as well, with data URLs for files."""
    found = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != "multipart/form-data":
        if found not in ("", "application/json"):
            message = f"The body is declared as {found}; send a form (multipart/form-data), or JSON."
            raise ApiError(415, message, code="unsupported_media_type")
        body = checked(kind, await read_json(http))
        given = {name: getattr(body, name, None) for name in ("image", "mask")}
        return body, {name: data_url(url, name) for name, url in given.items() if url is not None}
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    async with http.form(max_files=4, max_fields=64) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                await _take(files, name, value)
            elif name in fields:
                raise bad_request(f"{name}: found twice in the form; give it once", name)
            elif name in FILES:
                raise bad_request(f"{name}: found a text; it must be a file of the form", name)
            else:
                fields[name] = value
    return checked(kind, from_form(fields)), files


async def _take(files: dict[str, bytes], name: str, value: UploadFile) -> None:
    if name not in FILES:
        raise bad_request(f"{name}: found a file; files are image and mask", name)
    plain = name.removesuffix("[]")
    if plain in files:
        raise bad_request(f"{plain}: found several files; give one", plain)
    files[plain] = await value.read(MAX_BYTES + 1)
