"""Conversations -> ids with a mask of what is learned, through the one template object that serves.

Not the reading of conversations (data.conversations) and not their packing. The ids are those of
`tokens.chat.encode_chat`, so control tokens written in a message stay text. Learned are the assistant's
tokens with the token that ends its turn; never the prompt, and never the header that asks for an answer. On a
template with {% generation %} marks the mask is that of transformers' apply_chat_template(...,
return_assistant_tokens_mask=True).
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from tokenloom.data.conversations import Conversation, Dropped
from tokenloom.tokens.chat import encode_chat, shaped
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.tools import tool_format, tool_prompt
from tokenloom.train.spans import Chat, RowRefused, Span, grown_span, marked, marked_spans, open_chat

TOO_LONG = "too long"
NOTHING = "nothing to learn"
UNSPELT = "cannot be encoded"

__all__ = ["RenderSettings", "Rendered", "RowRefused", "render", "render_all"]


@dataclass(frozen=True)
class RenderSettings:
    """What of a conversation is learned, and what becomes of one that is too long."""

    learn: Literal["assistant", "last", "all"] = "assistant"
    """assistant: all its turns; last: its last turn alone; all: every token, the prompts' too."""
    max_tokens: int | None = None
    """Ids a row may have; None = any number."""
    too_long: Literal["refuse", "cut"] = "refuse"
    """refuse: a longer row is dropped; cut: its end is cut off."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further variables for the template, such as {"enable_thinking": false}."""

    def __post_init__(self) -> None:
        allowed = {"learn": ("assistant", "last", "all"), "too_long": ("refuse", "cut")}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name}: found {getattr(self, name)!r}; allowed: {', '.join(values)}")
        if self.max_tokens is not None and (type(self.max_tokens) is not int or self.max_tokens < 2):
            raise ValueError(f"max_tokens: found {self.max_tokens!r}; allowed: 2 or more, or none")


@dataclass(frozen=True)
class Rendered:
    """One row to learn from."""

    ids: np.ndarray
    """int64 (T,)"""
    learned: np.ndarray
    """bool (T,): ids that are targets."""
    source: str
    """Where the conversation came from: "file.jsonl:17"."""
    cut: int = 0
    """Ids cut off at the end."""
    stops: bool = True
    """Every learned answer ends with an id that ends a turn when the model serves."""
    as_served: bool = True
    """Every learned answer follows the prompt that serving sends, its last control tokens too."""


def render(conversation: Conversation, tokenizer: Tokenizer, settings: RenderSettings) -> Rendered:
    """A conversation's ids and mask. RowRefused with the reason where it cannot be learned from."""
    if tokenizer.template is None:
        raise ValueError("template: this model has no chat template; give it one (train.templates)")
    messages = [_as_served(turn) for turn in conversation.messages]
    if not messages:
        raise RowRefused(NOTHING, "it has no messages")
    tools = conversation.tools or None
    try:
        ids = encode_chat(tokenizer, messages, tools, False, **settings.options)
        chat = _chat(tokenizer, messages, tools, settings)
    except RowRefused:
        raise
    except ValueError as error:
        raise RowRefused(UNSPELT, str(error)) from error
    if settings.learn == "all":
        learned, stops, as_served = np.ones(len(ids), bool), _stops(tokenizer, ids), True
    else:
        wanted = _wanted(chat, conversation.messages, settings)
        learned, stops, as_served = _mask(tokenizer, chat, ids, wanted)
    row = Rendered(np.array(ids, np.int64), learned, conversation.source, 0, stops, as_served)
    return _sized(row, settings)


def render_all(
    conversations: Iterable[Conversation],
    tokenizer: Tokenizer,
    settings: RenderSettings,
    on_drop: Callable[[Dropped], None],
) -> Iterator[Rendered]:
    """All that can be learned from, in order; each other one is handed to `on_drop` with its place."""
    for conversation in conversations:
        try:
            row = render(conversation, tokenizer, settings)
        except RowRefused as error:
            on_drop(Dropped(error.reason, conversation.source, error.detail))
            continue
        yield row


def _as_served(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the server hands it to the template."""
    turn = {key: value for key, value in message.items() if key != "weight" and value is not None}
    if turn["role"] == "developer":
        turn["role"] = "system"
    return {"content": "", **turn}


def _chat(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None,
    settings: RenderSettings,
) -> Chat:
    """The conversation as encode_chat hands it to the template."""
    assert tokenizer.template is not None
    format = tool_format(tokenizer)
    turns: Sequence[Mapping[str, Any]] = messages
    if not format.native:
        turns, tools = tool_prompt(messages, tools, format), None
    turns = shaped(tokenizer.template, turns)
    return open_chat(tokenizer.template, turns, tools, settings.options, tokenizer.control)


def _wanted(chat: Chat, messages: Sequence[Mapping[str, Any]], settings: RenderSettings) -> list[int]:
    """The assistant's turns to learn: those whose weight is not 0 (OpenAI's field of that name)."""
    said = [turn for turn in messages if turn["role"] == "assistant"]
    assert len(said) == len(chat.answers)
    pairs = list(zip(chat.answers, said, strict=True))
    wanted = [i for i, turn in pairs if turn.get("weight", 1) != 0]
    return wanted[-1:] if settings.learn == "last" else wanted


def _mask(
    tokenizer: Tokenizer, chat: Chat, ids: Sequence[int], wanted: Sequence[int]
) -> tuple[np.ndarray, bool, bool]:
    """(learned (T,), `Rendered.stops`, `Rendered.as_served`)."""
    given, as_served = marked(chat), True
    if given:
        all_spans = marked_spans(chat)
        spans = [all_spans[i] for i in wanted]
    else:
        # No prompt of serving ends before a first turn of the assistant's: that is context.
        grown = [grown_span(chat, i) for i in wanted if i > 0]
        spans = [_trimmed(tokenizer, chat.text, one.span) for one in grown]
        as_served = all(one.as_served for one in grown)
    starts, stops, spans = _places(tokenizer, ids, chat.text, spans)
    learned = np.zeros(len(ids), bool)
    ends_well = True
    for start, stop in spans:
        # A token that holds the end of the prompt and the start of the answer is the prompt's, unless the
        # template's own marks say otherwise.
        own = (stops > start) & (starts < stop) if given else (starts >= start) & (starts < stop)
        places = np.flatnonzero(own).tolist()
        ends = [n for n, place in enumerate(places) if ids[place] in tokenizer.eos_ids]
        if ends and not given:
            places = places[: ends[0] + 1]  # serving stops there
        learned[places] = True
        ends_well &= bool(ends) and _stops(tokenizer, [ids[place] for place in places])
    return learned, ends_well, as_served


def _stops(tokenizer: Tokenizer, ids: Sequence[int]) -> bool:
    """Whether the last id that is not white space ends a turn."""
    said = [id for id in ids[-4:] if tokenizer.token_bytes(id).strip()]
    return bool(said) and said[-1] in tokenizer.eos_ids


def _trimmed(tokenizer: Tokenizer, text: str, span: Span) -> Span:
    """The span without the white space that follows the token which ends the turn: no one generates it."""
    start, stop = span
    ends = [found.end() for found in tokenizer.control.finditer(text, start, stop)]
    return start, ends[-1] if ends and not text[ends[-1] : stop].strip() else stop


def _places(
    tokenizer: Tokenizer, ids: Sequence[int], text: str, spans: Sequence[Span]
) -> tuple[np.ndarray, np.ndarray, list[Span]]:
    """Start and stop (T,) of each id's bytes, and the spans in bytes.

    The tokenizer may have normalised the text: then its normal forms are tried.
    """
    cuts = sorted({0, len(text), *(at for span in spans for at in span)})
    pieces = [text[a:b] for a, b in itertools.pairwise(cuts)]
    forms: list[Callable[[str], str]] = [str, *(_form(name) for name in ("NFC", "NFKC"))]
    for form in forms:
        parts = [form(piece).encode() for piece in pieces]
        found = _aligned(tokenizer, ids, b"".join(parts))
        if found is not None:
            at = dict(zip(cuts, np.cumsum([0, *map(len, parts)]).tolist(), strict=True))
            return found[0], found[1], [(at[a], at[b]) for a, b in spans]
    raise RowRefused(UNSPELT, "its ids do not spell it: the tokenizer changes or does not know some of it")


def _form(name: Any) -> Callable[[str], str]:
    return lambda text: unicodedata.normalize(name, text)


def _aligned(tokenizer: Tokenizer, ids: Sequence[int], data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Where each id's bytes stand; None where the ids do not spell the data.

    Two liberties: a space before a word that SentencePiece adds, and white space that a control token eats.
    """
    starts, stops = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
    at = 0
    for i, id in enumerate(ids):
        piece = tokenizer.token_bytes(id)
        if not data.startswith(piece, at):
            near = data[at : at + 64]
            after = at + len(near) - len(near.lstrip())
            bare = piece.lstrip(b" ")
            tries = ((piece, after), (bare, at), (bare, after))
            fits = next(((p, a) for p, a in tries if data.startswith(p, a)), None)
            if fits is None:
                return None
            piece, at = fits
        starts[i] = at
        at += len(piece)
        stops[i] = at
    return None if data[at:].strip() else (starts, stops)


def _sized(row: Rendered, settings: RenderSettings) -> Rendered:
    """The row within max_tokens; RowRefused where it is too long or nothing of it would be learned."""
    most = settings.max_tokens
    cut = 0 if most is None else max(0, len(row.ids) - most)
    if cut and settings.too_long == "refuse":
        raise RowRefused(TOO_LONG, f"{len(row.ids)} ids, {most} allowed")
    if not row.learned[1:].any():  # the first id is never a target
        raise RowRefused(NOTHING, "no answer of the assistant's that a prompt asks for")
    if not cut:
        return row
    if not row.learned[1:most].any():
        raise RowRefused(NOTHING, f"the prompt fills the {most} ids of a row")
    return replace(row, ids=row.ids[:most], learned=row.learned[:most], cut=cut)
