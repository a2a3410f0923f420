"""What the routes of pictures take: OpenAI's fields that this server does, and a few extras."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tokenloom.serve.body import Body
from tokenloom.serve.errors import bad_request
from tokenloom.serve.schema_sampling import SEEDS

SIZES = (64, 1024)
"""Pixels along a side of what is delivered of a model that writes codes."""
SIZE = 512
MAX_SIDE = 2048
MAX_STYLE = 200
MAX_PARTIALS = 64
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


class Pictured(Body):
    """How pictures are drawn and in what form they come."""

    model: str = Field("", min_length=1)
    """When not given: the first picture model on offer."""
    n: int | None = Field(None, ge=1, le=64)
    size: str | None = None
    """Width x height. Square, 64x64 to 1024x1024, and auto or none is 512x512; of a diffusion model up to
    2048 a side, multiples of 8, and auto is what it learned."""
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png", "webp", "jpeg"] | None = None
    """png when not given."""
    background: Literal["auto", "transparent", "opaque"] | None = None
    """opaque: on white. transparent and auto: as it is drawn, which JPEG cannot hold."""
    style: str | None = Field(None, min_length=1, max_length=MAX_STYLE)
    """One of the model's styles: fluent, noto, twemoji, clipart. A diffusion model takes it only where a
    whole picture changes its style, and then any words."""
    seed: int | None = Field(None, ge=-SEEDS, lt=SEEDS)
    """The same seed and request give the same pictures; drawn when not given; x-tokenloom-seed tells it."""
    guidance: float | None = Field(None, ge=0, le=20)
    """How strongly the words hold; 1 = as learned. When not given, as the model's makers recommend; of an
    edit by style alone 1.75, and the temperature 0.55."""
    temperature: float | None = Field(None, ge=0, le=2)
    top_k: int | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    best_of: int | None = Field(None, ge=1, le=256)
    """The judge chooses each picture out of so many candidates; of an edit by style alone 64 when not given,
    or 256 in all, of which one is kept that is like the others, near to the source and in that style."""
    negative_prompt: str | None = None
    """What shall not be seen. This and the next two are for diffusion models alone."""
    steps: int | None = Field(None, ge=1, le=500)
    """From noise to the picture. When not given, as the pipeline does it."""
    strength: float | None = Field(None, gt=0, le=1)
    """How far from the given picture."""
    lang: Literal["en", "zh"] | None = None
    """Of the visible label's words; en when not given."""
    label: Literal["visible", "hidden", "both"] | None = None
    """visible (when not given): AI-generated stands on the picture. hidden: in the file alone, for pages that
    show the words beside it. both: b64_json with the words and plain_b64_json without, of each picture."""
    stream: bool | None = None
    partial_images: int | None = Field(None, ge=0, le=MAX_PARTIALS)
    """With stream: so many pictures of each that is under way; what has no codes yet is grey."""
    quality: Literal["auto", "standard"] | None = None
    moderation: Literal["auto"] | None = None
    user: str | None = None
    """Accepted and not kept; the same holds for safety_identifier."""
    safety_identifier: str | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "output_compression": "WebP comes without loss and JPEG at one quality",
        "input_fidelity": "what is not marked stays as it is",
        "reference_images": "send one image to /v1/images/edits",
    }

    @field_validator("response_format", mode="before")
    @classmethod
    def _no_url(cls, value: Any) -> Any:
        if value == "url":
            raise ValueError("url is not given, for nothing is stored here; allowed: b64_json")
        return value

    @field_validator("size")
    @classmethod
    def _width_and_height(cls, value: str | None) -> str | None:
        if value in (None, "auto"):
            return None
        found = _SIZE.fullmatch(str(value))
        if not found or not all(8 <= int(side) <= MAX_SIDE for side in found.groups()):
            raise ValueError("allowed: 64x64 to 1024x1024 (of a diffusion model 2048x2048), or auto")
        return value

    @model_validator(mode="after")
    def _together(self) -> Pictured:
        if self.partial_images and not self.stream:
            raise ValueError("partial_images has no effect without stream: true; leave it out")
        if self.partial_images and (self.best_of or 1) > 1:
            raise ValueError("partial_images has no effect with best_of, which compares whole pictures")
        if self.background == "transparent" and self.output_format == "jpeg":
            raise ValueError("background: JPEG has no transparency; use png or webp")
        return self

    def given(self) -> tuple[int, int] | None:
        """Width and height, where they are given."""
        if self.size is None:
            return None
        width, _, height = self.size.partition("x")
        return int(width), int(height)

    def square(self) -> int:
        """Pixels along a side of what is delivered of a model that draws squares; ValueError for others."""
        width, height = self.given() or (SIZE, SIZE)
        if width != height or not SIZES[0] <= width <= SIZES[1]:
            raise ValueError(
                f"size: found {self.size}; its pictures are square; allowed: 64x64 to 1024x1024, or auto"
            )
        return width

    def wish(self) -> dict[str, Any]:
        """The keywords of tasks.pictures.Wish, but for the size."""
        names = ("seed", "guidance", "temperature", "top_k", "top_p", "steps", "strength")
        return {
            "n": self.n or 1,
            "best_of": 1 if self.partial_images else self.best_of,
            "negative": self.negative_prompt or "",
            **{name: getattr(self, name) for name in names},
        }


class ImagesRequest(Pictured):
    prompt: str = Field(min_length=1)
    """What the pictures show, in English or Chinese."""


class EditRequest(Pictured):
    """The fields of a form; image and mask are files in it, or data URLs in JSON."""

    prompt: str | None = Field(None, min_length=1)
    """What the marked part shall show. Without it: style, and no mask, for the whole in another style."""
    image: str | None = None
    """data:image/png;base64,..."""
    mask: str | None = None
    """Of the same size: clear, or light, where something new is to be drawn. Without it what is clear in the
    image."""
    fit: Literal["pad", "crop"] | None = None
    """An image that is not square: pad (when not given) puts clear margins around it, crop takes the
    middle."""


class VariationRequest(Pictured):
    """The fields of a form; the image is a file in it, or a data URL in JSON."""

    image: str | None = None
    fit: Literal["pad", "crop"] | None = None


WHOLE = ("n", "seed", "top_k", "best_of", "partial_images", "steps")
NUMBERS = ("guidance", "temperature", "top_p", "strength")
YES = {"true": True, "false": False}


def from_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """A form's texts as the values they stand for; ApiError 400 names one that is none."""
    found: dict[str, Any] = {}
    for name, text in fields.items():
        try:
            if name in WHOLE:
                found[name] = int(text)
            elif name in NUMBERS:
                found[name] = float(text)
            elif name == "stream":
                found[name] = YES[text.lower()]
            else:
                found[name] = text
        except (ValueError, KeyError):
            kind = "a whole number" if name in WHOLE else "a number" if name in NUMBERS else "true or false"
            raise bad_request(f"{name}: found {text[:80]!r}; it must be {kind}", name) from None
    return found
