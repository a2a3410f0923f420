"""What must hold of a codec, trained or not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tokenloom.codec.config import ImageCodecConfig, Losses
from tokenloom.codec.folder import BadCodec, Codec, open_codec, save_codec
from tokenloom.codec.image import ImageCodec
from tokenloom.codec.losses import reconstruction
from tokenloom.codec.pixels import flatten, to_pixels, to_tensor
from tokenloom.codec.vector import VectorAutoencoder

SMALL = {"size": 32, "widths": (16, 32), "encoder": (1, 1), "decoder": (1, 1)}


def codec(**changes: object) -> ImageCodec:
    torch.manual_seed(0)
    return ImageCodec(ImageCodecConfig(**{**SMALL, **changes}))  # type: ignore[arg-type]


def pictures(n: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    return open_codec(save_codec(codec(), tmp_path_factory.mktemp("codecs") / "codec"))


def test_a_pictures_codes_do_not_depend_on_its_company(opened: Codec) -> None:
    many = pictures(19)
    codes = opened.encode(many)
    assert codes.shape == (19, 16)
    assert codes.dtype == np.int64
    assert len(np.unique(codes)) > 20
    for i in (0, 7, 15, 16, 18):
        assert np.array_equal(opened.encode(many[i : i + 1])[0], codes[i])
    for n in range(2, 17):
        assert np.array_equal(opened.encode(many[:n]), codes[:n])
    made = opened.decode(codes)
    assert made.shape == many.shape
    assert made.dtype == np.uint8
    assert np.array_equal(opened.decode(codes[5:6])[0], made[5])
    for n in range(2, 17):
        assert np.array_equal(opened.decode(codes[:n]), made[:n])
    assert np.array_equal(opened.decode(codes), made)


def test_no_pictures_are_no_codes(opened: Codec) -> None:
    assert opened.encode(pictures(0)).shape == (0, 16)
    assert opened.decode(np.zeros((0, 16), np.int64)).shape == (0, 32, 32, 4)


def test_a_folder_keeps_what_was_rounded_once(tmp_path: Path) -> None:
    first = open_codec(save_codec(codec(), tmp_path / "a"))
    again = open_codec(save_codec(first.model, tmp_path / "b"))
    assert again.sha256 == first.sha256
    assert np.array_equal(again.encode(pictures(3)), first.encode(pictures(3)))
    assert json.loads((tmp_path / "a" / "tokenloom.json").read_text())["kind"] == "codec"
    assert "4 x 4 places" in (tmp_path / "a" / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "per_picture", "n_codes"),
    [
        ({"depth": 2}, 32, 1000),
        ({"quantiser": "vq", "codes": 50}, 16, 50),
        ({"quantiser": "vq", "codes": 50, "depth": 3}, 48, 50),
        ({"size": 48, "down": 16, "widths": (8, 8, 16), "encoder": (1, 0, 1), "decoder": (1, 0, 1)}, 9, 1000),
        (
            {"levels": (3, 3), "attention": 0, "patch": 8, "widths": (32,), "encoder": (1,), "decoder": (1,)},
            16,
            9,
        ),
    ],
)
def test_other_shapes(changes: dict[str, object], per_picture: int, n_codes: int, tmp_path: Path) -> None:
    found = open_codec(save_codec(codec(**changes), tmp_path / "codec", dtype="float16"))
    assert (found.per_picture, found.n_codes) == (per_picture, n_codes)
    codes = found.encode(pictures(3, found.size))
    assert codes.shape == (3, per_picture)
    assert 0 <= codes.min() <= codes.max() < n_codes
    assert found.decode(codes).shape == (3, found.size, found.size, 4)


def test_codes_of_a_place_stand_side_by_side(tmp_path: Path) -> None:
    found = open_codec(save_codec(codec(depth=2), tmp_path / "codec"))
    some = pictures(2)
    with torch.no_grad():
        grid = found.model.encode_images(to_tensor(some)).codes
    codes = found.encode(some)
    assert codes[0, 0] == grid[0, 0, 0, 0]
    assert codes[0, 1] == grid[0, 0, 0, 1]
    assert codes[1, 2 * (4 * 1 + 3) + 1] == grid[1, 1, 3, 1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((1, 16, 16, 4), np.uint8), "16 x 16 pixels; allowed: 32 x 32"),
        (np.zeros((1, 32, 32, 3), np.uint8), "allowed: \\(N, H, W, 4\\), RGBA"),
        (np.zeros((32, 32, 4), np.uint8), "allowed: \\(N, H, W, 4\\), RGBA"),
        (np.zeros((1, 32, 32, 4), np.float32), "found float32; allowed: an array of uint8"),
        ("fox.png", "found str"),
    ],
)
def test_what_is_no_picture(opened: Codec, given: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        opened.encode(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.full((1, 16), 1000), "found 1000; allowed: 0 to 999"),
        (np.full((1, 16), -1), "found -1; allowed: 0 to 999"),
        (np.zeros((1, 15), np.int64), "allowed: \\(N, 16\\)"),
        (np.zeros(16, np.int64), "allowed: \\(N, 16\\)"),
        (np.zeros((1, 16)), "found float64; allowed: an array of whole numbers"),
        ([[0] * 16], "found list"),
    ],
)
def test_what_are_no_codes(opened: Codec, given: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        opened.decode(given)


def test_what_is_no_codec(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing at"):
        open_codec(tmp_path / "absent")
    (tmp_path / "lm").mkdir()
    with pytest.raises(BadCodec, match=r"no tokenloom.json"):
        open_codec(tmp_path / "lm")
    (tmp_path / "lm" / "tokenloom.json").write_text('{"kind": "lm"}')
    with pytest.raises(BadCodec, match="kind 'lm'"):
        open_codec(tmp_path / "lm")
    place = save_codec(codec(), tmp_path / "codec")
    with pytest.raises(FileExistsError, match="not empty"):
        save_codec(codec(), place)
    save_codec(codec(), place, overwrite=True)
    settings = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**settings, "colour": 3}))
    with pytest.raises(BadCodec, match="colour"):
        open_codec(place)
    (place / "config.json").write_text(json.dumps({**settings, "widths": [16, 64]}))
    with pytest.raises(BadCodec, match="another shape"):
        open_codec(place)
    (place / "model.safetensors").write_bytes(b"\x00" * 40)
    (place / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BadCodec, match="not whole"):
        open_codec(place)
    with pytest.raises(ValueError, match="dtype: found 'int8'"):
        save_codec(codec(), tmp_path / "c", dtype="int8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"down": 7}, "down: found 7; allowed: a divisor"),
        ({"patch": 3}, "patch: found 3"),
        ({"patch": 16}, "patch: found 16"),
        ({"widths": (16,)}, "widths: found 1 numbers"),
        ({"widths": (16, 20)}, "multiples of 8"),
        ({"depth": 0}, "depth: found 0"),
        ({"levels": (8, 1)}, "levels: found"),
    ],
)
def test_sizes_that_cannot_be(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        codec(**changes)


def test_pixels_there_and_back() -> None:
    some = pictures(4)
    some[0, ..., 3] = 255
    some[1, ..., 3] = 0
    again = to_pixels(to_tensor(some))
    assert np.array_equal(again[0], some[0])
    assert not again[1].any()
    seen = some[2:, ..., 3:].astype(int)
    assert np.array_equal(again[2:, ..., 3:], seen)
    wrong = np.abs(again[2:, ..., :3].astype(int) - some[2:, ..., :3]) * (seen > 0)
    assert (wrong * seen <= 255).all()  # colour is known as well as opacity lets it
    x = to_tensor(some)
    assert x.shape == (4, 4, 32, 32)
    assert x.min() >= -1
    assert (x[:, :3] <= x[:, 3:] + 1e-6).all()  # premultiplied: no colour above opacity


def test_over_a_ground() -> None:
    some = np.zeros((1, 1, 3, 4), np.uint8)
    some[0, 0, 1] = (10, 20, 30, 255)
    some[0, 0, 2] = (255, 0, 0, 51)
    assert flatten(some).tolist() == [[[[255, 255, 255], [10, 20, 30], [255, 204, 204]]]]
    assert flatten(some, (0, 0, 0)).tolist() == [[[[0, 0, 0], [10, 20, 30], [51, 0, 0]]]]


def test_losses_against_composites_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    made, wanted = (torch.rand(2, 4, 16, 16, generator=generator) * 2 - 1 for _ in range(2))
    ground = torch.rand(2, 3, generator=generator)

    def over(x: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
        x = (x + 1) / 2
        return x[:, :3] + (1 - x[:, 3:]) * colour[:, :, None, None]

    grounds = [torch.ones(2, 3), torch.zeros(2, 3), ground]
    pairs = [(over(made, g), over(wanted, g)) for g in grounds]
    scales = [
        torch.stack([(F.avg_pool2d(a, k) - F.avg_pool2d(b, k)).abs().mean((1, 2, 3)) for a, b in pairs]).mean(
            0
        )
        for k in (1, 2, 4)
    ]
    found = reconstruction(made, wanted, ground, Losses(edges=0, spectrum=0))
    assert torch.allclose(found, torch.stack(scales).mean(0), atol=1e-6)
    squares = torch.stack([(a - b).square().mean((1, 2, 3)) for a, b in pairs]).mean(0)
    found = reconstruction(made, wanted, ground, Losses(pixels=0, edges=0, spectrum=0, squares=1))
    assert torch.allclose(found, squares, atol=1e-6)
    edges = torch.stack(
        [((a.diff(dim=d) - b.diff(dim=d)).abs().mean((1, 2, 3))) for a, b in pairs for d in (2, 3)]
    ).mean(0)
    found = reconstruction(made, wanted, ground, Losses(pixels=0, spectrum=0))
    assert torch.allclose(found, edges, atol=1e-6)
    sizes = [torch.fft.rfft2(x / 2, norm="ortho").abs() for x in (made, wanted)]
    found = reconstruction(made, wanted, ground, Losses(pixels=0, edges=0, spectrum=1))
    assert torch.allclose(found, (sizes[0] - sizes[1]).abs().mean((1, 2, 3)), atol=1e-3)
    assert not reconstruction(made, made, ground, Losses(squares=1)).any()


def test_the_plain_autoencoder_finds_the_principal_components() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 3) @ torch.randn(3, 12) + 0.01 * torch.randn(256, 12)
    x = x - x.mean(0)
    net = VectorAutoencoder(12, 3)
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.03, weight_decay=0.0)
    for _ in range(400):
        optimiser.zero_grad()
        net.loss(x).mean().backward()
        optimiser.step()
    assert net.encode(x).shape == (256, 3)
    left = torch.linalg.svdvals(x)[3:].square().sum() / x.numel()  # what no three directions can say
    assert float(net.loss(x).mean().detach()) < 1.1 * float(left) + 1e-4
    assert VectorAutoencoder(hidden=64)(torch.zeros(2, 1000)).shape == (2, 1000)
    for bad in ({"code": 0}, {"code": 1001}, {"hidden": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            VectorAutoencoder(**bad)
    with pytest.raises(ValueError, match="allowed: \\(N, 12\\)"):
        net(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="allowed: \\(N, 3\\)"):
        net.decode(torch.zeros(2, 12))
