"""What a request may ask for: every refusal at the engine's door, with the field, what was found, what is
allowed.

Not the room it needs (`engine.scheduler`) and not what a constraint says (`engine.constraint`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tokenloom.engine.request import Request, Sampling


class BadRequest(ValueError):
    """The message starts with the field."""


def room(request: Request, context: int) -> int:
    """New ids the request can get at most: what it asked for, or what the context leaves."""
    return min(request.max_tokens, context - max(len(request.ids), len(request.negative)))


def check(request: Request, *, vocab_size: int, context: int) -> None:
    """Raises BadRequest if the model cannot do this."""
    _counts(request)
    for name, ids in (("ids", request.ids), ("negative", request.negative), ("stop_ids", request.stop_ids)):
        _ids(name, ids, vocab_size, 0)
    _ids("forced", request.forced, vocab_size, -1)
    _ids("sampling.logit_bias", [i for i, _ in request.sampling.logit_bias], vocab_size, 0)
    if not request.ids:
        raise BadRequest("ids is empty; the prompt needs at least one id")
    for name, ids in (("ids", request.ids), ("negative", request.negative)):
        if len(ids) + min(request.max_tokens, 1) > context:
            left = ", one of them for the answer" if request.max_tokens else ""
            raise BadRequest(f"{name} has {len(ids)} ids; the model's context holds {context}{left}")
    if (request.guidance != 1.0) != bool(request.negative):
        raise BadRequest(
            f"guidance is {request.guidance} and negative has {len(request.negative)} ids; guidance other "
            "than 1 needs a negative prompt, and a negative prompt has no effect without it"
        )
    _allowed(request, vocab_size)
    sampling(request.sampling)
    if request.beams > 1:
        _beams(request)


def sampling(asked: Sampling) -> None:
    """Raises BadRequest for a number outside its range."""
    for name, value, low, high, open_low in (
        ("temperature", asked.temperature, 0.0, math.inf, False),
        ("top_k", asked.top_k, 0, math.inf, False),
        ("top_p", asked.top_p, 0.0, 1.0, True),
        ("min_p", asked.min_p, 0.0, 1.0, False),
        ("typical_p", asked.typical_p, 0.0, 1.0, True),
        ("repetition_penalty", asked.repetition_penalty, 0.0, math.inf, True),
        ("presence_penalty", asked.presence_penalty, -math.inf, math.inf, False),
        ("frequency_penalty", asked.frequency_penalty, -math.inf, math.inf, False),
        *((f"logit_bias of id {i}", bias, -math.inf, math.inf, False) for i, bias in asked.logit_bias),
    ):
        if not (math.isfinite(value) and (low < value if open_low else low <= value) and value <= high):
            least = f"more than {low:g}" if open_low else f"at least {low:g}"
            most = "" if high == math.inf else f" and at most {high:g}"
            allowed = "a finite number" if low == -math.inf else least + most
            raise BadRequest(f"sampling.{name} is {value}; it must be {allowed}")


def _counts(request: Request) -> None:
    for name, value, least in (
        ("max_tokens", request.max_tokens, 0),
        ("n", request.n, 1),
        ("min_tokens", request.min_tokens, 0),
        ("beams", request.beams, 1),
        ("logprobs", request.logprobs, 0),
        ("prompt_logprobs", request.prompt_logprobs, 0),
    ):
        if value is not None and value < least:
            raise BadRequest(f"{name} is {value}; it must be at least {least}")
    if request.min_tokens > request.max_tokens:
        raise BadRequest(f"min_tokens is {request.min_tokens}, more than max_tokens {request.max_tokens}")
    if len(request.forced) > request.max_tokens:
        raise BadRequest(f"forced has {len(request.forced)} ids, more than max_tokens {request.max_tokens}")
    for name, number in (("guidance", request.guidance), ("length_penalty", request.length_penalty)):
        if not math.isfinite(number):
            raise BadRequest(f"{name} is {number}; it must be a finite number")


def _ids(name: str, ids: Sequence[int], vocab_size: int, least: int) -> None:
    if ids and (min(ids) < least or max(ids) >= vocab_size):
        wrong = next(i for i in ids if not least <= i < vocab_size)
        raise BadRequest(f"{name} contains {wrong}; the vocabulary's ids are {least} to {vocab_size - 1}")


def _allowed(request: Request, vocab_size: int) -> None:
    if request.allowed is None:
        return
    if not request.allowed:
        raise BadRequest("allowed is empty; give at least one range, or none at all for every id")
    end = 0
    for start, stop in sorted(request.allowed):
        if not 0 <= start < stop <= vocab_size:
            raise BadRequest(
                f"allowed contains ({start}, {stop}); ranges lie within 0 and {vocab_size}, not empty"
            )
        if start < end:
            raise BadRequest(f"allowed contains ({start}, {stop}), which overlaps another range")
        end = stop


def _beams(request: Request) -> None:
    if request.n > request.beams:
        raise BadRequest(
            f"n is {request.n}, more than beams {request.beams}; beam search returns at most one each"
        )
    if request.max_tokens == 0:
        raise BadRequest("beams is set and max_tokens is 0; there is nothing to search")
    unused = {
        "guidance": request.guidance != 1.0,
        "constraint": request.constraint is not None,
        "forced": bool(request.forced),
        "prompt_logprobs": request.prompt_logprobs is not None,
        "sampling": request.sampling not in (Sampling(), Sampling(temperature=0.0)),
    }
    for name, asked in unused.items():
        if asked:
            raise BadRequest(f"{name} has no effect in beam search; leave it out or set beams to 1")
