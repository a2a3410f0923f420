"""Which files of a Hub repository make a model. Pure: names in, names out.

The rule. Weights as safetensors with a config.json are taken first. Else a GGUF file: the one that was asked
for (by file name or block type), the only one, the one named Q4_K_M, or the one named Q8_0; where that
decides nothing the choices are listed. Split GGUF files, projectors and importance matrices are no choices.
Pickles are never taken. Beside the weights of a picture model its codec and judge are taken, which lie
in folders of these names, and beside those of a model that speaks its codec of sound. Of a repository of
diffusers its parts are taken (pipeline.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

from tokenloom.hub.card import CODEC, JUDGE, SPEECH
from tokenloom.hub.pipeline import BadPipeline, Pipeline, choose_pipeline
from tokenloom.hub.store import PICKLES, SPLIT, PullError

PREFERRED = ("Q4_K_M", "Q8_0")
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
SMALL = (".json", ".txt", ".jinja", ".md", ".model")
PAPERS = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
BESIDE = {CODEC: (CODEC, JUDGE), SPEECH: (SPEECH,)}
"""Folders that are taken where the first of them is a codec's."""
PLAIN = re.compile(r"[\w+][\w .+=@-]*")


def choose(
    repo: str, files: Sequence[str], choice: str = "", index: Pipeline | None = None
) -> tuple[Literal["gguf", "hub"], list[str]]:
    """(kind, the repository's files to fetch); PullError says what the repository holds instead.

    index: of a repository of diffusers; the choice is then a variant of its weights, such as fp16.
    """
    if index is not None:
        named = [f for f in files if all(PLAIN.fullmatch(part) for part in f.split("/"))]
        try:
            return "hub", choose_pipeline(repo, named, index, choice)
        except BadPipeline as error:
            raise PullError(str(error)) from error
    top = [f for f in files if PLAIN.fullmatch(f)]
    papers = [f for f in top if f.upper().startswith(PAPERS) or f == "README.md"]
    ggufs = [f for f in files if _is_model_gguf(f)]
    weights = [f for f in top if WEIGHTS.fullmatch(f)]
    if choice and choice != "safetensors":
        return "gguf", [_asked(repo, ggufs, choice), *papers]
    if weights and "config.json" in top:
        small = [
            f for f in top if f.endswith(SMALL) and not f.endswith(".bin.index.json") and f not in papers
        ]
        shards = [f for f in weights if f != "model.safetensors"]
        if shards and "model.safetensors.index.json" not in top:
            raise PullError(f"{repo} has its weights in shards without model.safetensors.index.json")
        return "hub", [*sorted(small), *(sorted(shards) or weights), *papers, *_parts(files)]
    if ggufs and not choice:
        return "gguf", [_preferred(repo, ggufs), *papers]
    raise PullError(_why_not(repo, files, top))


def _parts(files: Sequence[str]) -> list[str]:
    """The files of the codecs, of pictures and of sound, and of the judge; none where there is no codec."""
    taken = {part for codec, parts in BESIDE.items() if f"{codec}/config.json" in files for part in parts}
    found = [(PurePosixPath(file).parts, file) for file in files]
    return sorted(
        file
        for parts, file in found
        if len(parts) == 2 and parts[0] in taken and PLAIN.fullmatch(parts[1])
        if parts[1].endswith(SMALL) or parts[1] == "model.safetensors"
    )


def _is_model_gguf(file: str) -> bool:
    name = PurePosixPath(file).name
    aside = name.lower().startswith(("mmproj", "imatrix")) or SPLIT.search(name)
    return name.lower().endswith(".gguf") and bool(PLAIN.fullmatch(name)) and not aside


def of_type(ggufs: Sequence[str], block: str) -> list[str]:
    """The GGUF files whose name holds the block type as a word."""
    word = re.compile(rf"(?:^|[-._]){re.escape(block)}(?=[-.]|$)", re.IGNORECASE)
    return [f for f in ggufs if word.search(PurePosixPath(f).name.removesuffix(".gguf"))]


def _asked(repo: str, ggufs: Sequence[str], choice: str) -> str:
    if choice.lower().endswith(".gguf"):
        matches = [f for f in ggufs if f == choice] or [f for f in ggufs if PurePosixPath(f).name == choice]
    else:
        matches = of_type(ggufs, choice)
    if len(matches) == 1:
        return matches[0]
    if not ggufs:
        raise PullError(f"{repo} has no GGUF file in one piece, so {choice!r} cannot be chosen from it")
    what = f"{len(matches)} GGUF files match" if matches else "no GGUF file matches"
    raise PullError(f"{what} {choice!r} in {repo}; {_choices(repo, matches or ggufs)}")


def _preferred(repo: str, ggufs: Sequence[str]) -> str:
    if len(ggufs) == 1:
        return ggufs[0]
    for block in PREFERRED:
        if len(matches := of_type(ggufs, block)) == 1:
            return matches[0]
    raise PullError(f"{repo} has {len(ggufs)} GGUF files; {_choices(repo, ggufs)}")


def _choices(repo: str, ggufs: Sequence[str]) -> str:
    return f"pick one as {repo}:FILE of: " + ", ".join(sorted(ggufs))


def _why_not(repo: str, files: Sequence[str], top: Sequence[str]) -> str:
    pickles = [f for f in files if f.lower().endswith(PICKLES)]
    if pickles and not any(WEIGHTS.fullmatch(f) for f in top):
        return (
            f"{repo} has its weights as pickles only ({', '.join(pickles[:3])}), which can run code when "
            "opened: look for a safetensors or GGUF version of it"
        )
    if "adapter_model.safetensors" in top:
        return f"{repo} is an adapter, not a model of its own: pull the model it was trained on"
    if split := [f for f in files if SPLIT.search(f)]:
        return f"{repo} has only split GGUF files ({split[0]}, ...): look for one in a single file"
    names = ", ".join(sorted(files)[:8]) or "nothing"
    return f"{repo} holds no model that can be read (config.json and safetensors, or GGUF); it has {names}"
