"""What a request must get, computed one id at a time without an engine; and a driver for cores."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from fake_step import logits_after

from tokenloom.engine.core import Core
from tokenloom.engine.request import Delta, Request, TokenLogprob, Usage, merge
from tokenloom.engine.sampling import RowState, choose, mix_guidance, token_logprobs


@dataclass
class Answer:
    ids: tuple[int, ...]
    finish: str
    stop_id: int | None = None
    logprobs: tuple[TokenLogprob, ...] = field(default=(), compare=False)


def plain(request: Request, index: int = 0, vocab: int = 24, context: int = 64, habit: float = 0.0) -> Answer:
    """Answer `index` of a request without beams or constraint, from whole sequences."""
    output: list[int] = []
    logprobs: list[TokenLogprob] = []
    limit = min(request.max_tokens, context - max(len(request.ids), len(request.negative)))
    while len(output) < limit:
        at = len(output)
        logits = logits_after([*request.ids, *output], vocab, request.adapter, habit)
        if request.negative:
            other = logits_after([*request.negative, *output], vocab, request.adapter, habit)
            logits = mix_guidance(logits, other, request.guidance)
        mask = np.ones(vocab, dtype=bool)
        if request.allowed is not None:
            mask[:] = False
            for start, stop in request.allowed:
                mask[start:stop] = True
        if at < request.min_tokens:
            mask[list(request.stop_ids)] = False
        state = RowState(
            sampling=request.sampling,
            seed=request.seed,
            choice=index,
            position=len(request.ids) + at,
            prompt=np.array(request.ids),
            output=output,
            mask=mask,
            columns=None,
            forced=request.forced[at] if at < len(request.forced) else -1,
            logprobs=request.logprobs,
        )
        if state.forced >= 0:
            state.mask = None
        chosen = choose([logits], [state])[0]
        if chosen.id in request.stop_ids:
            return Answer(tuple(output), "stop", chosen.id, tuple(logprobs))
        output.append(chosen.id)
        if chosen.logprob is not None:
            logprobs.append(chosen.logprob)
    return Answer(tuple(output), "length", None, tuple(logprobs))


def plain_scores(request: Request, vocab: int = 24, habit: float = 0.0) -> list[TokenLogprob | None]:
    """The prompt's own log-probabilities."""
    out: list[TokenLogprob | None] = [None]
    for i in range(1, len(request.ids)):
        logits = logits_after(request.ids[:i], vocab, request.adapter, habit)
        out += token_logprobs(logits[None], np.array(request.ids[i : i + 1]), request.prompt_logprobs or 0)
    return out


def close(a: TokenLogprob | None, b: TokenLogprob | None) -> bool:
    """Equal to the last digits a sum may differ in."""
    if a is None or b is None:
        return a is b
    same = a.id == b.id and [i for i, _ in a.top] == [i for i, _ in b.top]
    return same and np.allclose(
        [a.logprob, *(x for _, x in a.top)], [b.logprob, *(x for _, x in b.top)], atol=1e-5
    )


class Inbox:
    """Merges a core's deltas per choice and checks their order."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, int], Delta] = {}
        self.done: dict[tuple[str, int], Delta] = {}

    def take(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            key = (delta.request, delta.choice)
            assert key not in self.done, "news after the end"
            before = self.open.pop(key, None)
            whole = delta if before is None else merge(before, delta)
            (self.done if delta.finish else self.open)[key] = whole
            assert bool(delta.finish) == isinstance(delta.usage, Usage)

    def answer(self, request: str, choice: int = 0) -> Answer:
        d = self.done[request, choice]
        return Answer(d.ids, str(d.finish), d.stop_id, d.logprobs)


def drive(core: Core, *requests: Request, steps: int = 3000) -> Inbox:
    """Adds the requests and runs the core until it is idle."""
    inbox = Inbox()
    for request in requests:
        core.add(request)
    for _ in range(steps):
        if not core.busy:
            return inbox
        inbox.take(core.step())
    raise AssertionError("the core does not come to an end")
