"""Quantisers against the papers' formulas, against another implementation, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tokenloom.codec.quantise import FSQ, VQ, Quantiser, Residual

LEVELS = [(8, 5, 5, 5), (3, 3), (8, 8, 8, 5, 5, 5), (2,), (4, 7)]


def seeded(n: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def paper(z: np.ndarray, levels: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mentzer et al. 2023, appendix A.1, as it stands there: quantised values and indices."""
    eps = 1e-3
    count = np.asarray(levels)
    basis = np.concatenate([[1], np.cumprod(count[:-1])])
    half_l = (count - 1) * (1 - eps) / 2
    offset = np.where(count % 2 == 1, 0.0, 0.5)
    shift = np.tan(offset / half_l)
    quantized = np.round(np.tanh(z + shift) * half_l - offset)
    half_width = count // 2
    zhat = quantized / half_width
    return zhat, ((zhat * half_width + half_width) * basis).sum(-1).astype(np.int64)


@pytest.mark.parametrize("levels", LEVELS)
def test_fsq_is_the_papers(levels: tuple[int, ...]) -> None:
    z = 2 * torch.randn(4000, len(levels), generator=seeded(), dtype=torch.float64)
    quantiser = FSQ(8, levels).double()
    points = quantiser.quantise(z)
    wanted, index = paper(z.numpy(), levels)
    near = np.abs(np.abs(quantiser.bound(z).numpy() % 1) - 0.5).min(-1) < 1e-5  # where a rounding decides
    assert near.mean() < 0.01
    assert np.array_equal(points.numpy()[~near], wanted[~near])
    assert np.array_equal(quantiser.number(points).numpy()[~near], index[~near])
    for i, n in enumerate(levels):
        assert len(points[:, i].unique()) == n


@pytest.mark.parametrize("levels", LEVELS)
def test_fsq_numbers_every_point_once(levels: tuple[int, ...]) -> None:
    quantiser = FSQ(8, levels)
    codes = torch.arange(quantiser.size)
    points = quantiser.points(codes)
    assert len(points.unique(dim=0)) == quantiser.size
    assert torch.equal(quantiser.number(points), codes)
    assert points.abs().max() <= 1


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (4, 7)])
def test_fsq_against_another_program(levels: tuple[int, ...]) -> None:
    judge = pytest.importorskip("vector_quantize_pytorch").FSQ(list(levels))
    z = 2 * torch.randn(1, 5000, len(levels), generator=seeded())
    quantiser = FSQ(8, levels)
    theirs, index = judge(z)
    ours = quantiser.quantise(z)
    # Its bounds are wider by a thousandth (1 + eps where the paper has 1 - eps), so a few fall elsewhere.
    same = (ours == theirs).all(-1)
    assert same.double().mean() > 0.98
    assert torch.equal(quantiser.number(ours)[same], index[same].long())
    codes = torch.arange(quantiser.size)
    assert torch.equal(quantiser.points(codes), judge.indices_to_codes(codes[None])[0])


def test_the_gradient_goes_straight_through() -> None:
    quantiser = FSQ(8, (8, 5))
    z = torch.randn(50, 2, generator=seeded(), requires_grad=True)
    weight = torch.randn(50, 2, generator=seeded(1))
    (quantiser.quantise(z) * weight).sum().backward()
    through = z.grad
    z.grad = None
    (quantiser.bound(z) / torch.tensor([4, 2]) * weight).sum().backward()  # as if nothing were rounded
    assert z.grad is not None
    assert torch.equal(through, z.grad)
    assert z.grad.abs().min() > 0


def made(kind: str) -> Quantiser:
    torch.manual_seed(0)
    return {
        "fsq": lambda: FSQ(12, (8, 5, 5, 5)),
        "vq": lambda: VQ(12, 60, 4),
        "residual fsq": lambda: Residual([FSQ(12, (4, 4)) for _ in range(3)]),
        "residual vq": lambda: Residual([VQ(12, 40) for _ in range(2)]),
    }[kind]()


KINDS = ["fsq", "vq", "residual fsq", "residual vq"]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_say_all_that_is_passed_on(kind: str) -> None:
    quantiser = made(kind).eval()
    z = torch.randn(2, 12, 3, 4, generator=seeded())
    found = quantiser(z)
    shape = (2, 3, 4) if quantiser.depth == 1 else (2, 3, 4, quantiser.depth)
    assert found.codes.shape == shape
    assert found.codes.dtype == torch.int64
    assert found.z_q.shape == z.shape
    assert 0 <= found.codes.min() <= found.codes.max() < quantiser.size
    assert torch.allclose(quantiser.decode(found.codes), found.z_q, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_and_the_network_get_a_gradient(kind: str) -> None:
    quantiser = made(kind)
    z = torch.randn(2, 12, 3, 4, generator=seeded(), requires_grad=True)
    found = quantiser(z)
    (found.z_q.square().sum() + found.loss).backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    for name, weight in quantiser.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_half_precision_networks_get_the_same_codes() -> None:
    quantiser = made("fsq")
    z = torch.randn(2, 12, 8, 8, generator=seeded()).bfloat16()
    plain = quantiser(z.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = quantiser(z)
        again = quantiser.decode(found.codes)
    assert torch.equal(found.codes, plain.codes)
    assert found.z_q.dtype == again.dtype == torch.float32


def test_vq_takes_the_nearest_direction() -> None:
    quantiser = VQ(12, 60, 4).eval()
    z = torch.randn(2, 12, 3, 4, generator=seeded())
    narrow = F.normalize(quantiser.narrow(z).permute(0, 2, 3, 1), dim=-1)
    book = F.normalize(quantiser.book, dim=-1)
    distance = (narrow[..., None, :] - book).square().sum(-1)
    assert torch.equal(quantiser(z).codes, distance.argmin(-1))
    nearest = distance.min(-1).values.mean()
    assert torch.allclose(quantiser(z).loss, (1 + VQ.COMMIT) * nearest, atol=1e-5)


def test_dead_codes_are_revived_where_the_pictures_are() -> None:
    torch.manual_seed(0)
    quantiser = VQ(4, 100, 4)
    with torch.no_grad():
        quantiser.narrow.weight.copy_(torch.eye(4)[..., None, None])
        quantiser.narrow.bias.zero_()  # type: ignore[union-attr]
        quantiser.book.copy_(
            F.normalize(torch.tensor([[-1.0, 0, 0, 0]]) + 0.01 * torch.randn(100, 4), dim=-1)
        )
    z = torch.rand(8, 4, 8, 8, generator=seeded())  # all on the other side of the sphere
    before = len(quantiser(z).codes.unique())
    for _ in range(800):
        quantiser(z)
    assert before < 20
    assert len(quantiser(z).codes.unique()) > 80
    use = quantiser.use.clone()
    quantiser.eval()
    quantiser(z)
    with torch.no_grad():
        quantiser.train()
        quantiser(z)
    assert torch.equal(quantiser.use, use)  # only training follows the use


def test_each_stage_of_a_residual_brings_nearer() -> None:
    torch.manual_seed(0)
    stages = [FSQ(4, (5, 5, 5, 5)) for _ in range(3)]
    for stage in stages:
        with torch.no_grad():
            stage.narrow.weight.copy_(4 * torch.eye(4)[..., None, None])
            stage.widen.weight.copy_(0.25 * torch.eye(4)[..., None, None])
            stage.narrow.bias.zero_()  # type: ignore[union-attr]
            stage.widen.bias.zero_()  # type: ignore[union-attr]
    z = 0.5 * torch.randn(4, 4, 8, 8, generator=seeded())
    left = [float((Residual(stages[:n])(z).z_q - z).square().mean().detach()) for n in (1, 2, 3)]
    assert left[0] > left[1] > left[2]
    whole = Residual(stages)(z).codes
    assert torch.equal(Residual(stages[:2])(z).codes, whole[..., :2])


def test_what_cannot_be() -> None:
    for levels in ((), (1, 5)):
        with pytest.raises(ValueError, match="levels"):
            FSQ(8, levels)
    with pytest.raises(ValueError, match="size: found 1"):
        VQ(8, 1)
    with pytest.raises(ValueError, match="stages"):
        Residual([])
    with pytest.raises(ValueError, match="stages"):
        Residual([FSQ(8, (3, 3)), FSQ(8, (3, 4))])
