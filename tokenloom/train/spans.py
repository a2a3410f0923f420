"""Where the assistant speaks in a rendered conversation: spans of characters, found with the template itself.

Not ids: those are render.py's. A template that marks its answers with {% generation %} is asked. Any other is
run on growing prefixes of the conversation: what the whole has beyond the prompt that serving would have
sent, up to the end of the turn, is the answer. Templates that write earlier turns otherwise than the last
(thinking left out, tools told at the last question) are compared around anchors, noncharacters put into the
two messages on either side of the turn's beginning. Where that fails, too, the conversation is refused.

    serving sends   <|user|>Hi<|end|><|assistant|><think>      the prompt's tail, behind the anchor in Hi
    the whole has   <|user|>Hi<|end|><|assistant|>Hello<|end|><|user|>...
    the answer                                   [Hello<|end|>]    behind what both have up to a control token
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenloom.tokens.template import ChatTemplate, TemplateRefused

Span = tuple[int, int]
"""Characters [start, stop) of the rendered text."""
Turn = Mapping[str, Any]
NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
_TAG = re.compile(r"\{%([-+]?)\s*generation\s*([-+]?)%\}")
_END = re.compile(r"\{%([-+]?)\s*endgeneration\s*([-+]?)%\}")
_MACRO = "{%% macro loom_generation() %%}%s{{ caller() }}%s{%% endmacro %%}\n"


REFUSED = "refused by the template"
UNLIKE = "written otherwise than its prompt"
UNMARKED = "not marked by the template"


class RowRefused(ValueError):
    """One conversation cannot be learned from."""

    def __init__(self, reason: str, detail: str) -> None:
        """reason: one of a short list, to be counted."""
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Chat:
    """A conversation as its template takes it, and what it renders to."""

    template: ChatTemplate
    turns: Sequence[Turn]
    tools: Sequence[Mapping[str, Any]] | None
    options: Mapping[str, Any]
    text: str
    control: re.Pattern[str]
    """Finds control tokens."""

    def render(self, turns: Sequence[Turn], prompt: bool) -> str:
        return self.template.render(turns, self.tools, prompt, **self.options)

    @property
    def answers(self) -> list[int]:
        """Numbers of the assistant's turns."""
        return [i for i, turn in enumerate(self.turns) if turn["role"] == "assistant"]


def open_chat(
    template: ChatTemplate,
    turns: Sequence[Turn],
    tools: Sequence[Mapping[str, Any]] | None,
    options: Mapping[str, Any],
    control: re.Pattern[str],
) -> Chat:
    """Renders the whole. RowRefused with the template's words where it refuses it."""
    try:
        text = template.render(turns, tools, False, **options)
    except TemplateRefused as error:
        raise RowRefused(REFUSED, str(error)) from error
    return Chat(template, turns, tools, options, text, control)


def marked(chat: Chat) -> bool:
    """Whether the template says itself what the assistant wrote."""
    return _TAG.search(chat.template.choose(chat.tools)) is not None


def marked_spans(chat: Chat) -> dict[int, Span]:
    """Turn -> what stands between {% generation %} and {% endgeneration %}.

    The template runs with a macro in the place of the tag, which puts a noncharacter on either side.
    """
    start, stop = _free(chat)
    name = next(n for n, s in chat.template.templates.items() if s == chat.template.choose(chat.tools))
    source = _TAG.sub(r"{%\1 call loom_generation() \2%}", chat.template.templates[name])
    source = _MACRO % (start, stop) + _END.sub(r"{%\1 endcall \2%}", source)
    twin = ChatTemplate({**chat.template.templates, name: source}, chat.template.variables)
    text = twin.render(chat.turns, chat.tools, False, **chat.options)
    if _without(text, start, stop) != chat.text:
        raise RowRefused(UNMARKED, "the {% generation %} marks do not stand around what is written")
    spans: list[Span] = []
    at = 0
    for piece in re.split(f"({start}[^{start}{stop}]*{stop})", text):
        size = len(_without(piece, start, stop))
        if piece.startswith(start):
            spans.append((at, at + size))
        at += size
    if len(spans) != len(chat.answers):
        raise RowRefused(
            UNMARKED,
            f"{{% generation %}} marks {len(spans)} answers, but there are {len(chat.answers)}",
        )
    return dict(zip(chat.answers, spans, strict=True))


@dataclass(frozen=True)
class Grown:
    """An answer found by growing the conversation."""

    span: Span
    """Up to the end of its turn and the white space behind it."""
    as_served: bool
    """It follows the very prompt that serving sends; otherwise one whose last control tokens are missing."""


def grown_span(chat: Chat, i: int) -> Grown:
    """What the model writes at turn i.

    It begins where the prompt ends that serving sends for the turns before. RowRefused where the template
    writes these otherwise than the whole and no anchor tells where they are.
    """
    assert i > 0
    try:
        prompt, grown = chat.render(chat.turns[:i], True), chat.render(chat.turns[: i + 1], False)
    except TemplateRefused as error:
        raise RowRefused(REFUSED, f"the prompt of turn {i} cannot be rendered: {error}") from error
    if grown.startswith(prompt):
        if chat.text.startswith(grown):
            return Grown((len(prompt), len(grown)), True)
        if chat.text.startswith(bare := grown.rstrip()) and len(bare) > len(prompt):
            return Grown((len(prompt), len(bare)), True)
    for before, own in _anchors(chat, i):
        found = _between(chat, i, before, own)
        if found is not None:
            return found
    raise RowRefused(
        UNLIKE,
        f"turn {i} does not follow the prompt that is sent for it; learn the last turn alone, or give "
        "the template {% generation %} marks",
    )


def _between(chat: Chat, i: int, before: Turn, own: Turn) -> Grown | None:
    """Turn i's span with anchors in the turn before it and in itself; None where an anchor is lost."""
    a, b = _free(chat)
    turns = [*chat.turns[: i - 1], before, own, *chat.turns[i + 1 :]]
    try:
        whole, prompt = chat.render(turns, False), chat.render(turns[:i], True)
        grown = chat.render(turns[: i + 1], False)
    except TemplateRefused:
        return None
    counts = (whole.count(a), whole.count(b), prompt.count(a), grown.count(b))
    if _without(whole, a, b) != chat.text or counts != (1, 1, 1, 1):
        return None
    head, tail = prompt.partition(a)[2], grown.partition(b)[2].rstrip()
    at, own_at = whole.index(a), whole.index(b) - 1  # in the text without anchors
    controls = list(chat.control.finditer(head))
    # The header ends before a control token of it, never before the first one, which opens the turn.
    heads = [len(head), *sorted((found.start() for found in controls[1:]), reverse=True)]
    tails = [len(tail), *sorted((found.end() for found in chat.control.finditer(tail)), reverse=True)]
    start = next((n for n in heads if chat.text.startswith(head[:n], at)), None)
    stop = next((n for n in tails if chat.text.startswith(tail[:n], own_at)), None)
    if start is None or stop is None or at + start > own_at:
        return None
    return Grown((at + start, own_at + stop), start == len(head))


def _anchors(chat: Chat, i: int) -> Iterator[tuple[Turn, Turn]]:
    """Turns i - 1 and i with an anchor each, in every place where one may stand."""
    a, b = _free(chat)
    for before in _with(chat.turns[i - 1], a):
        for own in _with(chat.turns[i], b):
            yield before, own


def _with(turn: Turn, anchor: str) -> Iterator[Turn]:
    """The turn with the anchor at the end of what it says, at its start, or behind its first call's name.

    White space stays outside, as templates may strip it.
    """
    content = turn.get("content")
    if isinstance(content, str) and content.strip():
        end = len(content.rstrip())
        yield {**turn, "content": content[:end] + anchor + content[end:]}
        start = len(content) - len(content.lstrip())
        yield {**turn, "content": content[:start] + anchor + content[start:]}
    elif isinstance(content, list) and content and str(content[-1].get("text", "")).strip():
        text = content[-1]["text"]
        end = len(text.rstrip())
        yield {
            **turn,
            "content": [*content[:-1], {**content[-1], "text": text[:end] + anchor + text[end:]}],
        }
    calls = turn.get("tool_calls")
    if calls:
        function = calls[0].get("function", calls[0])
        named = {**function, "name": f"{function.get('name')}{anchor}"}
        first = {**calls[0], "function": named} if "function" in calls[0] else named
        yield {**turn, "tool_calls": [first, *calls[1:]]}


def _free(chat: Chat) -> tuple[str, str]:
    """Two noncharacters that the text does not hold."""
    free = [mark for mark in NONCHARACTERS if mark not in chat.text][:2]
    if len(free) < 2:
        raise RowRefused(UNLIKE, "the text holds nearly every noncharacter U+FDD0 to U+FDEF")
    return free[0], free[1]


def _without(text: str, *marks: str) -> str:
    for mark in marks:
        text = text.replace(mark, "")
    return text
