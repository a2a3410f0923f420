"""Sprites are made from unpacked packages: joined by hexcode, trimmed, labelled, kept in one folder."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tokenloom.data.picture_words import base_hexcode, plain_hexcode
from tokenloom.data.rasterise import rasterise
from tokenloom.data.sprite_packages import make_sprites
from tokenloom.data.sprites import SIDE, open_sprites

GROUPS = ["smileys-emotion", "people-body", "component", "animals-nature", "food-drink"]
ROWS = [
    ("1F1E6", "regional indicator A", "A", None, ()),
    ("1F98A", "fox", "狐狸", 3, ()),
    ("2764-FE0F", "red heart", "红心", 0, ()),
    ("1F44B", "waving hand", "挥手", 1, ("1F44B-1F3FB", "1F44B-1F3FF")),
    ("1F3FB", "light skin tone", "较浅肤色", 2, ()),
    ("1F1E8-1F1F3", "flag: China", "旗: 中国", 4, ()),
]


def picture(colour: tuple[int, int, int], suffix: str) -> bytes:
    """A disc of 40 x 20 pixels in a corner of a picture of 64 x 64."""
    if suffix == ".svg":
        fill = "#{:02x}{:02x}{:02x}".format(*colour)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect x="4" y="4" width="40" '
            f'height="20" fill="{fill}"/></svg>'
        ).encode()
    made = Image.new("RGBA", (64, 64))
    made.paste((*colour, 255), (4, 4, 44, 24))
    out = io.BytesIO()
    made.save(
        out, "WEBP" if suffix == ".webp" else "PNG", **({"lossless": True} if suffix == ".webp" else {})
    )
    return out.getvalue()


def package(root: Path, name: str, files: dict[str, bytes]) -> Path:
    for path, data in {
        "package.json": json.dumps({"name": name, "version": "1.2.3"}).encode(),
        **files,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Three packages in one folder: labels, one style as pictures and one as an archive."""
    place = tmp_path / "packages"
    labels: dict[str, bytes] = {
        "en/messages.json": json.dumps(
            {
                "groups": [{"key": key, "order": order} for order, key in enumerate(GROUPS)],
                "subgroups": [{"key": "country-flag", "order": 4}, {"key": "animal-mammal", "order": 3}],
            }
        ).encode()
    }
    for lang, column in (("en", 1), ("zh", 2)):
        rows = [
            {
                "hexcode": row[0],
                "label": row[column],
                "tags": [f"{lang}tag"],
                **({} if row[3] is None else {"group": row[3], "subgroup": row[3]}),
                "skins": [{"hexcode": skin, "label": f"{row[column]} tone"} for skin in row[4]],
            }
            for row in ROWS
        ]
        labels[f"{lang}/data.json"] = json.dumps(rows).encode()
    package(place / "labels" / "package", "emojibase-data", labels)
    pictures = {f"img/google/64/{row[0].lower()}.png": picture((200, 40, 40), ".png") for row in ROWS}
    pictures |= {"img/google/64/1f44b-1f3fb.png": picture((250, 220, 180), ".png")}
    package(place / "google" / "package", "emoji-datasource-google", pictures)
    webp = {"assets/1f98a.webp": picture((240, 130, 30), ".webp")}
    fluent = package(tmp_path / "unpacked" / "package", "@lobehub/fluent-emoji-3d", webp)
    with tarfile.open(place / "fluent.tgz", "w:gz") as tar:
        tar.add(fluent, "package")
    package(place / "other" / "package", "left-pad", {"index.js": b""})
    return place


def test_packages_become_sprites(packages: Path, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    out = tmp_path / "sprites"
    counts = make_sprites([packages], out, on_step=lambda *step: steps.append(step))
    assert counts == {"fluent": 1, "noto": 4, "twemoji": 0, "openmoji": 0, "clipart": 0}
    assert steps[-1] == ("noto", 4, 4)
    sprites = open_sprites(out)
    assert len(sprites) == 5
    assert sprites.styles == ("fluent", "noto")
    row = sprites.find("1f98a", "fluent")
    assert row is not None
    fox = sprites.sprites[row]
    assert (fox.en, fox.zh, fox.group, fox.subgroup) == ("fox", "狐狸", "animals-nature", "animal-mammal")
    assert (fox.tags_en, fox.tags_zh) == (("entag",), ("zhtag",))
    assert fox.colour == "orange"
    assert "blue" in fox.colours
    heart = sprites.find("2764", "noto")
    assert heart is not None
    flag = sprites.sprites[sprites.find("1f1e8-1f1f3", "noto") or 0]
    assert (flag.en, flag.zh) == ("flag of China", "中国国旗")
    assert sprites.find("1f1e6", "noto") is None  # regional letters
    assert sprites.find("1f3fb", "noto") is None  # skin tones alone
    assert sprites.find("1f44b-1f3fb", "noto") is None
    assert {note["name"] for note in sprites.packages} == {
        "emojibase-data",
        "emoji-datasource-google",
        "@lobehub/fluent-emoji-3d",
    }
    assert all(len(note["sha256"]) == 64 and note["licence"] for note in sprites.packages)


def test_tones_are_taken_when_asked_for(packages: Path, tmp_path: Path) -> None:
    make_sprites([packages], tmp_path / "sprites", tones=True)
    sprites = open_sprites(tmp_path / "sprites")
    row = sprites.find("1f44b-1f3fb", "noto")
    assert row is not None
    assert sprites.sprites[row].en == "waving hand tone"


def test_a_sprite_fills_the_square(packages: Path, tmp_path: Path) -> None:
    make_sprites([packages], tmp_path / "sprites")
    sprites = open_sprites(tmp_path / "sprites")
    pixels = sprites.pixels(sprites.find("1f98a", "noto") or 0)
    assert pixels.shape == (SIDE, SIDE, 4)
    ys, xs = np.nonzero(pixels[..., 3] >= 128)
    assert (xs.min(), xs.max()) == (0, SIDE - 1)
    assert (ys.min(), ys.max()) == (24, 71)  # twice as wide as high, in the middle
    assert sprites.sprites[0].box == (0, 24, 96, 72)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".svg"])
def test_all_formats_give_the_same_picture(suffix: str) -> None:
    if suffix == ".svg":
        pytest.importorskip("resvg_py")
    made = rasterise(picture((200, 40, 40), suffix), suffix, "it")
    assert made is not None
    assert made.dtype == np.uint8
    assert tuple(made[48, 48]) == (200, 40, 40, 255)
    assert made[10, 48, 3] == 0


def test_an_empty_picture_is_no_sprite_and_a_broken_one_is_named() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(out, "PNG")
    assert rasterise(out.getvalue(), ".png", "it") is None
    with pytest.raises(ValueError, match=r"sprites: here/it\.png is not a picture"):
        rasterise(b"no picture", ".png", "here/it.png")
    pytest.importorskip("resvg_py")
    with pytest.raises(ValueError, match=r"sprites: it\.svg is not an SVG that can be drawn"):
        rasterise(b"<svg", ".svg", "it.svg")


def test_what_is_missing_is_named_with_its_command(packages: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"npm pack --ignore-scripts emojibase-data@17\.0\.0"):
        make_sprites([packages / "google"], tmp_path / "sprites")
    with pytest.raises(ValueError, match=r"npm pack --ignore-scripts @discordapp/twemoji@16\.0\.1"):
        make_sprites([packages / "labels"], tmp_path / "sprites")
    with pytest.raises(ValueError, match="packages: nothing at"):
        make_sprites([tmp_path / "not there"], tmp_path / "sprites")
    assert not (tmp_path / "sprites").exists()
    (packages / "broken.tgz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"broken\.tgz is not a package"):
        make_sprites([packages], tmp_path / "sprites")


def test_a_stop_leaves_what_was_there(packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "sprites"
    make_sprites([packages], out)
    before = (out / "sprites.json").read_bytes()

    def stop(style: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_sprites([packages], out, on_step=stop)
    assert (out / "sprites.json").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".sprites")]


def test_damaged_folders_are_told(packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "sprites"
    with pytest.raises(ValueError, match="make them with: loom data sprites"):
        open_sprites(out)
    make_sprites([packages], out)
    facts = json.loads((out / "sprites.json").read_text("utf-8"))
    (out / "sprites.json").write_text(json.dumps(facts | {"schema": 0}), encoding="utf-8")
    with pytest.raises(ValueError, match="found schema 0"):
        open_sprites(out)
    (out / "sprites.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="is not JSON"):
        open_sprites(out)
    facts["sprites"].pop()
    (out / "sprites.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ValueError, match="pixels: found uint8"):
        open_sprites(out)
    (out / "pixels.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"pixels\.npy is not to be read"):
        open_sprites(out)


def test_hexcodes_are_joined_in_one_form() -> None:
    assert plain_hexcode("2764-FE0F") == "2764"
    assert plain_hexcode("0023-FE0F-20E3") == "0023-20e3"
    assert base_hexcode("1F468-1F3FD-200D-1F680") == "1f468-200d-1f680"


def test_the_commands(packages: Path, tmp_path: Path) -> None:
    import typer
    from drawn_sprites import drawn_sprites

    from tokenloom.cli.sprites import scenes, sprites
    from tokenloom.data.sprites import save_sprites

    app = typer.Typer()
    app.command()(sprites)
    app.command()(scenes)
    run = CliRunner()
    made = run.invoke(app, ["sprites", str(packages), "-o", str(tmp_path / "made")])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["sprites"]["noto"] == 4
    some = drawn_sprites()
    folder = tmp_path / "drawn"
    folder.mkdir()
    save_sprites(folder, some.sprites, np.stack([some.pixels(i) for i in range(len(some))]), [])
    assert open_sprites(folder).sprites == some.sprites
    sheet, pictures = tmp_path / "sheet.png", tmp_path / "pictures"
    assert run.invoke(app, ["scenes", str(folder), "-o", str(sheet), "--n", "9"]).exit_code == 0
    with Image.open(sheet) as opened:
        assert opened.width == 8 * 188
    assert run.invoke(app, ["scenes", str(folder), "-o", str(sheet), "--n", "9", "--edits"]).exit_code == 0
    assert run.invoke(app, ["scenes", str(folder), "-o", str(pictures), "--n", "3"]).exit_code == 0
    lines = [json.loads(line) for line in (pictures / "captions.jsonl").read_text("utf-8").splitlines()]
    assert [line["file"] for line in lines] == ["000000.png", "000001.png", "000002.png"]
    assert all(line["en"] and line["zh"] and line["style"] for line in lines)
    with Image.open(pictures / "000002.png") as opened:
        assert (opened.size, opened.mode) == ((64, 64), "RGBA")
    wrong = run.invoke(app, ["scenes", str(folder), "-o", str(pictures), "--n", "0"])
    assert isinstance(wrong.exception, ValueError)
