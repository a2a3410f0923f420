"""What a folder of the diffusers library holds: model_index.json, and the parts that it names.

Only its names and small files are read here, so nothing of the library is needed. Weights are taken as
safetensors alone, and nothing that would run code of the folder's own: no pickles, no Python files, no class
from anywhere but diffusers and transformers. Not the pipeline itself (engine.diffusion).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

PIPELINE = "model_index.json"
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
"""Whose classes a part may be; the last is diffusers' own name for its safety checkers."""
WEIGHTS = re.compile(
    r"(?:model|diffusion_pytorch_model)(?:\.(?P<variant>[a-z0-9_]+))?(?:-\d{5}-of-\d{5})?"
    r"(?:\.(?P<late>[a-z0-9_]+))?\.safetensors"
)
SMALL = (".json", ".txt", ".model", ".md")
MAX_BYTES = 8 << 20
FACTOR, SIZE = 8, 512
"""Pixels along a side for one latent value, and of a picture, where the folder does not say."""


class BadPipeline(ValueError):
    """A folder of diffusers that is not opened; the message names the file, and what was found."""


@dataclass(frozen=True)
class Pipeline:
    """A diffusion model by its files."""

    class_name: str
    parts: Mapping[str, tuple[str, str]]
    """Name, which is its folder's too -> library and class."""
    size: int = SIZE
    """Pixels along a side of the pictures that it learned."""
    only_edits: bool = False
    """Its network wants a picture and a mask beside the noise: it draws parts anew and nothing else."""


def has_pipeline(path: str | Path) -> bool:
    """Whether a path is a folder of diffusers."""
    return (Path(path) / PIPELINE).is_file()


def parse_index(data: bytes, name: str = PIPELINE) -> Pipeline:
    """The class and the parts that model_index.json names. BadPipeline where they are not to be opened."""
    value = _object(data, name)
    found = value.get("_class_name")
    if not isinstance(found, str):
        raise BadPipeline(
            f"{name}: _class_name is {found!r}; allowed: the name of a pipeline of diffusers, for the code "
            "of others is not run"
        )
    parts = {}
    for part, what in value.items():
        if part.startswith("_") or not isinstance(what, list) or len(what) != 2 or what[0] is None:
            continue
        library, kind = what
        if library not in LIBRARIES or not isinstance(kind, str) or not part.isidentifier():
            raise BadPipeline(
                f"{name}: {part} is {what}; allowed: classes of {', '.join(LIBRARIES)}, for the code of "
                "others is not run"
            )
        parts[part] = (str(library), kind)
    if not parts:
        raise BadPipeline(f"{name}: names no part; allowed: a pipeline with its networks")
    return Pipeline(found, parts)


def read_pipeline(folder: Path) -> Pipeline:
    """A folder's pipeline. BadPipeline names what keeps it from being opened; OSError as it comes."""
    index = parse_index(_read(folder / PIPELINE), str(folder / PIPELINE))
    if code := sorted(path.name for path in folder.rglob("*.py")):
        raise BadPipeline(f"{folder}: found {code[0]}; allowed: none, for the code of others is not run")
    files = [str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file()]
    weight_files(str(folder), files, index)
    for config in folder.glob("*/*.json"):
        if config.name.endswith("config.json") and "auto_map" in _object(_read(config), str(config)):
            raise BadPipeline(f"{config}: found auto_map; allowed: none, for the code of others is not run")
    network = _config(folder, "unet") or _config(folder, "transformer")
    vae = _config(folder, "vae")
    sample, widths = network.get("sample_size"), vae.get("block_out_channels")
    factor = 2 ** (len(widths) - 1) if isinstance(widths, list) and widths else FACTOR
    size = (
        sample * factor if isinstance(sample, int) and not isinstance(sample, bool) and sample > 0 else SIZE
    )
    latents = vae.get("latent_channels", 4)
    only_edits = network.get("in_channels") == 2 * latents + 1 and "unet" in index.parts
    return Pipeline(index.class_name, index.parts, size, only_edits)


def weight_files(repo: str, files: Iterable[str], index: Pipeline, variant: str = "") -> list[str]:
    """The safetensors among a repository's files that make its parts: those of the variant (fp16, say) where
    a part has them, else the plain ones, else those of its only variant. BadPipeline where there are none."""
    found: list[str] = []
    listed = list(files)
    for part in index.parts:
        own = [PurePosixPath(f) for f in listed if PurePosixPath(f).parts[:-1] == (part,)]
        if not own:
            raise BadPipeline(f"{repo} has no folder {part}, which its {PIPELINE} names")
        by_variant: dict[str, list[str]] = {}
        for path in own:
            if match := WEIGHTS.fullmatch(path.name):
                by_variant.setdefault(match["variant"] or match["late"] or "", []).append(str(path))
        if not by_variant:
            if pickles := [p.name for p in own if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl")]:
                raise BadPipeline(
                    f"{repo} has the weights of {part} as a pickle only ({pickles[0]}), which can run code "
                    "when opened: look for a version of it with safetensors"
                )
            continue
        chosen = by_variant.get(variant) or by_variant.get("")
        if chosen is None and len(by_variant) == 1:
            chosen = next(iter(by_variant.values()))
        if chosen is None:
            names = ", ".join(sorted(by_variant))
            raise BadPipeline(f"{repo} has {part} in the variants {names}; pick one as {repo}:VARIANT")
        found += chosen
    if not found:
        raise BadPipeline(f"{repo} has no weights as safetensors")
    return sorted(found)


def variant_of(files: Iterable[str]) -> str | None:
    """The variant that weight files bear, as diffusers wants it named; None where they bear none."""
    matches = [WEIGHTS.fullmatch(PurePosixPath(file).name) for file in files]
    names = {m["variant"] or m["late"] for m in matches if m is not None}
    names.discard(None)
    return min(names) if names else None


def choose_pipeline(repo: str, files: Sequence[str], index: Pipeline, variant: str = "") -> list[str]:
    """The files to fetch: the index, the parts' settings and vocabularies, their weights, the papers."""
    weights = weight_files(repo, files, index, variant)
    if variant and not any(variant_of([file]) == variant for file in weights):
        raise BadPipeline(f"{repo} has no variant {variant!r} of its weights")
    small, papers = [], []
    for file in files:
        path = PurePosixPath(file)
        if len(path.parts) == 1 and file.upper().startswith(("LICENSE", "LICENCE", "NOTICE", "README.MD")):
            papers.append(file)
        elif (
            len(path.parts) == 2
            and path.parts[0] in index.parts
            and path.name.endswith(SMALL)
            and ".bin.index" not in path.name
        ):
            small.append(file)
    return [PIPELINE, *sorted(small), *weights, *papers]


def _config(folder: Path, part: str) -> dict[str, Any]:
    path = folder / part / "config.json"
    return _object(_read(path), str(path)) if path.is_file() else {}


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise BadPipeline(f"{path}: found {path.stat().st_size} bytes; allowed: at most {MAX_BYTES}")
    return path.read_bytes()


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadPipeline(f"{name}: is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadPipeline(f"{name}: is no JSON object")
    return value
