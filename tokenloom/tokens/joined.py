"""A picture model put together: the Transformer that writes codes, the codec that knows them, and a judge.

Not the training of any of them. What does not belong together is refused before anything is written, and the
folder is written whole or not at all. A codec is copied byte by byte: its sha256 is what the model's
vocabulary is tied to.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenloom.config import check_place, new_folder, put_json, put_text
from tokenloom.hub.card import CODEC, JUDGE, LICENCE
from tokenloom.hub.sampling import ALLOWED, is_sampling
from tokenloom.tokens.folder import read_vocabulary
from tokenloom.tokens.image import IMAGE, PictureTokens
from tokenloom.version import __version__
from tokenloom.weights.safetensors import PICKLES, open_folder
from tokenloom.weights.tokenizer_files import folder_tokenizer_hash, json_object

DTYPES = ("bfloat16", "float16")
WEIGHTS = "model.safetensors"
TEMPLATES = "additional_chat_templates"
FLOATS = ("F64", "F32", "F16", "BF16")


def join_pictures(
    model: str | Path,
    codec: str | Path,
    folder: str | Path,
    *,
    judge: str | Path | None = None,
    sampling: Mapping[str, float] | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes the picture model of these three folders to `folder` and returns it.

    sampling: what its makers recommend (guidance_scale, temperature, top_k, top_p), written over what the
    model's generation_config.json says. dtype: of the Transformer's weights on disk, "bfloat16" or "float16";
    None leaves them as they are. overwrite: replace a folder that holds a picture model. Raises ValueError
    naming what does not fit what, FileNotFoundError, FileExistsError.
    """
    model, codec, folder = Path(model), Path(codec), Path(folder)
    judge = None if judge is None else Path(judge)
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype: found {dtype!r}; allowed: {', '.join(DTYPES)}")
    for name, value in (sampling or {}).items():
        if not is_sampling(name, value):
            low, high = ALLOWED.get(name, (None, None))
            allowed = f"{low:g} to {high:g}" if low is not None else f"one of {', '.join(ALLOWED)}"
            raise ValueError(f"{name}: found {value!r}; allowed: {allowed}")
    check_place(folder, overwrite, "picture model", f"{CODEC}/config.json")
    size = _checked_codec(model, codec)
    if judge is not None:
        _check_judge(model, judge, size)
    with new_folder(folder) as beside:
        _copy(model, beside, leave_weights=dtype is not None)
        if dtype is not None:
            _recast(model, beside, dtype)
        settings = {**json_object(model / "generation_config.json"), **(sampling or {})}
        put_json(beside / "generation_config.json", settings)
        _copy(codec, beside / CODEC)
        if judge is not None:
            _copy(judge, beside / JUDGE)
        put_text(beside / "README.md", card(folder.name, model, codec, judge))
    return folder


def check_codes(model: Path, codec: Path, sha256: str) -> None:
    """Refuses, with ValueError, a codec (its folder and sha256) whose codes the model in `model` did not
    learn."""
    vocabulary = read_vocabulary(model)
    if vocabulary is None or IMAGE not in vocabulary.names:
        raise ValueError(f"{model.name} is no picture model: its tokenloom.json states no codes of pictures")
    learned = vocabulary.codec(IMAGE)
    if learned != sha256:
        there = f"{learned[:12]}..." if learned else "none stated"
        raise ValueError(
            f"{codec}: its sha256 is {sha256[:12]}..., the model learned the codes of another ({there}); "
            "take the codec that its tokenizer was made for"
        )


def _checked_codec(model: Path, codec: Path) -> int:
    """The pixels along a side of the codec's pictures, once it is known to be the model's."""
    from tokenloom.codec.folder import open_codec

    if not (model / "config.json").is_file():
        raise FileNotFoundError(f"model: {model} holds no model (no config.json)")
    opened = open_codec(codec)
    check_codes(model, codec, opened.sha256)
    tokens = PictureTokens.open(model, opened.per_picture)
    if tokens.n_codes != opened.n_codes:
        raise ValueError(f"codec: {codec} has {opened.n_codes} codes; allowed: the model's {tokens.n_codes}")
    try:
        tokens.draw("")
    except ValueError as error:
        raise ValueError(f"model: {model} is too short for a picture of this codec: {error}") from error
    return opened.size


def _check_judge(model: Path, judge: Path, size: int) -> None:
    from tokenloom.codec.judge_folder import open_network

    network = open_network(judge)
    if network.config.size != size:
        raise ValueError(
            f"judge: {judge} sees pictures of {network.config.size} pixels; allowed: {size}, the codec's"
        )
    hashes = [folder_tokenizer_hash(place) for place in (model, judge)]
    if hashes[0] != hashes[1]:
        found = "has no tokenizer" if hashes[1] is None else "reads captions with another tokenizer"
        raise ValueError(f"judge: {judge} {found}; allowed: one that was trained with that of {model}")


def _copy(source: Path, target: Path, leave_weights: bool = False) -> None:
    """The plain files of a folder, and its named templates; no pickles, no hidden files, no card of a part
    that the whole one replaces."""
    target.mkdir(exist_ok=True)
    for file in sorted([*source.iterdir(), *(source / TEMPLATES).glob("*.jinja")]):
        weights = ".safetensors" in file.name
        if not file.is_file() or file.name.startswith(".") or file.suffix in PICKLES:
            continue
        if not (weights and leave_weights):
            place = target / file.relative_to(source)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, place)


def _recast(model: Path, folder: Path, dtype: str) -> None:
    """The weights as one file of this dtype; what is no float stays as it is."""
    import torch
    from safetensors.torch import save_file

    kind = getattr(torch, dtype)
    with open_folder(model) as weights:
        tensors = {
            name: weights.tensor(name).to(kind if weights.dtype(name) in FLOATS else None).contiguous()
            for name in weights
        }
        if odd := [name for name, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]:
            raise ValueError(f"dtype: {odd[0]} of {model} does not fit into {dtype}; take another")
        save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})
    config = json_object(model / "config.json")
    put_json(folder / "config.json", {**config, "dtype": dtype, "torch_dtype": dtype})


def card(name: str, model: Path, codec: Path, judge: Path | None) -> str:
    """The whole model's README.md: what it is and how it is used, then what each part's own card says."""
    parts = {"The Transformer": model, "The codec": codec}
    if judge is not None:
        parts["The judge"] = judge
    texts = {title: _text(place / "README.md") for title, place in parts.items()}
    licences = [found[1] if (found := LICENCE.search(head)) else "" for head, _ in texts.values()]
    same = licences[0] if len(set(licences)) == 1 else ""
    head = "library_name: tokenloom\npipeline_tag: text-to-image\nlanguage:\n- en\n- zh\n"
    head += f"license: {same}\n" if same else ""
    ranks = "" if judge is None else " and a judge, which ranks candidates (`--best-of`)"
    about = (
        "Draws pictures from words in English and Chinese, edits, restyles and describes them: a Transformer "
        f"that writes codes, the codec whose codes they are{ranks}.\n\n"
        f'    loom draw "a red fox" --model {name}\n\nJoined by Tokenloom {__version__}.\n'
    )
    return f"---\n{head}---\n\n# {name}\n\n{about}" + _sections(texts, licences, same)


def _sections(texts: Mapping[str, tuple[str, str]], licences: Sequence[str], same: str) -> str:
    sections = ""
    for (title, (_, body)), licence in zip(texts.items(), licences, strict=True):
        stated = f"Licence: {licence or 'not stated'}\n\n" if not same else ""
        sections += f"\n## {title}\n\n{stated}{body}"
    return sections


def _text(file: Path) -> tuple[str, str]:
    """Front matter and body of a part's card, headings one deeper; empty where there is none."""
    if not file.is_file():
        return "", ""
    text = file.read_text(encoding="utf-8")
    head, body = "", text
    if text.startswith("---\n"):
        head, _, body = text[4:].partition("\n---")
    return head, re.sub(r"^#", "###", body.strip(), flags=re.M) + "\n"
