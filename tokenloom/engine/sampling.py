"""Logits to ids: penalties, filters, keyed noise, log-probabilities. Pure functions over numpy arrays.

Not the decision when to stop (`engine.choice`) and not what a constraint allows (`engine.constraint`).

The filters keep what transformers' processors keep, in the order repetition, bias, presence and frequency,
mask, temperature, top-k, top-p, min-p, typical. Equal logits: top-k, min-p and typical keep or drop them
together, as transformers does; at top-p's border transformers leaves the order open, here the lower ids stay.
Greedy takes the lowest id of the best. Every filter keeps at least one id.

Only the ids still in play are carried from filter to filter, so sorting touches few of a large vocabulary.
"""

# Shapes: B rows, C columns of one row's logits (V, or fewer when sliced), T positions, K beams

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tokenloom.engine.request import Sampling, TokenLogprob

WORD = (1 << 64) - 1
BLOCK = 256
"""Columns that are summed before one of them is sought; a quarter of it where there are few."""
FEW = 8192
NOISES = 64
"""Positions whose noise is drawn at once."""
TOGETHER = 24 * 1024
"""Logits that are drawn from in one go at most: 96 KiB, below what the allocator fetches anew each time."""
ALLOWED = np.array([-np.inf, 0.0], dtype=np.float32)


@dataclass(slots=True)
class RowState:
    """What the choice of one row's next id depends on, besides its logits."""

    sampling: Sampling
    seed: int
    choice: int
    position: int
    """Absolute position of the id being chosen."""
    prompt: Sequence[int] | np.ndarray
    output: Sequence[int] | np.ndarray
    """Ids of the answer so far."""
    mask: np.ndarray | None = None
    """(V,) bool, True = allowed; at least one of the columns is."""
    columns: np.ndarray | None = None
    """The ids (C,) of the logits' columns, each once; None = column i is id i."""
    forced: int = -1
    """This id is chosen, whatever the logits are."""
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    id: int
    logprob: TokenLogprob | None = None


def choose(logits: Sequence[np.ndarray], rows: Sequence[RowState]) -> list[Chosen]:
    """The next id of each row. logits: per row (C,) float32, left as they are; no NaN, one finite or more."""
    chosen: dict[int, Chosen] = {}
    crowds: dict[tuple[Sampling, int, int], list[int]] = {}
    for at, (values, row) in enumerate(zip(logits, rows, strict=True)):
        if _is_plain(row):
            crowds.setdefault((row.sampling, id(row.columns), values.size), []).append(at)
        else:
            chosen[at] = _choose(values, row)
    for (_, _, size), crowd in crowds.items():
        most = max(1, TOGETHER // size)
        for some in (crowd[i : i + most] for i in range(0, len(crowd), most)):
            if len(some) == 1:
                chosen[some[0]] = _choose(logits[some[0]], rows[some[0]])
            else:
                chosen.update(_choose_together(some, logits, rows))
    return [chosen[at] for at in range(len(rows))]


def _is_plain(row: RowState) -> bool:
    """Nothing but its temperature, above 0, comes between the logits and the draw."""
    asked = row.sampling
    penalised = asked.repetition_penalty != 1.0 or asked.logit_bias or _counts_output(asked)
    filtered = asked.top_k > 0 or asked.top_p < 1.0 or asked.min_p > 0.0 or asked.typical_p < 1.0
    special = row.forced >= 0 or row.mask is not None or row.logprobs is not None
    return asked.temperature > 0 and not (penalised or filtered or special)


def _choose_together(
    crowd: Sequence[int], logits: Sequence[np.ndarray], rows: Sequence[RowState]
) -> dict[int, Chosen]:
    """`_choose` of plain rows that share columns and sampling: the same ids, in fewer calls."""
    asked = rows[crowd[0]].sampling
    ids, scores = _ascending(rows[crowd[0]].columns, np.stack([logits[at] for at in crowd]))
    scaled = _scaled(scores, asked.temperature)
    best = scaled.max(axis=1, keepdims=True)
    if not np.isfinite(best).all():
        return {at: _choose(logits[at], rows[at]) for at in crowd}
    with np.errstate(over="ignore"):
        weights = np.exp(scaled - best)
    places = _draw(weights, np.array([_noise_of(rows[at]) for at in crowd]))
    drawn = places if ids is None else ids[places]
    return {at: Chosen(id) for at, id in zip(crowd, drawn.tolist(), strict=True)}


def _choose(logits: np.ndarray, row: RowState) -> Chosen:
    ids, logits = _ascending(row.columns, logits)
    if row.forced >= 0:
        return Chosen(row.forced, _logprob(logits, ids, row.forced, row.logprobs))
    scores = penalise(logits, row, ids)
    if row.sampling.temperature == 0:
        at = int(scores.argmax())
    else:
        kept, weights = distribution(scores, row.sampling)
        drawn = int(_draw(weights[None], np.array([_noise_of(row)]))[0])
        at = drawn if kept is None else int(kept[drawn])
    id = at if ids is None else int(ids[at])
    return Chosen(id, _logprob(logits, ids, id, row.logprobs))


def _ascending(ids: np.ndarray | None, logits: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The ids (C,) of columns in ascending order, and the logits (.., C) in theirs."""
    if ids is None or (ids[1:] > ids[:-1]).all():
        return ids, logits
    order = np.argsort(ids)
    return ids[order], logits[..., order]


def _scaled(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores over a temperature above 0; they are infinite where it is too small for float32."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return scores if temperature == 1.0 else np.asarray(scores / np.float32(temperature))


# Penalties


def penalise(logits: np.ndarray, row: RowState, ids: np.ndarray | None = None) -> np.ndarray:
    """Repetition penalty, bias, presence and frequency penalties, then the mask: (C,) float32.

    ids: of the columns, ascending; None = column i is id i. Answers `logits` itself where nothing changes.
    """
    asked = row.sampling
    if asked.repetition_penalty != 1.0 or asked.logit_bias or _counts_output(asked):
        logits = logits.astype(np.float32)
    if asked.repetition_penalty != 1.0:
        seen = np.concatenate((_array(row.prompt), _array(row.output)))
        at, _ = _columns(seen, ids, logits.size)
        factor, values = np.float32(asked.repetition_penalty), logits[at]
        logits[at] = np.where(values < 0, values * factor, values / factor)
    if asked.logit_bias:
        biased = np.array([i for i, _ in asked.logit_bias], dtype=np.int64)
        at, found = _columns(biased, ids, logits.size)
        amounts = np.array([bias for _, bias in asked.logit_bias], dtype=np.float32)
        np.add.at(logits, at, amounts[found])
    if _counts_output(asked) and len(row.output):
        values, counts = np.unique(_array(row.output), return_counts=True)
        at, found = _columns(values, ids, logits.size)
        logits[at] -= (asked.presence_penalty + asked.frequency_penalty * counts[found]).astype(np.float32)
    if row.mask is not None:
        allowed = row.mask[: logits.size] if ids is None else row.mask[ids]
        logits = logits + ALLOWED[allowed.view(np.uint8)]  # several times as fast as np.where
    return logits


def _counts_output(asked: Sampling) -> bool:
    return asked.presence_penalty != 0.0 or asked.frequency_penalty != 0.0


def _array(ids: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.asarray(ids, dtype=np.int64)


def _columns(wanted: np.ndarray, ids: np.ndarray | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the wanted ids that have one, and which of the wanted those are (bool)."""
    if ids is None:
        found = (wanted >= 0) & (wanted < size)
        return wanted[found], found
    at = np.minimum(np.searchsorted(ids, wanted), size - 1)
    found = ids[at] == wanted
    return at[found], found


# Filters


def distribution(scores: np.ndarray, asked: Sampling) -> tuple[np.ndarray | None, np.ndarray]:
    """What temperature and filters leave of penalised scores (C,), temperature above 0.

    Answers the columns that stay, ascending (None = all), and their weights, float32, the best one's is 1.
    """
    kept: np.ndarray | None = None
    scaled = _scaled(scores, asked.temperature)
    best = scaled.max()
    if not np.isfinite(best):
        # The temperature is too small for float32: what remains is the best and its equals.
        kept = np.flatnonzero(scores == scores.max())
        return kept, np.ones(kept.size, dtype=np.float32)
    if 0 < asked.top_k < scaled.size:
        least = np.partition(scaled, -asked.top_k)[-asked.top_k]
        kept = np.flatnonzero((scaled >= least) & (scaled > -np.inf))
        scaled = scaled[kept]
    with np.errstate(over="ignore"):  # far below the best: no weight
        weights = np.exp(scaled - best)
    if asked.top_p < 1.0:
        kept, weights = _narrow(kept, weights, _nucleus(weights, asked.top_p))
    if asked.min_p > 0.0:
        kept, weights = _narrow(kept, weights, np.flatnonzero(weights >= np.float32(asked.min_p)))
    if asked.typical_p < 1.0:
        kept, weights = _narrow(kept, weights, _typical(weights, asked.typical_p))
    return kept, weights


def _narrow(kept: np.ndarray | None, weights: np.ndarray, stay: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (stay if kept is None else kept[stay]), weights[stay]


def _nucleus(weights: np.ndarray, top_p: float) -> np.ndarray:
    """Places (ascending) of the fewest best weights whose mass reaches top_p; the best has weight 1.

    The rest together holds at most 1 - top_p. Only weights above a falling threshold are sorted: once those
    hold top_p, the border lies among them.
    """
    total = float(weights.sum(dtype=np.float64))
    for threshold in (1e-1, 1e-2, 1e-3, 1e-5):
        places = np.flatnonzero(weights > np.float32(threshold))
        head = weights[places]
        mass = float(head.sum(dtype=np.float64))
        if mass > total * top_p:
            break
    else:
        places, head, mass = np.arange(weights.size), weights, total
    rising = np.sort(head)
    below = np.cumsum(rising, dtype=np.float64) + (total - mass)
    first = min(int(np.searchsorted(below, (1.0 - top_p) * total, side="right")), head.size - 1)
    border = rising[first]
    equals = int(np.searchsorted(rising, border, side="right")) - first
    dropped = np.flatnonzero(head == border)[equals:]
    stay = head >= border
    stay[dropped] = False
    return places[stay]


def _typical(weights: np.ndarray, mass: float) -> np.ndarray:
    """Places (ascending) whose surprise is nearest to the entropy, until they hold the mass."""
    with np.errstate(divide="ignore"):
        logs = np.log(weights) - np.float32(np.log(weights.sum(dtype=np.float64)))
    chances = np.exp(logs)
    positive = chances > 0
    entropy = -float((logs[positive] * chances[positive]).sum(dtype=np.float64))
    away = np.abs(-logs - np.float32(entropy))
    for distance in (0.25, 0.5, 1.0, 2.0, 4.0):
        near = np.flatnonzero(away <= np.float32(distance))
        if float(chances[near].sum(dtype=np.float64)) > mass:
            break
    else:
        near = np.arange(away.size)
    order = near[np.argsort(away[near])]
    last = int((np.cumsum(chances[order], dtype=np.float64) < mass).sum())
    return np.flatnonzero(away <= away[order[min(last, order.size - 1)]])


def _draw(weights: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The place in each row where the cumulated weights (B, C) pass u (B,) of their sum: first the block of
    columns, then in it. Sums are float64."""
    n, size = weights.shape
    block = BLOCK if size > FEW else BLOCK // 4
    if size % block:  # what is added weighs nothing
        whole = np.zeros((n, size + -size % block), weights.dtype)
        whole[:, :size] = weights
        weights = whole
    blocks = weights.reshape(n, -1, block)
    sums = np.cumsum(blocks.sum(axis=2, dtype=np.float64), axis=1)
    target = u * sums[:, -1]
    at, rows = _passes(sums, target), np.arange(n)
    target -= np.where(at, sums[rows, at - 1], 0.0)
    return at * block + _passes(np.cumsum(blocks[rows, at], axis=1, dtype=np.float64), target)


def _passes(rising: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The first place in each row (B, N) that is above the target (B,). u just below 1 may round up to the
    sum: then the last place that has weight."""
    last = np.nextafter(rising[:, -1], 0.0)
    return (rising <= np.minimum(target, last)[:, None]).sum(axis=1)


def _noise_of(row: RowState) -> float:
    return noise(row.seed, row.choice, row.position)


def noise(seed: int, choice: int, position: int) -> float:
    """A uniform number in [0, 1) that depends on these three alone (seed modulo 2^64).

    Source: Philox4x64-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    return _noises(seed & WORD, choice, position // NOISES)[position % NOISES]


@lru_cache(maxsize=1024)
def _noises(seed: int, choice: int, block: int) -> tuple[float, ...]:
    """Those of NOISES successive positions: the generator counts, and gives four numbers for each count."""
    generator = np.random.Philox(key=seed | (choice << 64), counter=block * NOISES)
    return tuple(((generator.random_raw(4 * NOISES)[::4] >> np.uint64(11)) * 2.0**-53).tolist())


# Log-probabilities of the raw distribution


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(.., C) float32 to float32, the sum taken in float64."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float64)).astype(np.float32)


def token_logprobs(logits: np.ndarray, ids: Sequence[int] | np.ndarray, k: int) -> list[TokenLogprob]:
    """Of each position's logits (T, V): log-probability of ids[t], and the k best, equals by lowest id."""
    return [_token_logprob(row, None, int(id), k) for row, id in zip(logits, ids, strict=True)]


def _logprob(logits: np.ndarray, ids: np.ndarray | None, id: int, k: int | None) -> TokenLogprob | None:
    return None if k is None else _token_logprob(logits, ids, id, k)


def _token_logprob(logits: np.ndarray, ids: np.ndarray | None, id: int, k: int) -> TokenLogprob:
    """ids: of the columns, ascending; an id that has none is impossible: its log-probability is -inf."""
    best = logits.max()
    norm = float(best) + float(np.log(np.exp(logits - best).sum(dtype=np.float64)))
    at, _ = _columns(np.array([id]), ids, logits.size)
    own = float(logits[at[0]]) - norm if at.size else -np.inf
    if k <= 0:
        return TokenLogprob(id, own)
    places = _best(logits, min(k, logits.size))
    names = places if ids is None else ids[places]
    top = tuple((int(i), float(logits[at]) - norm) for i, at in zip(names, places, strict=True))
    return TokenLogprob(id, own, top)


def _best(values: np.ndarray, k: int) -> np.ndarray:
    """Places of the k best of (C,), best first, equals by lowest place."""
    if k < values.size:
        places = np.flatnonzero(values >= np.partition(values, -k)[-k])
    else:
        places = np.arange(values.size)
    return places[np.argsort(-values[places], kind="stable")][:k]


# Beams and guidance


def mix_guidance(cond: np.ndarray, uncond: np.ndarray, guidance: float) -> np.ndarray:
    """Classifier-free guidance of language models on log-softmax; (C,) each. 1 leaves `cond` as it is.

    Source: Sanchez et al. 2023, arXiv:2306.17806, equation 7.
    """
    if guidance == 1.0:
        return cond
    own, other = log_softmax(cond), log_softmax(uncond)
    with np.errstate(invalid="ignore"):
        mixed = other + np.float32(guidance) * (own - other)
    # Impossible with the prompt stays impossible; impossible only without it says nothing of how much more.
    return np.where(np.isfinite(own) & np.isfinite(other), mixed, own)


def beam_candidates(
    logprobs: np.ndarray, scores: np.ndarray, k2: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k2 best continuations of K beams: summed scores, beam and id, each (k2,), best first.

    logprobs (K, V) of the next id; scores (K,) of the beams so far. Equals go by lowest beam, then id.
    """
    totals = (np.asarray(scores)[:, None] + logprobs).reshape(-1)
    places = _best(totals, min(k2, totals.size))
    return totals[places], places // logprobs.shape[1], places % logprobs.shape[1]
