"""Conversations to learn from, out of files in the shapes they are published in (shapes.py).

Not their rendering: the chat template and what of it is learned are the business of training. A row that
makes no conversation is dropped with its place and a reason of a fixed list, so that reasons can be counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenloom.data.documents import Reading
from tokenloom.data.read import Progress, all_rows, find_sources, say, unwritable
from tokenloom.data.record import BadRecord, DataError, Limits, Row, Tally
from tokenloom.data.shapes import (
    NOT_A_LIST,
    OTHER_SHAPE,
    SHAPES,
    UNKNOWN_ROLE,
    Message,
    Misshapen,
    Shape,
    shape_of,
    tools_of,
)

UNREADABLE = "unreadable"
NO_MESSAGES = "no messages"
NO_ASSISTANT = "no assistant turn"
EMPTY = "empty content"
OUT_OF_ORDER = "roles out of order"
UNWRITABLE = "content that cannot be stored"
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True)
class Conversation:
    """Messages in OpenAI's shape: role, content (a text, or None beside tool_calls), tool_calls, ..."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None
    source: str
    """Its place, such as "chat.jsonl:17"."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    shape: str = "openai"


@dataclass(frozen=True)
class Dropped:
    """A row that gave no conversation."""

    reason: str
    """One of a short list, to be counted."""
    place: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


def read_conversations(
    paths: Sequence[str],
    *,
    on_dropped: Callable[[Dropped], None],
    on_note: Callable[[str], None] = say,
    on_progress: Progress | None = None,
    shape: str | None = None,
    encoding: str | None = None,
    limits: Limits | None = None,
    online: bool = False,
) -> Iterator[Conversation]:
    """The conversations of files, folders, globs, "-" and Hub sets, in JSON lines, JSON, CSV or Parquet.

    shape: openai, sharegpt, alpaca or completion; None = told by each file's first row that has one, which
    on_note hears. on_dropped hears of each row without a conversation: malformed ones as "unreadable", of
    which too many stop reading (Limits). How many of the others are too many is for the caller to say.
    Raises DataError as data.read does, for a file whose rows are of no shape, and where nothing is left.
    """
    if shape is not None and shape not in (names := [known.name for known in SHAPES]):
        raise DataError(f"shape: found {shape!r}; allowed: {', '.join(names)}")

    def bad(record: BadRecord) -> None:
        on_dropped(Dropped(UNREADABLE, record.place, record.reason))

    tally = Tally(limits or Limits(), bad)
    how = Reading(tally.limits, on_note, lambda count: None, "line", encoding, (), {})
    sources = find_sources(paths, on_note, online)
    plain = [s for s in sources if not isinstance(s, str) and s.kind in ("text", "html", "pdf")]
    if plain and (len(plain) == len(sources) or any(file.named for file in plain)):
        first = next((file for file in plain if file.named), plain[0])
        raise DataError(
            f"{first.path} holds no conversations: they are read from JSON lines, JSON, CSV, Parquet"
        )
    for file in plain:
        on_note(f"{file.path} is passed over: it holds no conversations")
    sources = [source for source in sources if source not in plain]
    given = next((known for known in SHAPES if known.name == shape), None)
    return _conversations(
        all_rows(sources, how, tally, on_progress), given, tally, on_dropped, on_note, list(paths)
    )


def _conversations(
    rows: Iterator[Row],
    given: Shape | None,
    tally: Tally,
    on_dropped: Callable[[Dropped], None],
    note: Callable[[str], None],
    paths: list[str],
) -> Iterator[Conversation]:
    shape, file, n_kept, n_dropped, shapeless = given, None, 0, 0, 0
    for row in rows:
        if (place := row.place.rpartition(":")[0]) != file:
            file, shape, shapeless = place, given, 0
        if shape is None:
            shape = shape_of(row.value)
            if shape is not None:
                note(f"{file} is read as {shape.name}: {', '.join(sorted(shape.fields & set(row.value)))}")
            else:
                shapeless += 1
                _check_shapeless(file, row, shapeless, tally.limits)
        tally.good()
        try:
            made = conversation(row, shape)
        except Misshapen as error:
            n_dropped += 1
            on_dropped(Dropped(error.reason, row.place, error.detail))
            continue
        n_kept += 1
        yield made
    if not n_kept:
        raise DataError(
            f"no conversation was read from {', '.join(paths)}: {n_dropped + tally.n_bad} rows were dropped"
            + (f"; the first that could not be read:\n{tally.listed()}" if tally.n_bad else "")
        )


def _check_shapeless(file: str, row: Row, count: int, limits: Limits) -> None:
    """DataError once a file's rows are plainly of no known shape."""
    if count >= limits.bad_count:
        has = ", ".join(map(str, row.value)) if isinstance(row.value, Mapping) else type(row.value).__name__
        raise DataError(
            f"{file}: the first {count} rows are of no shape that is known; they have: {has}. Known are "
            "messages (OpenAI), conversations (ShareGPT), instruction and output (Alpaca), prompt and "
            "completion"
        )


def conversation(row: Row, shape: Shape | None = None) -> Conversation:
    """One row's conversation. Raises Misshapen with the reason where it has none."""
    if shape is None or not isinstance(row.value, Mapping) or not shape.matches(row.value):
        raise Misshapen(OTHER_SHAPE, _fields(row.value))
    messages = shape.messages(row.value)
    tools = tools_of(row.value) if "tools" in shape.fields else None
    check(messages)
    meta = {key: value for key, value in row.value.items() if key not in shape.fields}
    return Conversation(messages, tools, row.place, meta, shape.name)


def _fields(value: Any) -> str:
    if isinstance(value, Mapping):
        return "its fields are: " + (", ".join(map(str, list(value)[:8])) or "none")
    return f"it is a {type(value).__name__}"


def check(messages: Sequence[Message]) -> None:
    """Raises Misshapen unless messages are a conversation: an optional system message, then users and
    assistants in turn, the user first; tool answers after calls; something in each; an assistant's turn."""
    if not messages:
        raise Misshapen(NO_MESSAGES, "the list is empty")
    before, called = "", False
    for index, message in enumerate(messages):
        role, where = message.get("role"), f"messages[{index}]"
        if role not in ROLES:
            raise Misshapen(UNKNOWN_ROLE, f"{where}.role is {role!r}")
        _check_content(message, where)
        allowed = _may_follow(before, called)
        if role not in allowed:
            after = f"follows {before}" if before else "comes first"
            raise Misshapen(OUT_OF_ORDER, f"{where}: {role} {after}; allowed: {', '.join(allowed)}")
        before, called = role, bool(message.get("tool_calls"))
    if not any(message["role"] == "assistant" for message in messages):
        raise Misshapen(NO_ASSISTANT, "there is nothing to learn from")


def _may_follow(before: str, called: bool) -> tuple[str, ...]:
    if before == "assistant":
        return ("tool",) if called else ("user",)
    return {
        "": ("system", "developer", "user"),
        "system": ("user",),
        "developer": ("user",),
        "user": ("assistant",),
        "tool": ("tool", "assistant"),
    }[before]


def _check_content(message: Message, where: str) -> None:
    content, calls = message.get("content"), message.get("tool_calls")
    if calls is not None and (
        not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls)
    ):
        raise Misshapen(NOT_A_LIST, f"{where}.tool_calls")
    if content and (trouble := unwritable(content)):
        raise Misshapen(UNWRITABLE, f"{where}: {trouble}")
    if not (content and content.strip()) and not calls and message["role"] != "tool":
        raise Misshapen(EMPTY, f"{where} ({message['role']})")
