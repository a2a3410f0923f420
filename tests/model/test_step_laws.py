"""Laws of the step: causal, cached = full, chunked = whole, batch = single, parked and copied = computed."""

from __future__ import annotations

import dataclasses
import gc
import itertools

import numpy as np
import pytest
import torch

from tokenloom.model.config import ModelConfig, Rope
from tokenloom.model.step import TorchStep, estimate
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.step import Row

LLAMA = ModelConfig(
    n_layer=2, n_head=4, n_kv_head=2, dim=32, head_dim=8, ffn_dim=48, vocab_size=61, context=64
)
GEMMA = dataclasses.replace(
    LLAMA, norm_offset=1.0, act="gelu_tanh", qk_norm=True, post_norms=True, windows=(6, 0), embed_scale=5.6,
    local_rope=Rope(100.0), attn_softcap=2.0, logit_softcap=3.0, tied=True, family="gemma3_text",
)  # fmt: skip
GPT2 = dataclasses.replace(
    LLAMA, n_kv_head=4, norm="layer", act="gelu_tanh", gated=False, positions="learned", qkv_bias=True,
    out_bias=True, mlp_bias=True, tied=True, family="gpt2",
)  # fmt: skip
CONFIGS = {"llama": LLAMA, "gemma": GEMMA, "gpt2": GPT2}
IDS = [(i * 37 + i * i) % 61 for i in range(40)]


def build(config: ModelConfig, dtype: torch.dtype = torch.float32) -> Transformer:
    model = Transformer(config)
    init_weights(model, seed=5, std=0.25)
    return model.to(dtype).eval()


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Transformer:
    return build(CONFIGS[request.param])


@pytest.fixture(params=[True, False], ids=["blocks", "fused"])
def in_blocks(request: pytest.FixtureRequest) -> bool:
    """Chunks by products over blocks, as CPUs take them, or by the fused kernel, as GPUs do."""
    return bool(request.param)


def whole(model: Transformer, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([ids]))[0].float().numpy()


def test_causal_by_gradient(model: Transformer) -> None:
    """The gradient of position t reaches embeddings up to t, t included, and none after it."""
    rows = torch.nn.Parameter(torch.randn(12, 61)[:, : model.config.dim].clone())
    ids = torch.arange(12)[None]
    model.model.embed_tokens.weight = rows
    for t in (0, 5, 11):
        (grad,) = torch.autograd.grad(model.hidden(ids)[0, t].square().sum(), rows)
        reached = grad.abs().sum(1) > 0
        assert not reached[t + 1 :].any()
        window = model.config.window(0) * (model.config.n_layer - 1) + 1  # one hop back at least
        assert reached[max(0, t - window + 2) : t + 1].all()


def test_window_by_gradient() -> None:
    """With every layer windowed, n layers see n * (window - 1) positions back, and no further."""
    model = build(dataclasses.replace(LLAMA, windows=(4, 4), family="mistral"))
    model.model.embed_tokens.weight = torch.nn.Parameter(torch.randn(20, 32))
    (grad,) = torch.autograd.grad(
        model.hidden(torch.arange(20)[None])[0, 19].square().sum(), model.model.embed_tokens.weight
    )
    reached = grad.abs().sum(1) > 0
    assert reached.tolist() == [False] * 13 + [True] * 7


def test_cached_is_full(model: Transformer) -> None:
    step = TorchStep(model, 1)
    want = whole(model, IDS)
    for i, token in enumerate(IDS):
        (found,) = step.run([Row(0, i, [token], want=1)])
        np.testing.assert_allclose(found[0], want[i], atol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 16, 39])
def test_chunked_is_whole(model: Transformer, size: int, in_blocks: bool) -> None:
    step = TorchStep(model, 1)
    step.in_blocks = in_blocks
    parts = [
        step.run([Row(0, i, IDS[i : i + size], want=len(IDS[i : i + size]))])[0]
        for i in range(0, len(IDS), size)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole(model, IDS), atol=1e-4)


@pytest.mark.parametrize("slots", [(0, 1, 2, 3), (3, 0, 2, 1), (6, 1, 4, 2), (7, 5, 3, 1)])
def test_batch_is_single_in_any_slots_and_order(
    model: Transformer, slots: tuple[int, ...], in_blocks: bool
) -> None:
    """Rows of other lengths, chunks beside decode rows, slots with and without neighbours."""
    lengths = (30, 3, 17, 9)
    step = TorchStep(model, 8)
    step.in_blocks = in_blocks
    step.run([Row(slot, 0, IDS[:n]) for slot, n in zip(slots, lengths, strict=True)])
    for order in itertools.islice(itertools.permutations(range(4)), 0, 24, 5):
        rows = []
        for i in order:
            n = lengths[i]
            # The third row brings a chunk, the others one id each; the step may be run again at will.
            rows.append(Row(slots[i], n, IDS[n : n + (5 if i == 2 else 1)], want=1))
        for i, found in zip(order, step.run(rows), strict=True):
            end = lengths[i] + (5 if i == 2 else 1)
            np.testing.assert_allclose(found[0], whole(model, IDS[:end])[-1], atol=1e-4)


def test_many_rows_of_very_other_lengths(model: Transformer) -> None:
    """Where padding would cost too much, rows are computed apart; the answers stay."""
    from tokenloom.model.plan import make_plan

    long = dataclasses.replace(model.config, context=600)
    if long.positions == "learned":
        model.model.embed_positions.weight = torch.nn.Parameter(torch.randn(600, long.dim))
    model.config = long
    step = TorchStep(model, 3)
    ids = [IDS[i % 40] for i in range(590)]
    step.run([Row(0, 0, ids[:4]), Row(1, 0, ids[:589]), Row(2, 0, ids[:2])])
    rows = [Row(0, 4, [9], 1), Row(1, 589, [9], 1), Row(2, 2, [9], 1)]
    assert len(make_plan(rows, {0}, torch.float32, torch.device("cpu"), True).groups) == 3
    for row, found in zip(rows, step.run(rows), strict=True):
        np.testing.assert_allclose(found[0], whole(model, [*ids[: row.start], 9])[-1], atol=1e-4)


def test_parked_and_released_comes_back_bit_for_bit(model: Transformer) -> None:
    step = TorchStep(model, 3)
    step.run([Row(1, 0, IDS[:20])])
    (want,) = step.run([Row(1, 20, [7], want=1)])
    parked = step.park(1, 20)
    step.release(1)
    step.run([Row(1, 0, IDS[5:30])])
    step.unpark(parked, 2)
    (found,) = step.run([Row(2, 20, [7], want=1)])
    assert np.array_equal(found, want)


def test_copied_prefix_is_computed_prefix(model: Transformer) -> None:
    step = TorchStep(model, 3)
    step.run([Row(0, 0, IDS[:25])])
    step.copy(0, 2, 16)
    (found,) = step.run([Row(2, 16, IDS[16:30], want=14)])
    np.testing.assert_allclose(found, whole(model, IDS[:30])[16:], atol=1e-4)
    (source,) = step.run([Row(0, 25, [3], want=1)])
    np.testing.assert_allclose(source[0], whole(model, [*IDS[:25], 3])[-1], atol=1e-4)


def test_positions_from_start_on_are_overwritten(model: Transformer) -> None:
    """A row may go back: what was beyond `start` is gone."""
    step = TorchStep(model, 1)
    step.run([Row(0, 0, IDS[:30])])
    (found,) = step.run([Row(0, 10, [1, 2, 3], want=3)])
    np.testing.assert_allclose(found, whole(model, [*IDS[:10], 1, 2, 3])[10:], atol=1e-4)


@pytest.mark.parametrize("allowed", [((3, 9),), ((50, 61), (0, 2)), ((0, 60), (60, 61))])
def test_allowed_slices_the_output_layer(model: Transformer, allowed: tuple[tuple[int, int], ...]) -> None:
    step = TorchStep(model, 2)
    found, other = step.run([Row(0, 0, IDS[:9], want=2, allowed=allowed), Row(1, 0, IDS[:4], want=1)])
    want = whole(model, IDS[:9])[7:]
    np.testing.assert_allclose(found, np.concatenate([want[:, lo:hi] for lo, hi in allowed], 1), atol=1e-4)
    assert other.shape == (1, 61)


def test_answers_are_the_callers(model: Transformer) -> None:
    step = TorchStep(model, 2)
    one, two, none = *step.run([Row(0, 0, IDS[:4], want=1), Row(1, 0, IDS[:4], want=1)]), None
    two_before = two.copy()
    one += 100
    assert np.array_equal(two, two_before)
    assert one.dtype == np.float32
    assert step.run([Row(0, 4, IDS[:2], want=0)]) == [none]
    assert step.run([]) == []


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([Row(2, 0, [1])], "slot"),
        ([Row(0, 0, [1]), Row(0, 1, [1])], "slot"),
        ([Row(0, 60, [1] * 5)], "ids"),
        ([Row(0, 0, [])], "ids"),
        ([Row(0, 0, [61])], "ids"),
        ([Row(0, 0, [1], want=2)], "want"),
        ([Row(0, 0, [1], allowed=((5, 70),))], "allowed"),
        ([Row(0, 0, [1], adapter="none")], "adapter"),
    ],
)
def test_rows_that_cannot_be_are_refused(rows: list[Row], field: str) -> None:
    step = TorchStep(build(LLAMA), 2)
    with pytest.raises(ValueError, match=f"^{field}: "):
        step.run(rows)


@pytest.mark.parametrize("name", CONFIGS)
def test_bfloat16_stays_near_float32(name: str) -> None:
    """Packed products, prefill and decode: the error is that of the type, not of the path."""
    model = build(CONFIGS[name])
    want = whole(model, IDS)
    spread = want.std()
    half = build(CONFIGS[name], torch.bfloat16)
    assert np.abs(whole(half, IDS) - want).max() < 0.15 * spread
    step = TorchStep(half, 2)
    (prefill,) = step.run([Row(0, 0, IDS, want=40)])
    assert np.abs(prefill - want).max() < 0.15 * spread
    for i in range(12):
        found, _ = step.run([Row(1, i, [IDS[i]], want=1), Row(0, 39, [IDS[39]], want=1)])
        assert np.abs(found[0] - want[i]).max() < 0.15 * spread


def test_packed_rows_of_documents_are_documents_alone(model: Transformer) -> None:
    a, b = IDS[:11], IDS[11:30]
    documents = torch.tensor([[0] * 11 + [1] * 19])
    with torch.no_grad():
        found = model(torch.tensor([a + b]), documents=documents)[0].numpy()
    np.testing.assert_allclose(found[:11], whole(model, a), atol=1e-4)
    np.testing.assert_allclose(found[11:], whole(model, b), atol=1e-4)


def test_every_weight_gets_a_gradient(model: Transformer) -> None:
    model.train()
    loss = model(torch.tensor([IDS])).logsumexp(-1).mean()
    loss.backward()
    # A bias of keys moves all logits of a query alike, so the softmax does not see it.
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not [name for name in silent if not name.endswith("k_proj.bias")]


def test_estimate_covers_weights_and_cache() -> None:
    model = build(LLAMA, torch.bfloat16)
    step = TorchStep(model, 3, context=50)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    assert estimate(LLAMA, 3, 50, "bfloat16") >= weights + 3 * 50 * step.bytes_per_token
    assert step.bytes_per_token == 2 * 2 * 2 * 8 * 2
    assert estimate(LLAMA, 3, 50, "float32") > estimate(LLAMA, 3, 50, "bfloat16")


def test_learned_positions_bound_the_context() -> None:
    with pytest.raises(ValueError, match="context"):
        TorchStep(build(GPT2), 1, context=65)
    with pytest.raises(ValueError, match="positions"):
        build(GPT2)(torch.zeros(1, 65, dtype=torch.long))


def test_taking_empties_the_model() -> None:
    model = build(LLAMA)
    (want,) = TorchStep(model, 1).run([Row(0, 0, IDS, want=1)])
    (found,) = TorchStep(model, 1, take=True).run([Row(0, 0, IDS, want=1)])
    assert np.array_equal(found, want)
    assert not list(model.model.layers.parameters())


def test_close_frees_weights_and_cache() -> None:
    def live() -> set[int]:
        gc.collect()
        return {id(o) for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter)}

    def used() -> TorchStep:
        step = TorchStep(build(LLAMA), 1)
        step.run([Row(0, 0, IDS[:4], want=1)])
        return step

    used().close()  # what libraries make once and keep
    before = live()
    step = used()
    assert len(live() - before) > 10
    step.close()
    assert not live() - before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CONFIGS)
def test_cuda_is_cpu(name: str) -> None:
    model = build(CONFIGS[name])
    want = whole(model, IDS)
    step = TorchStep(model.to("cuda"), 4)
    (found,) = step.run([Row(1, 0, IDS[:20], want=20)])
    np.testing.assert_allclose(found, want[:20], atol=1e-3)
    for i in range(20, 30):
        found, _ = step.run([Row(1, i, [IDS[i]], want=1), Row(2, i - 20, [IDS[i - 20]])])
        np.testing.assert_allclose(found[0], want[i], atol=1e-3)
