"""Unpacked packages of emoji and clip art -> a folder of sprites: rasterised, trimmed, joined with labels.

Nothing is fetched here: the packages are given as folders or .tgz files. The joining key is the hexcode in
lower case without fe0f, in which all of the packages of emoji agree; clip art is joined in clip_art.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom.config import put_folder
from tokenloom.data import clip_art
from tokenloom.data.picture_words import CLIPART, COLOURS, base_hexcode, noun_of, plain_hexcode
from tokenloom.data.rasterise import SvgError, rasterise, rasterise_page
from tokenloom.data.recolour import colour_of, paint_of, recolour
from tokenloom.data.sprites import Sprite, save_sprites


@dataclass(frozen=True, slots=True)
class Source:
    """A package that is known: where its pictures are and under which licence."""

    name: str
    version: str
    style: str
    folder: str
    suffix: str
    licence: str


LABELS = Source("emojibase-data", "17.0.0", "", "", "", "MIT")
SOURCES = (
    Source(
        "@lobehub/fluent-emoji-3d", "1.1.0", "fluent", "assets", ".webp", "MIT (art: Microsoft Fluent, MIT)"
    ),
    Source(
        "emoji-datasource-google", "16.0.0", "noto", "img/google/64", ".png", "MIT (art: Noto, Apache-2.0)"
    ),
    Source("@discordapp/twemoji", "16.0.1", "twemoji", "dist/svg", ".svg", "MIT (art: Twemoji, CC-BY-4.0)"),
    Source("openmoji", "17.0.0", "openmoji", "color/svg", ".svg", "CC-BY-SA-4.0"),
)
CLIPS = Source(clip_art.PACKAGE, "0.18", CLIPART, clip_art.INSIDE, ".svg", "public domain")


@dataclass(frozen=True, slots=True)
class _Label:
    en: str
    zh: str
    tags_en: tuple[str, ...]
    tags_zh: tuple[str, ...]
    group: str
    subgroup: str


def find_packages(places: Sequence[Path], stack: ExitStack) -> dict[str, Path]:
    """Package name -> its folder, from folders of packages, unpacked packages and .tgz files.

    Clip art is a Debian package unpacked with dpkg-deb -x. Archives are unpacked into a temporary folder that
    lives as long as `stack`. Raises ValueError.
    """
    found: dict[str, Path] = {}
    for place in places:
        if not place.exists():
            raise ValueError(f"packages: nothing at {place}")
        inside = (
            sorted(place.iterdir()) if place.is_dir() and not (place / "package.json").is_file() else [place]
        )
        if (place / CLIPS.folder).is_dir():
            found.setdefault(CLIPS.name, place)
            continue
        name: tuple[str, Path] | None
        for each in inside:
            if (each / CLIPS.folder).is_dir():
                name = CLIPS.name, each
            elif each.name.endswith(".tgz") and each.is_file():
                name = _named(each, stack)
            else:
                roots = [r for r in (each, each / "package") if (r / "package.json").is_file()]
                name = (_name(roots[0]), roots[0]) if roots else None
            if name is not None and name[0] in {LABELS.name, CLIPS.name, *(s.name for s in SOURCES)}:
                found.setdefault(*name)
    return found


def _name(root: Path) -> str:
    return str(json.loads((root / "package.json").read_text(encoding="utf-8")).get("name", ""))


def _named(archive: Path, stack: ExitStack) -> tuple[str, Path] | None:
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("package/package.json")
            name = str(json.loads(member.read()).get("name", "")) if member else ""
            if name not in {LABELS.name, *(s.name for s in SOURCES)}:
                return None
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"packages: {archive} is not a package: {error}") from error
    return name, folder / "package"


def make_sprites(
    places: Sequence[Path],
    out: Path,
    *,
    tones: bool = False,
    on_step: Callable[[str, int, int], None] = lambda style, done, total: None,
) -> dict[str, int]:
    """Reads the packages, writes the folder `out` (one that was there is replaced); sprites by style.

    tones: skin-tone variants too. on_step(style, done, total) is called along the way. Raises ValueError with
    the command that fetches a missing package: the labels and at least one style are needed.
    """
    with ExitStack() as stack:
        packages = find_packages(places, stack)
        missing = [s for s in (LABELS, *SOURCES) if s.name not in packages]
        if LABELS in missing or len(missing) == len(SOURCES):
            raise ValueError(
                "packages: missing "
                + "; ".join(
                    f"{s.name}, fetched by: npm pack --ignore-scripts {s.name}@{s.version}" for s in missing
                )
            )
        labels = _labels(packages[LABELS.name], tones)
        digest = hashlib.sha256()
        notes = [_note(LABELS, packages[LABELS.name], digest)]
        sprites: list[Sprite] = []
        pixels: list[NDArray[np.uint8]] = []
        for source in SOURCES:
            if source.name not in packages:
                continue
            digest = hashlib.sha256()
            found = list(_pictures(packages[source.name] / source.folder, source, labels))
            for done, (path, hexcode, label) in enumerate(found):
                data = path.read_bytes()
                digest.update(data)
                picture = rasterise(data, source.suffix, str(path))
                if picture is not None:
                    sprites.append(_sprite(hexcode, source.style, label, picture))
                    pixels.append(picture)
                on_step(source.style, done + 1, len(found))
            notes.append(_note(source, packages[source.name], digest))
        if CLIPS.name in packages:
            notes.append(_add_clips(packages[CLIPS.name], labels, sprites, pixels, on_step))
    _write(out, sprites, np.stack(pixels), notes)
    return {s.style: sum(each.style == s.style for each in sprites) for s in (*SOURCES, CLIPS)}


def _add_clips(
    root: Path,
    labels: Mapping[str, _Label],
    sprites: list[Sprite],
    pixels: list[NDArray[np.uint8]],
    on_step: Callable[[str, int, int], None],
) -> dict[str, str]:
    """Clip art behind the others, the surest and cleanest of each thing first; what sprites.json says of it.

    Files that cannot be drawn are passed over: some have been broken for twenty years.
    """
    have = {sprite.hexcode for sprite in sprites}
    clips = clip_art.find_clips(root / CLIPS.folder, {h: labels[h].en for h in labels if h in have})
    drawn: list[clip_art.Clip] = []
    pictures: list[NDArray[np.uint8]] = []
    for done, clip in enumerate(clips):
        try:
            picture = rasterise_page(clip.path.read_bytes(), clip.name)
        except SvgError:
            picture = None
        if picture is not None:
            drawn.append(clip)
            pictures.append(picture)
        on_step(CLIPS.style, done + 1, len(clips))
    digest = hashlib.sha256()
    for row in clip_art.cleanest(drawn, pictures):
        digest.update(drawn[row].path.read_bytes())
        hexcode = drawn[row].hexcode
        sprites.append(_sprite(hexcode, CLIPS.style, labels[hexcode], pictures[row]))
        pixels.append(pictures[row])
    return _told(CLIPS, CLIPS.version, digest)


def _write(out: Path, sprites: list[Sprite], pixels: NDArray[np.uint8], notes: list[Any]) -> None:
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        beside.chmod(0o755)
        save_sprites(beside, sprites, pixels, notes)
        put_folder(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _note(source: Source, root: Path, digest: Any) -> dict[str, str]:
    """What sprites.json says of a package; the digest is over the files that were read, in their order."""
    if source is LABELS:
        for lang in ("en", "zh"):
            digest.update((root / lang / "data.json").read_bytes())
    version = str(json.loads((root / "package.json").read_text(encoding="utf-8")).get("version", ""))
    return _told(source, version, digest)


def _told(source: Source, version: str, digest: Any) -> dict[str, str]:
    return {
        "name": source.name,
        "version": version,
        "style": source.style,
        "licence": source.licence,
        "sha256": digest.hexdigest(),
    }


def _labels(root: Path, tones: bool) -> dict[str, _Label]:
    """Hexcode -> labels; regional letters (which have no group) and skin tones alone are left out."""
    try:
        tables = [
            json.loads((root / lang / "data.json").read_text(encoding="utf-8")) for lang in ("en", "zh")
        ]
        messages = json.loads((root / "en" / "messages.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"packages: {root} has no labels in en and zh: {error}") from error
    groups = {each["order"]: each["key"] for each in messages["groups"]}
    subgroups = {each["order"]: each["key"] for each in messages["subgroups"]}
    chinese = {each["hexcode"]: each for each in _rows(tables[1], tones)}
    found = {}
    for row in _rows(tables[0], tones):
        group = groups.get(row.get("group"))
        if group in (None, "component") or row["hexcode"] not in chinese:
            continue
        zh = chinese[row["hexcode"]]
        found[plain_hexcode(row["hexcode"])] = _Label(
            re.sub(r"^flag: ", "flag of ", row["label"]),
            _chinese_flag(zh["label"], subgroups.get(row.get("subgroup"), "")),
            tuple(row.get("tags", ())),
            tuple(zh.get("tags", ())),
            group,
            subgroups.get(row.get("subgroup"), ""),
        )
    return found


def _chinese_flag(label: str, subgroup: str) -> str:
    """ "旗: 中国" is "中国国旗" in a sentence; a region's flag is not a country's."""
    name = label.removeprefix("旗: ")
    return label if name == label else f"{name}{'国旗' if subgroup == 'country-flag' else '旗'}"


def _rows(table: list[Any], tones: bool) -> Iterator[dict[str, Any]]:
    for row in table:
        yield row
        if tones:
            for skin in row.get("skins", ()):
                yield {
                    "group": row.get("group"),
                    "subgroup": row.get("subgroup"),
                    "tags": row.get("tags", ()),
                } | skin


def _pictures(folder: Path, source: Source, labels: dict[str, _Label]) -> Iterator[tuple[Path, str, _Label]]:
    if not folder.is_dir():
        raise ValueError(f"packages: {source.name} has no folder {folder}; is it version {source.version}?")
    seen: set[str] = set()
    for path in sorted(folder.glob(f"*{source.suffix}")):
        hexcode = plain_hexcode(path.stem)
        if hexcode in labels and hexcode not in seen:
            seen.add(hexcode)
            yield path, hexcode, labels[hexcode]


def _sprite(hexcode: str, style: str, label: _Label, picture: NDArray[np.uint8]) -> Sprite:
    rows, columns = (np.flatnonzero((picture[..., 3] >= 16).any(axis)) for axis in (1, 0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    sprite = Sprite(
        hexcode, style, label.en, label.zh, label.tags_en, label.tags_zh, label.group, label.subgroup, box
    )
    return describe_colours(sprite, picture)


def describe_colours(sprite: Sprite, picture: NDArray[np.uint8]) -> Sprite:
    """The sprite with its own colour word and, for a well-known thing, the words it can be recoloured to."""
    small = np.ascontiguousarray(picture[::3, ::3])
    sprite = replace(sprite, colour=colour_of(small, share=0.6))
    noun = noun_of(base_hexcode(sprite.hexcode))
    paint = paint_of(small) if noun else None
    if paint is None:
        return sprite
    words = (
        c for c in COLOURS if c != sprite.colour and colour_of(recolour(small, paint, c), share=0.6) == c
    )
    return replace(sprite, paint=(paint.hue, paint.light, paint.chroma), colours=tuple(words))
