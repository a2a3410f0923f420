"""A diffusion model of the diffusers library as one more pair of hands: words, and a picture, to a picture.

Drawing, image-to-image and inpainting share one set of weights (`AutoPipeline...from_pipe`). Pictures are
drawn one after another, each from its own seed, so that a picture is the same whatever is drawn beside it,
and so that memory does not grow with their number. No code of the folder's own is run and no pickle is opened
(hub.pipeline); a safety checker that lies in the folder is used. Not the host's side (engine.easel).

Sources: Ho et al. 2020, Denoising Diffusion Probabilistic Models; Rombach et al. 2022, High-Resolution Image
Synthesis with Latent Diffusion Models; the diffusers library for the networks.
"""

# Shapes: N pictures, H W pixels

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tokenloom.engine.check import BadRequest
from tokenloom.hub.pipeline import Pipeline, read_pipeline, variant_of, weight_files
from tokenloom.weights.safetensors import DTYPE_BYTES, read_header

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    from tokenloom.engine.request import Delta, Request

NEEDED = ("diffusers", "transformers")
FLOATS = ("F64", "F32", "F16", "BF16")
WORK = 2048
"""Values for each pixel of a picture while its latents are decoded, about."""
SEEDS = 2**64


@dataclass(frozen=True)
class Paint:
    """What is to be painted. None: as the pipeline does it of itself."""

    prompt: str
    negative: str = ""
    """What shall not be seen."""
    n: int = 1
    seed: int = 0
    """Of the first picture; the next has the next number."""
    steps: int | None = None
    guidance: float | None = None
    size: tuple[int, int] | None = None
    """Width and height; None = those that the model learned. Not where there is an image, which says it."""
    image: np.ndarray | None = None
    """uint8 (H, W, 4): begun from this picture instead of noise."""
    mask: np.ndarray | None = None
    """bool (H, W): only this part of the image is painted anew."""
    strength: float | None = None
    """How far from the image, above 0 to 1."""
    partials: int = 0
    """So many pictures of each are shown before it is whole."""


@dataclass(frozen=True)
class Stroke:
    """News of a painting: a step of one of its pictures is done."""

    picture: int
    step: int
    steps: int
    partial: int | None = None
    """Which of the pictures under way this is, from 0."""
    pixels: np.ndarray | None = None
    """uint8 (H, W, 4) of that one."""


@dataclass(frozen=True)
class Painted:
    """What came of it."""

    pixels: np.ndarray
    """uint8 (N, H, W, 4)."""
    withheld: tuple[bool, ...]
    """The model's own safety checker held this picture back; it is black."""


@dataclass(frozen=True)
class Refused:
    """Stands for what was painted where the model lacks what was asked."""

    why: str
    """Begins with the field at fault."""


class Stopped(Exception):
    """A painting was given up between two steps."""


News = Callable[[Stroke], None]


@dataclass(frozen=True)
class DiffusionPlan:
    """How a diffusion model would be loaded and what it would take; `open` does it. As engine.load.Plan."""

    path: str
    dtype: str
    device: str
    memory_bytes: int
    """Weights, and one picture's work."""
    room_bytes: int | None = None
    """Free memory of the device, where it is not the machine's own."""
    n_slots: int = 1
    context: int = 0
    vocab_size: int = 0
    works: bool = True

    def open(self) -> DiffusionCore:
        """Reads the weights. ValueError or OSError for what cannot be read."""
        return DiffusionCore(Brush(Path(self.path), self.dtype, self.device))


class DiffusionCore:
    """Stands where a text model has its core: it has hands and writes nothing. As engine.held.Core."""

    def __init__(self, brush: Brush) -> None:
        self.brush: Brush | None = brush

    @property
    def busy(self) -> bool:
        return False

    def add(self, request: Request) -> NoReturn:
        """Refuses: BadRequest."""
        raise BadRequest(f"model: {request.model} is a diffusion model, which draws and writes no text")

    def abort(self, request_id: str) -> None:
        """There is never a request."""

    def step(self) -> list[Delta]:
        return []

    def stats(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        """Gives the weights back, once a painting that goes on has ended its step."""
        self.brush = None


def prepare_diffusion(
    path: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    free: Callable[[Any], int | None] | None = None,
) -> DiffusionPlan:
    """Reads the folder's settings and the headers of its weights; no weights.

    dtype: auto is bfloat16 on CUDA (float16 where it has none) and float32 elsewhere. free: tells the free
    bytes of a device of its own. ValueError says what is wrong with the folder or missing on this machine.
    """
    folder = Path(path)
    check_library(folder.name)
    index = read_pipeline(folder)
    import torch

    from tokenloom.model.load import pick_device, pick_dtype

    place = pick_device(device)
    if dtype == "auto":
        half = (
            torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float16
        )
        kind = half if place.type == "cuda" else torch.float32
    else:
        kind = pick_dtype(dtype, place)
    room = None if free is None else free(place)
    taken = _weight_bytes(folder, index, kind.itemsize) + WORK * index.size**2 * kind.itemsize
    return DiffusionPlan(str(path), str(kind).removeprefix("torch."), str(place), taken, room)


def check_library(name: str) -> None:
    """ValueError where this machine has no diffusers."""
    if missing := [module for module in NEEDED if importlib.util.find_spec(module) is None]:
        raise BadRequest(
            f"model: {name} is a diffusion model, and {' and '.join(missing)} is missing here; "
            "`pip install 'tokenloom[diffusion]'` brings it"
        )


def _weight_bytes(folder: Path, index: Pipeline, float_bytes: int) -> int:
    """Memory of the weights once their numbers with a point have this width."""
    total = 0
    for file in weight_files(str(folder), _files(folder), index):
        for entry in read_header(folder / file)[0].values():
            width = float_bytes if entry.dtype in FLOATS else DTYPE_BYTES.get(entry.dtype, 1)
            total += math.prod(entry.shape) * width
    return total


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


class Brush:
    """A folder's pipelines, open. One painting at a time; not thread-safe."""

    def __init__(self, folder: Path, dtype: str, device: str) -> None:
        """ValueError or OSError for what cannot be read."""
        import torch
        from diffusers import DiffusionPipeline

        index = read_pipeline(folder)
        self._name = folder.name
        with _without_bars():
            self._pipe: Any = DiffusionPipeline.from_pretrained(
                str(folder),
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                variant=variant_of(weight_files(str(folder), _files(folder), index)),
            ).to(device)
        self._size = index.size
        self._modes: dict[str, Any] = {}

    def paint(
        self, paint: Paint, news: News | None = None, stopped: Callable[[], bool] = lambda: False
    ) -> Painted:
        """Draws the pictures; `news` is told each step, on this thread.

        Stopped where `stopped()` is true between two steps. ValueError names an option that this model has
        not; RuntimeError (out of memory, say) as it comes.
        """
        import numpy as np

        pipe = self._mode("draw" if paint.image is None else "change" if paint.mask is None else "inpaint")
        options = self._options(pipe, paint)
        pictures, withheld = [], []
        for picture in range(paint.n):
            if stopped():
                raise Stopped
            found = self._one(pipe, options, paint, picture, news, stopped)
            flags = getattr(found, "nsfw_content_detected", None)
            withheld.append(bool(flags and flags[0]))
            pictures.append(np.asarray(found.images[0].convert("RGBA")))
        return Painted(np.stack(pictures), tuple(withheld))

    def _one(
        self,
        pipe: Any,
        options: dict[str, Any],
        paint: Paint,
        picture: int,
        news: News | None,
        stopped: Callable[[], bool],
    ) -> Any:
        import torch

        shown = 0

        def on_step(running: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal shown
            if stopped():
                raise Stopped
            if news is None:
                return tensors
            steps = int(getattr(running, "num_timesteps", 0)) or len(running.scheduler.timesteps)
            due = min((step + 1) * (paint.partials + 1) // steps, paint.partials)
            pixels = _preview(running, tensors["latents"]) if shown < due and step + 1 < steps else None
            news(Stroke(picture, step + 1, steps, None if pixels is None else due - 1, pixels))
            shown = max(shown, due)
            return tensors

        # Noise from the CPU's generator is the same whatever device computes.
        generator = torch.Generator("cpu").manual_seed((paint.seed + picture) % SEEDS)
        taken = inspect.signature(pipe.__call__).parameters
        told = {"callback_on_step_end": on_step} if "callback_on_step_end" in taken else {}
        return pipe(**options, generator=generator, **told)

    def _mode(self, mode: str) -> Any:
        """The pipeline of a mode, over the same weights."""
        if mode not in self._modes:
            import diffusers

            kinds = {
                "draw": diffusers.AutoPipelineForText2Image,
                "change": diffusers.AutoPipelineForImage2Image,
                "inpaint": diffusers.AutoPipelineForInpainting,
            }
            try:
                pipe = kinds[mode].from_pipe(self._pipe)
            except ValueError as error:
                words = {
                    "draw": "draw from words",
                    "change": "change a picture",
                    "inpaint": "draw a part anew",
                }
                kind = type(self._pipe).__name__
                raise BadRequest(f"model: {self._name} ({kind}) cannot {words[mode]}") from error
            pipe.set_progress_bar_config(disable=True)
            self._modes[mode] = pipe
        return self._modes[mode]

    def _options(self, pipe: Any, paint: Paint) -> dict[str, Any]:
        """The pipeline's arguments. BadRequest for an option that it does not take."""
        taken = inspect.signature(pipe.__call__).parameters
        wanted: dict[str, tuple[str, Any]] = {
            "prompt": ("prompt", paint.prompt),
            "negative_prompt": ("negative_prompt", paint.negative or None),
            "num_inference_steps": ("steps", paint.steps),
            "guidance_scale": ("guidance", paint.guidance),
            "strength": ("strength", paint.strength),
        }
        options: dict[str, Any] = {"output_type": "pil"}
        for key, (field, value) in wanted.items():
            if value is None:
                continue
            if key not in taken:
                raise BadRequest(f"{field}: {self._name} ({type(pipe).__name__}) takes none; leave it out")
            options[key] = value
        width, height = paint.size or (self._size, self._size)
        if paint.image is not None:
            height, width = paint.image.shape[:2]
            options["image"] = _on_white(paint.image)
            _check_strength(paint, taken)
        if paint.mask is not None:
            options["mask_image"] = _mask(paint.mask)
        return options | {k: v for k, v in (("width", width), ("height", height)) if k in taken}


@contextmanager
def _without_bars() -> Iterator[None]:
    """The libraries draw no progress bars of their own."""
    from diffusers.utils import logging as diffusers
    from transformers.utils import logging as transformers

    shown = [one for one in (diffusers, transformers) if one.is_progress_bar_enabled()]
    for one in shown:
        one.disable_progress_bar()
    try:
        yield
    finally:
        for one in shown:
            one.enable_progress_bar()


def _check_strength(paint: Paint, taken: Any) -> None:
    """Image-to-image leaves steps out: BadRequest where none would be left."""
    steps = paint.steps or taken["num_inference_steps"].default
    if paint.strength is not None and int(steps * paint.strength) < 1:
        raise BadRequest(
            f"strength: found {paint.strength:g} with {steps} steps, which leaves none; allowed: at least "
            f"{1 / steps:.3g}"
        )


def _on_white(pixels: np.ndarray) -> Image:
    from PIL import Image as Images

    image = Images.fromarray(pixels)
    ground = Images.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _mask(marked: np.ndarray) -> Image:
    from PIL import Image as Images

    return Images.fromarray(marked).convert("L")


def _preview(pipe: Any, latents: torch.Tensor) -> np.ndarray | None:
    """uint8 (H, W, 4) of latents under way, noise and all; None where they are packed."""
    import numpy as np
    import torch

    vae = getattr(pipe, "vae", None)
    if vae is None or latents.ndim != 4 or latents.shape[1] != vae.config.latent_channels:
        return None
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    with torch.no_grad():
        decoded = vae.decode((latents[:1] / vae.config.scaling_factor + shift).to(vae.dtype)).sample
    image = pipe.image_processor.postprocess(decoded, output_type="pil")[0]
    return np.asarray(image.convert("RGBA"))
