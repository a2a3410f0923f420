"""Clip art joins the sprites: drawings by many hands, matched to emoji by their names, the cleanest kept.

The drawings are Debian's package openclipart-svg (public domain): SVG with English titles and keywords in
their metadata (Dublin Core). They have no Chinese labels, so only those are of use whose name is a thing
that an emoji shows too; these take that emoji's hexcode and labels, and so fall into its split. The rules
here look at names and at what is seen; what they cannot tell stands in clip_art.toml. Not a classifier.
"""

from __future__ import annotations

import hashlib
import html
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom.data.picture_words import COLOURS, key_of, noun_of, nouns
from tokenloom.data.recolour import to_oklab

PACKAGE = "openclipart-svg"
INSIDE = "usr/share/openclipart/svg"
MOST = 3
"""Clips of one thing."""
_LARGEST = 600_000
"""Bytes: what is larger is drawn slowly and too finely for so few pixels."""
_META = re.compile(r"<metadata.*?</metadata>", re.DOTALL)
_FOREIGN = re.compile(r"<(?:\w+:)?(?:text|image|flowRoot)\b")
"""Fonts differ from machine to machine, and photographs are no drawings."""
_TAG = r"<dc:{0}\b[^>]*>(.*?)</dc:{0}>"
_JOINING = {"and", "at", "for", "from", "in", "of", "on", "with", "without"}
"""After these the last word is not what a title is about."""
_ALIKE = 8
_EXACT, _FILE, _HEAD, _KEYWORD = range(4)


@dataclass(frozen=True, slots=True)
class Clip:
    """A drawing and what it is taken for."""

    path: Path
    name: str
    """Its path below the folder, without .svg."""
    hexcode: str
    rank: int
    """How sure its name is: the title, the file's name, the title's last word, a keyword."""


@dataclass(frozen=True, slots=True)
class Described:
    """What a file says of itself, in lower-case words."""

    title: tuple[str, ...]
    keywords: tuple[str, ...]
    author: tuple[str, ...]


def described(svg: str) -> Described:
    """Title, keywords and author of an SVG's metadata; empty where it says nothing. Read as text: many of
    these files are not XML that a parser accepts."""
    found = _META.search(svg)
    meta = found.group(0) if found else ""
    creator = re.search(_TAG.format("creator"), meta, re.DOTALL)
    rest = meta.replace(creator.group(0), "") if creator else meta
    title = re.search(_TAG.format("title"), rest, re.DOTALL)
    subject = re.search(_TAG.format("subject"), rest, re.DOTALL)
    said = re.findall(r"<rdf:li[^>]*>(.*?)</rdf:li>", subject.group(1), re.DOTALL) if subject else []
    return Described(
        _words(title.group(1)) if title else (),
        tuple(word for word in (" ".join(_words(each)) for each in said) if word),
        _words(creator.group(1)) if creator else (),
    )


def _words(text: str) -> tuple[str, ...]:
    plain = html.unescape(html.unescape(re.sub(r"<[^>]*>", " ", text)))
    return tuple(re.findall(r"[a-z]+", plain.lower()))


@lru_cache(1)
def _lists() -> Mapping[str, Any]:
    return tomllib.loads((Path(__file__).parent / "clip_art.toml").read_text(encoding="utf-8"))


def known_names(labels: Mapping[str, str]) -> dict[str, str]:
    """What a clip may be called -> hexcode. labels: hexcode -> English label, which the well-known things,
    under their nouns, come before."""
    found: dict[str, str] = {}
    for noun in nouns().values():
        if noun.hexcodes[0] in labels:
            found[" ".join(_words(noun.key))] = noun.hexcodes[0]
    for hexcode, label in labels.items():
        found.setdefault(" ".join(_words(label)), hexcode)
    for word, meant in _lists()["also"].items():
        if meant in found:
            found.setdefault(word, found[meant])
    return found


def match(said: Described, stem: str, names: Mapping[str, str]) -> tuple[str, int] | None:
    """(hexcode, rank) of the thing a clip is called after, or None. stem: its file's name."""
    title, file = " ".join(said.title), _file_words(stem, said.author)
    if {"bw", "outline", "silhouette"} & {*said.title, *_words(stem)} or "b and w" in title:
        return None
    for words, rank in ((said.title, _EXACT), (file, _FILE)):
        for some in (words, _plain(words)):
            if " ".join(some) in names:
                return names[" ".join(some)], rank
    head = () if _JOINING & {*said.title} else _plain(said.title)
    if 2 <= len(head) <= 3:
        for some in (head[-2:], head[-1:]):
            hexcode = names.get(" ".join(some))
            if hexcode is not None and noun_of(hexcode):
                return hexcode, _HEAD
    meant = {names[word] for word in said.keywords if word in names}
    meant = {hexcode for hexcode in meant if noun_of(hexcode)}
    return (meant.pop(), _KEYWORD) if len(meant) == 1 else None


def _plain(words: Sequence[str]) -> tuple[str, ...]:
    """Without colours and words that say nothing; "a bird" is a bird, "the red car" a car."""
    empty = {*COLOURS, *_lists()["harmless"]["words"]}
    return tuple(word for word in words if word not in empty)


def _file_words(stem: str, author: Sequence[str]) -> tuple[str, ...]:
    """A file's name without its author's, of which it may hold only the beginning: "lynx_ann_exam_01"."""
    words = list(_words(stem))
    while len(words) > 1 and any(name.startswith(words[-1]) for name in author):
        words.pop()
    return tuple(words)


def find_clips(folder: Path, labels: Mapping[str, str]) -> list[Clip]:
    """The clips of a folder of SVG whose names are known, by name. labels: hexcode -> English label.

    What is left out is left out under its other names too: many files stand in several folders.
    """
    names, meant = known_names(labels), _lists()["meant"]
    left_out, folders = (_lists()["left_out"][kind] for kind in ("paths", "folders"))
    unwanted = {_drawing(path) for name in left_out if (path := folder / f"{name}.svg").is_file()}
    found = []
    for path in sorted(folder.rglob("*.svg")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name.startswith(tuple(folders)) or path.stat().st_size > _LARGEST:
            continue
        svg = path.read_text(encoding="utf-8", errors="replace")
        if _FOREIGN.search(svg):
            continue
        thing = names.get(meant[name]) if name in meant else None
        shown = match(described(svg), path.stem, names) if name not in meant else thing and (thing, _EXACT)
        if shown and _drawing(path) not in unwanted:
            found.append(Clip(path, name, *shown))
    return found


def _drawing(path: Path) -> bytes:
    """A digest of an SVG without its metadata and what an editor keeps in its first tag."""
    svg = _META.sub("", path.read_text(encoding="utf-8", errors="replace"))
    return hashlib.sha256("".join(svg.partition("<svg")[2].partition(">")[2].split()).encode()).digest()


def clean(picture: NDArray[np.uint8]) -> float | None:
    """How clean a clip is, 0 to about 2, or None where it is of no use: a page or a frame, almost empty, a
    thread, line art. picture: (96, 96, 4) uint8, fitted."""
    seen = picture[..., 3] >= 128
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not len(rows):
        return None
    part = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    filled = float(part.mean())
    long, short = max(part.shape), min(part.shape)
    lab = to_oklab(picture[seen][:, :3])
    light, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    vivid, inked = float((chroma > 0.05).mean()), float(((light > 0.27) & (light < 0.97)).mean())
    if not 0.2 <= filled <= 0.96 or short < 0.25 * long or inked < 0.25 or vivid < 0.04:
        return None
    return vivid + 0.5 * inked + 0.5 * min(filled, 0.6)


def cleanest(clips: Sequence[Clip], pictures: Sequence[NDArray[np.uint8]], most: int = MOST) -> Iterator[int]:
    """Of clips with their pictures: which to keep, at most `most` of a thing, the surest and cleanest first;
    pictures that come twice, or all but alike, count once."""
    scores = {i: score for i, each in enumerate(pictures) if (score := clean(each)) is not None}
    order = sorted(scores, key=lambda i: (clips[i].rank, -scores[i], clips[i].name))
    kept: dict[str, list[NDArray[np.int16]]] = defaultdict(list)
    for i in order:
        others, small = kept[key_of(clips[i].hexcode)], _small(pictures[i])
        if len(others) < most and all(np.abs(small - other).mean() >= _ALIKE for other in others):
            others.append(small)
            yield i


def _small(picture: NDArray[np.uint8]) -> NDArray[np.int16]:
    """(16, 16, 4): means of squares, colours weighed by alpha."""
    wide = picture.astype(np.float32)
    wide[..., :3] *= wide[..., 3:] / 255
    return wide.reshape(16, 6, 16, 6, 4).mean((1, 3)).astype(np.int16)
