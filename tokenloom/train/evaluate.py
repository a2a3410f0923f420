"""What a run measures of itself: held-out loss and bits per byte, and sample texts.

Not the evaluations of finished models (`tokenloom.evals`): these are quick and use the weights being trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from tokenloom.data.pack import Rows, in_order, pieces_of, sequential
from tokenloom.data.shards import Shards
from tokenloom.engine.core import Core
from tokenloom.engine.request import Request, Sampling
from tokenloom.model.step import TorchStep
from tokenloom.model.transformer import Transformer
from tokenloom.tokens.text import Tokenizer
from tokenloom.train.objective import Objective

Told = Callable[[int, int], None]
"""Hears how many rows are done, and of how many."""


@torch.no_grad()
def held_out(
    objective: Objective,
    player: str,
    sets: Sequence[Shards],
    context: int,
    rows: int,
    most_tokens: int,
    names: Sequence[str] = (),
    told: Told | None = None,
) -> dict[str, float]:
    """Mean loss in nats over held-out documents, and bits per byte of their text where it is known.

    The same documents each time: the first of each set, up to about `most_tokens` ids in all (0 = all of
    them). A document's first id has no loss, as nothing is before it; in bits per byte it counts like the
    mean of the others, so that short documents look no better than they are. names: of the sets, which then
    are told one by one as well.
    """
    module = objective.players[player]
    module.eval()
    total, count, n_ids, n_bytes = 0.0, 0, 0, 0
    done, of = 0, 0 if told is None else n_rows(sets, context, rows, most_tokens)
    figures = {"held_out_loss": 0.0}
    for i, shards in enumerate(sets):
        own, before = total, count
        documents = _first(shards, _share(most_tokens, sets))
        n_bytes += int(shards.bytes[documents].sum())
        n_ids += int(shards.lengths[documents].sum())
        for batch in batches(shards, context, rows, documents):
            loss, n, _ = objective.loss(player, batch)
            total, count, done = total + float(loss), count + n, done + len(batch.ids)
            if told is not None:
                told(done, of)
        if names:
            figures[f"held_out_loss_{names[i]}"] = (total - own) / max(1, count - before)
    module.train()
    figures["held_out_loss"] = total / max(1, count)
    if n_bytes and not any(shards.masked for shards in sets):
        figures["bits_per_byte"] = figures["held_out_loss"] * n_ids / math.log(2) / n_bytes
    return figures


def n_rows(sets: Sequence[Shards], context: int, rows: int, most_tokens: int) -> int:
    """How many rows `held_out` computes, those included that only fill the last batch of a set."""
    shapes = [_shape(s, context, rows, _first(s, _share(most_tokens, sets))) for s in sets]
    return sum(passes * each for passes, each in shapes)


def _share(most: int, sets: Sequence[Shards]) -> int:
    """Ids of each set; 0 = all."""
    return max(1, most // len(sets)) if most else 0


def _first(shards: Shards, most: int) -> np.ndarray:
    ends = np.cumsum(shards.lengths)
    n = len(ends) if not most else max(1, int(np.searchsorted(ends, most, side="right")))
    return np.arange(min(n, len(ends)))


def _shape(shards: Shards, context: int, rows: int, documents: np.ndarray | None) -> tuple[int, int]:
    """(batches, rows of each): as few batches as `rows` allows, none much emptier than the others."""
    n = in_order(pieces_of(shards, context, documents).lengths, context)[2]
    passes = -(-n // rows)
    return passes, -(-n // passes) if passes else 0


def batches(shards: Shards, context: int, rows: int, documents: np.ndarray | None = None) -> Iterator[Rows]:
    """Documents (None = all) once, in order, `rows` rows at most in a batch.

    All of one shape, so that a compiled model is compiled once: the last one is filled with empty rows.
    """
    _, rows = _shape(shards, context, rows, documents)
    if not rows:
        return
    for batch in sequential(shards, context, rows, documents):
        lacking = rows - len(batch.ids)
        if lacking:
            pad = ((0, lacking), (0, 0))
            batch = Rows(
                np.pad(batch.ids, pad),
                np.pad(batch.targets, pad, constant_values=-100),
                np.pad(batch.documents, pad),
            )
        yield batch


@torch.no_grad()
def sample_texts(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[str], n: int, seed: int
) -> list[Mapping[str, str]]:
    """One continuation of each prompt, n ids at most, temperature 0.8, by the engine that serves.

    Control tokens in a prompt are what they say, as recipes write them.
    """
    context = min(model.config.context, max(len(tokenizer.encode_control(p)) for p in prompts) + n)
    core = Core(TorchStep(model.eval(), min(8, len(prompts)), context, pack=False))
    answers: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        ids = tuple(tokenizer.encode_control(prompt))[-(context - 1) :] or (tokenizer.eos_ids[0],)
        answers[str(i)] = []
        core.add(
            Request(
                id=str(i),
                model="",
                ids=ids,
                max_tokens=min(n, context - len(ids)),
                sampling=Sampling(temperature=0.8, top_p=0.95),
                seed=seed + i,
                stop_ids=tuple(tokenizer.eos_ids),
            )
        )
    while core.busy:
        for delta in core.step():
            answers[delta.request] += delta.ids
    model.train()
    return [{"prompt": p, "text": tokenizer.decode(answers[str(i)])} for i, p in enumerate(prompts)]
