"""The sampler: filters equal transformers', noise is keyed, frequencies follow the probabilities."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation import logits_process as judge

from tokenloom.engine.request import Sampling
from tokenloom.engine.sampling import (
    RowState,
    beam_candidates,
    choose,
    distribution,
    log_softmax,
    mix_guidance,
    noise,
    penalise,
    token_logprobs,
)

GREEDY = Sampling(temperature=0.0)


def row(sampling: Sampling = GREEDY, **more: object) -> RowState:
    fields = {"seed": 1, "choice": 0, "position": 3, "prompt": np.array([0]), "output": []} | more
    return RowState(sampling, **fields)  # type: ignore[arg-type]


def some_logits(seed: int, size: int, scale: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(size) * scale).astype(np.float32)


def theirs(logits: np.ndarray, sampling: Sampling, seen: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """transformers' processors and warpers over one row, in its order: what stays (C,), its chances (C,)."""
    chain: list[judge.LogitsProcessor] = []
    if sampling.repetition_penalty != 1.0:
        chain.append(judge.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.logit_bias:
        chain.append(judge.SequenceBiasLogitsProcessor([[[i], bias] for i, bias in sampling.logit_bias]))
    if sampling.temperature != 1.0:
        chain.append(judge.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        chain.append(judge.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        chain.append(judge.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0.0:
        chain.append(judge.MinPLogitsWarper(sampling.min_p))
    if sampling.typical_p < 1.0:
        chain.append(judge.TypicalLogitsWarper(sampling.typical_p))
    scores = torch.from_numpy(logits.copy())[None]
    for one in chain:
        scores = one(torch.tensor([seen]), scores)
    return scores[0].isfinite().numpy(), scores[0].softmax(-1).numpy()


def ours(
    logits: np.ndarray, sampling: Sampling, seen: list[int], mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    scores = penalise(logits, row(sampling, prompt=np.array(seen[:2]), output=seen[2:], mask=mask))
    kept, weights = distribution(scores, sampling)
    place = np.isfinite(scores) if kept is None else kept
    stays, chances = np.zeros(logits.size, dtype=bool), np.zeros(logits.size)
    stays[place] = True
    chances[slice(None) if kept is None else kept] = weights / weights.sum(dtype=np.float64)
    return stays, chances


FILTERS = {
    "temperature": {"temperature": 0.7},
    "hot": {"temperature": 2.5},
    "top_k": {"top_k": 7},
    "top_k of all": {"top_k": 100_000},
    "top_p": {"top_p": 0.9},
    "tiny top_p": {"top_p": 0.001},
    "min_p": {"min_p": 0.05},
    "typical": {"typical_p": 0.6},
    "repetition": {"repetition_penalty": 1.7},
    "reward": {"repetition_penalty": 0.6},
    "bias": {"logit_bias": ((3, 4.5), (5, -100.0))},
    "chain": {
        "temperature": 0.8,
        "top_k": 60,
        "top_p": 0.95,
        "min_p": 0.01,
        "typical_p": 0.9,
        "repetition_penalty": 1.2,
        "logit_bias": ((1, 1.0),),
    },
}


@pytest.mark.parametrize("asked", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize(("size", "scale"), [(12, 2.0), (1000, 1.0), (1000, 4.0), (49152, 2.5)])
def test_filters_equal_transformers(asked: dict, size: int, scale: float) -> None:
    sampling = Sampling(**asked)
    for seed in range(30 if size < 10_000 else 2):
        logits, seen = some_logits(seed, size, scale), [seed % size, 3, 5, 5, 9]
        before = logits.copy()
        have, want = ours(logits, sampling, seen), theirs(logits, sampling, seen)
        np.testing.assert_array_equal(logits, before)
        np.testing.assert_array_equal(have[0], want[0])
        np.testing.assert_allclose(have[1], want[1], rtol=3e-5, atol=1e-9)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(1, 8))
def test_equal_logits_at_the_border_of_top_k_all_stay(values: list[int], k: int) -> None:
    logits, sampling = np.array(values, dtype=np.float32), Sampling(top_k=k)
    np.testing.assert_array_equal(ours(logits, sampling, [0])[0], theirs(logits, sampling, [0])[0])


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=30), st.sampled_from([0.3, 0.55, 0.9]))
def test_equal_logits_at_the_border_of_top_p_lower_ids_stay(values: list[int], p: float) -> None:
    logits, sampling = np.array(values, dtype=np.float32), Sampling(top_p=p)
    have, want = ours(logits, sampling, [0])[0], theirs(logits, sampling, [0])[0]
    for value in set(values):
        same = logits == value
        assert have[same].sum() == want[same].sum()
        assert (np.diff(have[same].astype(int)) <= 0).all()


def test_masked_ids_count_for_no_filter() -> None:
    """As -inf logits do in transformers (MinNewTokens, suppressed and constrained ids)."""
    logits, mask = some_logits(4, 200), np.arange(200) % 3 == 0
    for asked in ({"top_k": 90}, {"top_p": 0.9}, {"min_p": 0.1}, {"typical_p": 0.7}, {"temperature": 1.5}):
        sampling = Sampling(**asked)
        have = ours(logits, sampling, [0], mask)
        want = theirs(np.where(mask, logits, -np.inf).astype(np.float32), sampling, [0])
        np.testing.assert_array_equal(have[0], want[0])
        np.testing.assert_allclose(have[1], want[1], rtol=3e-5, atol=1e-9)


def test_presence_and_frequency_count_the_output_alone() -> None:
    logits = np.zeros(6, dtype=np.float32)
    asked = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    have = penalise(logits, row(asked, prompt=np.array([0, 1]), output=[1, 2, 2, 4]))
    np.testing.assert_allclose(have, [0, -0.75, -1.0, 0, -0.75, 0])


def test_every_filter_works_on_sliced_columns_as_on_the_masked_vocabulary() -> None:
    logits, ranges = some_logits(5, 500), np.concatenate([np.arange(300, 340), np.arange(10, 50)])
    mask = np.zeros(500, dtype=bool)
    mask[ranges] = True
    for asked in FILTERS.values():
        for position in range(20):
            state = row(Sampling(**asked), prompt=np.array([12, 3]), output=[310, 499], position=position)
            sliced = dataclasses.replace(state, columns=ranges)
            masked = dataclasses.replace(state, mask=mask)
            assert choose([logits[ranges]], [sliced]) == choose([logits], [masked])


def test_greedy_takes_the_lowest_of_the_best_and_needs_no_noise() -> None:
    logits = np.array([1, 7, 7, 0], dtype=np.float32)
    assert choose([logits] * 2, [row(seed=1), row(seed=2)])[0].id == 1
    assert choose([logits[::-1]], [row(columns=np.array([9, 8, 5, 2]))])[0].id == 5
    assert choose([logits], [row(mask=np.array([True, False, False, True]))])[0].id == 0


def test_a_vanishing_temperature_is_greedy() -> None:
    logits = np.array([900.0, 1000.0, -1000.0], dtype=np.float32)
    for temperature in (1e-3, 1e-20, 1e-45):
        assert choose([logits], [row(Sampling(temperature=temperature))])[0].id == 1


def test_forced_ids_keep_their_own_log_probability() -> None:
    logits = some_logits(1, 40)
    chosen = choose([logits], [row(Sampling(top_k=1), forced=17, logprobs=0)])[0]
    assert chosen.id == 17
    assert chosen.logprob is not None
    assert chosen.logprob.logprob == pytest.approx(float(log_softmax(logits)[17]), abs=1e-5)


def test_log_probabilities_are_raw_and_best_first() -> None:
    logits = some_logits(2, 300)
    want = torch.from_numpy(logits).log_softmax(-1)
    state = row(Sampling(temperature=0.2, top_k=1, logit_bias=((4, 50.0),)), logprobs=5)
    chosen = choose([logits], [state])[0]
    assert chosen.id == 4
    assert chosen.logprob is not None
    assert chosen.logprob.logprob == pytest.approx(float(want[4]), abs=1e-5)
    best = want.topk(5)
    assert [i for i, _ in chosen.logprob.top] == best.indices.tolist()
    np.testing.assert_allclose([p for _, p in chosen.logprob.top], best.values, atol=1e-5)
    several = token_logprobs(np.stack([logits, logits]), [4, 9], 400)
    assert several[0].logprob == chosen.logprob.logprob
    assert len(several[1].top) == 300
    ties = token_logprobs(np.zeros((1, 9), dtype=np.float32), [3], 4)[0]
    assert [i for i, _ in ties.top] == [0, 1, 2, 3]


def test_noise_is_philox_keyed_by_seed_choice_and_position() -> None:
    places = list(itertools.product((0, 1, -1, 2**63), (0, 1, 2), (0, 1, 500)))
    drawn = [noise(*place) for place in places]
    assert len(set(drawn)) == len(places)
    assert all(0.0 <= u < 1.0 for u in drawn)
    assert drawn == [noise(*place) for place in places]
    # These numbers are part of every record of a work: they do not change.
    assert [noise(0, 0, 0), noise(7, 1, 12)] == [0.011546754286331562, 0.6501018746768521]


def test_rows_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(3)
    states = [
        row(Sampling(**asked), seed=i, prompt=rng.integers(0, 50, 4), output=list(rng.integers(0, 50, 3)))
        for i, asked in enumerate(FILTERS.values())
    ]
    logits = [some_logits(i, 50) for i in range(len(states))]
    alone = [choose([one], [state])[0] for one, state in zip(logits, states, strict=True)]
    assert choose(logits, states) == alone
    assert choose(logits[::-1], states[::-1]) == alone[::-1]


@given(
    size=st.sampled_from([1, 5, 255, 256, 257, 1000]),
    temperature=st.sampled_from([1.0, 0.8, 3.0, 1e-39]),
    cut=st.booleans(),
    seeds=st.lists(st.integers(-(2**63), 2**63), min_size=2, max_size=9),
    first=st.integers(0, 500),
)
def test_rows_that_are_drawn_together_get_the_ids_of_each_alone(
    size: int, temperature: float, cut: bool, seeds: list[int], first: int
) -> None:
    columns = np.random.default_rng(size).permutation(3 * size)[:size] if cut else None
    asked = Sampling(temperature=temperature)
    states = [
        row(asked, seed=s, choice=i % 3, position=first + i, columns=columns) for i, s in enumerate(seeds)
    ]
    states.append(row(asked, columns=columns, logprobs=1))
    logits = [some_logits(i, size) for i in range(len(states))]
    logits[0][: size // 2] = -np.inf
    alone = [choose([one], [state])[0] for one, state in zip(logits, states, strict=True)]
    assert choose(logits, states) == alone


def test_the_noise_of_a_position_is_the_same_whichever_is_asked_for_first() -> None:
    ahead = {at: noise(99, 1, at) for at in (200, 63, 64, 0, 127, 128)}
    own = {
        at: (int(np.random.Philox(key=99 | (1 << 64), counter=at).random_raw()) >> 11) * 2.0**-53
        for at in ahead
    }
    assert ahead == own


@pytest.mark.parametrize("size", [5, 700])
def test_frequencies_follow_the_probabilities(size: int) -> None:
    """Pearson's chi-square over 20,000 draws; the bound is about five standard deviations."""
    logits, draws = some_logits(8, size, 1.0), 20_000
    want = torch.from_numpy(logits / np.float32(0.9)).softmax(-1).numpy() * draws
    states = [row(Sampling(temperature=0.9), seed=i % 7, position=i) for i in range(draws)]
    ids = [chosen.id for chosen in choose([logits] * draws, states)]
    have = np.bincount(ids, minlength=size)
    square = float(((have - want) ** 2 / want).sum())
    assert square < (size - 1) + 5 * np.sqrt(2 * (size - 1))


def test_the_draw_is_the_inverse_cumulative_distribution_in_id_order() -> None:
    logits = some_logits(9, 3000, 1.0)
    cumulated = np.cumsum(np.exp(logits.astype(np.float64)))
    for position in range(300):
        u = noise(1, 0, position)
        want = int(np.searchsorted(cumulated / cumulated[-1], u, side="right"))
        assert choose([logits], [row(Sampling(), position=position)])[0].id == want


def test_guidance_equals_transformers_and_one_is_off() -> None:
    cond, uncond = some_logits(1, 60), some_logits(2, 60)
    assert mix_guidance(cond, uncond, 1.0) is cond
    own, other = (torch.from_numpy(x).log_softmax(-1) for x in (cond, uncond))
    for guidance in (0.0, 0.5, 3.0, -1.0):
        want = (guidance * (own - other) + other).numpy()
        np.testing.assert_allclose(mix_guidance(cond, uncond, guidance), want, atol=1e-4)
    cond[3] = uncond[4] = cond[5] = uncond[5] = -np.inf
    mixed = mix_guidance(cond, uncond, 3.0)
    assert not np.isnan(mixed).any()
    assert mixed[3] == mixed[5] == -np.inf
    assert np.isfinite(mixed[4])


def test_beam_candidates_are_the_best_sums() -> None:
    logprobs, scores = log_softmax(some_logits(1, 200).reshape(4, 50)), np.array([-1.0, -2.0, -1.5, -9.0])
    totals, beams, ids = beam_candidates(logprobs, scores, 8)
    want = torch.topk(torch.from_numpy(logprobs + scores[:, None]).reshape(-1), 8)
    np.testing.assert_allclose(totals, want.values)
    assert (beams * 50 + ids).tolist() == want.indices.tolist()
    _, beams, ids = beam_candidates(np.zeros((2, 3)), np.zeros(2), 4)
    assert list(zip(beams, ids, strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 0)]
