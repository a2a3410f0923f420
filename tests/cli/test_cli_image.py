"""`loom image encode`, `decode` and `score`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from tiny_pictures import tiny_sprites
from typer.testing import CliRunner

from tokenloom.cli import image
from tokenloom.codec.config import ImageCodecConfig
from tokenloom.codec.folder import open_codec, save_codec
from tokenloom.codec.image import ImageCodec
from tokenloom.data.picture_splits import emoji_held_out, pair_held_out


@pytest.fixture
def codec(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = ImageCodec(ImageCodecConfig(widths=(8, 16), encoder=(1, 1), decoder=(1, 1)))
    return save_codec(net, tmp_path / "model" / "codec")


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    for name in ("encode", "decode", "outlines", "score"):
        made.command(name)(getattr(image, name))
    return made


def run(app: typer.Typer, *args: object) -> str:
    found = CliRunner().invoke(app, [str(a) for a in args])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output


def test_there_and_back(app: typer.Typer, codec: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    files = []
    for i, shape in enumerate(((64, 64, 4), (30, 90, 3))):
        files.append(tmp_path / f"{i}.png")
        picture = draw.integers(0, 256, shape, dtype=np.uint8)
        picture[..., 3:] = 255
        Image.fromarray(picture).save(files[-1])
    out = tmp_path / "codes.json"
    assert "2 x 64 codes" in run(app, "encode", *files, "-o", out, "--codec", codec)
    facts = json.loads(out.read_text())
    opened = open_codec(codec)
    assert facts["codec"] == opened.sha256
    codes = np.array(facts["codes"])
    first = np.asarray(Image.open(files[0]))[None]
    assert np.array_equal(codes[:1], opened.encode(first))
    run(app, "decode", out, "-o", tmp_path / "made.png", "--codec", codec.parent)  # a model's folder will do
    for i, wanted in enumerate(opened.decode(codes)):
        made = np.asarray(Image.open(tmp_path / f"made-{i + 1}.png").convert("RGBA"))
        seen = wanted[..., 3:] > 0
        assert np.array_equal(made * seen, wanted * seen)


def test_codes_of_another_codec_are_refused(app: typer.Typer, codec: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes.json"
    for text in ('{"codec": "ab", "codes": [[1]]}', "{}", "not JSON"):
        out.write_text(text)
        with pytest.raises(ValueError, match=r"another|was encoded by|is no file of codes"):
            run(app, "decode", out, "--codec", codec)
    with pytest.raises(ValueError, match="ends in"):
        run(app, "decode", out, "-o", tmp_path / "x.txt", "--codec", codec)
    with pytest.raises(ValueError, match="there is no folder"):
        run(app, "decode", out, "-o", tmp_path / "none" / "x.png", "--codec", codec)


def test_what_are_no_codes_of_pictures(app: typer.Typer, codec: Path, tmp_path: Path) -> None:
    out, made = tmp_path / "codes.json", tmp_path / "made.png"
    for rows, words in (
        ([], "found no codes"),
        ([[1] * 64, [1] * 63], "found 63 codes of a picture; allowed: 64"),
        ([[1] * 64, []], "found 0 codes"),
        ([[1.5] * 64], "found float64; allowed: whole numbers"),
        ([[2**70] * 64], "found object; allowed: whole numbers"),
        ([[[1], [1, 2]]], "is no file of codes"),
        ([[10**6] * 64], "codes: found 1000000; allowed: 0 to"),
        ({"a": 1}, "is no file of codes"),
    ):
        out.write_text(json.dumps({"codec": open_codec(codec).sha256, "codes": rows}))
        with pytest.raises(ValueError, match=words):
            run(app, "decode", out, "-o", made, "--codec", codec)
    assert not list(tmp_path.glob("*made*"))


def test_score(app: typer.Typer, codec: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    sprites = tiny_sprites(tmp_path / "sprites", 80)
    said = run(app, "score", sprites, "--codec", codec, "--n", 3, "--scenes", 0, "--sheet", sheet)
    facts = json.loads(said.strip().splitlines()[-1])
    assert {"held_out", "unseen_style", "unseen_both"} <= set(facts)
    assert facts["held_out"]["n"] == 3
    assert 0 < facts["held_out"]["code_use"] < 1
    assert facts["held_out"]["psnr"] > 3
    assert Image.open(sheet).size[0] == 2 * 3 * 64


def test_outlines(app: typer.Typer, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    svg = tmp_path / "twemoji" / "dist" / "svg"
    svg.mkdir(parents=True)
    for i in range(40):
        shape = '<circle fill="#F4900C" cx="18" cy="18" r="14"/>'
        text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 36 36">{shape}</svg>'
        (svg / f"{0xE000 + i:x}.svg").write_text(text)
    out = tmp_path / "outlines.npy"
    run(app, "outlines", tmp_path / "twemoji", "-o", out, "--copies", 2)
    found = np.load(out)
    kept = [f"{0xE000 + i:x}" for i in range(40)]
    kept = [h for h in kept if not emoji_held_out(h) and not pair_held_out(h, "twemoji")]
    assert found.shape == (2 * len(kept), 96, 96, 4)
    assert len(kept) < 40
    black = (found[..., :3] < 20).all(-1) & (found[..., 3] > 200)
    assert (black.mean((1, 2)) > 0.02).all()  # a line around every disc
    again = tmp_path / "again.npy"
    run(app, "outlines", tmp_path / "twemoji", "-o", again, "--copies", 2)
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(ValueError, match=r"no dist/svg"):
        run(app, "outlines", tmp_path)
