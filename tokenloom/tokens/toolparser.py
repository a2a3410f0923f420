"""Tool calls out of an answer's text as it comes.

Not the formats: those are in tools.py. Pieces come in the order they were written; none holds half a marker.
A call is shown as soon as its name and the start of its arguments are there; what turns out not to be a call
comes back as text, character for character. Only white space around calls is dropped.
"""

from __future__ import annotations

import json
import secrets
import string
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from tokenloom.tokens.jsonscan import JsonScan
from tokenloom.tokens.stream import overlap
from tokenloom.tokens.tools import CALLS, CLOSE, OPEN, PYTHON, ToolFormat

_ARGUMENTS = frozenset({"arguments", "parameters"})
_KEYS = _ARGUMENTS | {"name", "type", "id"}


@dataclass(frozen=True)
class TextPiece:
    text: str


@dataclass(frozen=True)
class CallPiece:
    """News of one call. All `arguments` joined are the JSON text the model wrote."""

    index: int
    id: str | None = None
    """With the first piece of a call, as `name`."""
    name: str | None = None
    arguments: str = ""
    broken: bool = False
    """The call is no call after all: forget it; its whole text comes as the next piece."""

    def follows(self, last: CallPiece) -> bool:
        """Whether it only adds arguments to the piece before."""
        return self.index == last.index and self.name is None and not self.broken and not last.broken


def new_id(format: ToolFormat) -> str:
    """A call's id; Mistral's templates take nine letters and digits and nothing else."""
    if format.kind == "mistral":
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))
    return f"call_{secrets.token_hex(12)}"


class ToolParser:
    """Text in, text and calls out.

    names: the functions there are; a call of another comes back as text. None: any name will do.
    """

    def __init__(
        self,
        format: ToolFormat,
        names: Collection[str] | None = None,
        make_id: Callable[[ToolFormat], str] = new_id,
    ) -> None:
        self._kind = format.kind
        self._marker = {"hermes": OPEN, "llama": PYTHON, "mistral": CALLS}[format.kind]
        self._names, self._make_id = names, lambda: make_id(format)
        self._state = self._begin if format.kind == "llama" else self._text
        self._out: list[TextPiece | CallPiece] = []
        self._queue: deque[str] = deque()
        self._raw = ""  # read and not yet given out: held text, a call since its marker, what follows a call
        self._head = 0  # how much of _raw, its marker, is text for sure if there is no call
        self._due = ""  # brackets that must come before a call's keys
        self._call: _Call | None = None
        self.count = 0
        """Calls begun so far."""

    def push(self, text: str) -> list[TextPiece | CallPiece]:
        """More of the answer -> what is certain now."""
        self._queue.extend(text)
        while self._queue:
            self._state(self._queue.popleft())
        return self._taken()

    def finish(self) -> list[TextPiece | CallPiece]:
        """No more text comes. A call cut off after its name stays one, its arguments as far as they came."""
        while self._state == self._open or (self._call is not None and not self._call.shown):
            self._give_up()
            while self._queue:
                self._state(self._queue.popleft())
        if self._state in (self._begin, self._text):
            self._say(self._raw)
        self._raw, self._call, self._state = "", None, self._text
        return self._taken()

    def _say(self, text: str) -> None:
        if text:
            self._out.append(TextPiece(text))

    def _taken(self) -> list[TextPiece | CallPiece]:
        """What has gathered, neighbours of one kind joined."""
        joined: list[TextPiece | CallPiece] = []
        for piece in self._out:
            last = joined[-1] if joined else None
            if isinstance(piece, TextPiece) and isinstance(last, TextPiece):
                joined[-1] = TextPiece(last.text + piece.text)
            elif isinstance(piece, CallPiece) and isinstance(last, CallPiece) and piece.follows(last):
                joined[-1] = replace(last, arguments=last.arguments + piece.arguments)
            else:
                joined.append(piece)
        self._out = []
        return joined

    def _begin(self, letter: str) -> None:
        """The very start of a Llama answer, where a bare object may be a call."""
        if letter.isspace():
            self._raw += letter
        elif letter == "{":
            self._head, self._due = len(self._raw) + 1, "{"
            self._open(letter)
        else:
            self._state = self._text
            self._text(letter)

    def _text(self, letter: str) -> None:
        """Plain text: white space and the start of a marker are held back."""
        self._raw += letter
        if self._raw.endswith(self._marker):
            self._head = len(self._raw)
            self._due = "[{" if self._kind == "mistral" else "{"
            self._state = self._open
            return
        bare = self._raw[: len(self._raw) - overlap(self._raw, self._marker)].rstrip()
        self._say(bare)
        self._raw = self._raw[len(bare) :]

    def _open(self, letter: str) -> None:
        """After a marker or between two calls: the brackets that are due."""
        self._state = self._open
        self._raw += letter
        if letter.isspace():
            return
        if letter != self._due[0]:
            self._give_up()
            return
        self._due = self._due[1:]
        if not self._due:
            self._call = _Call(self.count)
            self._call.push(letter)
            self._state = self._in_call

    def _in_call(self, letter: str) -> None:
        self._raw += letter
        call = self._call
        assert call is not None
        valid = call.push(letter) and not (call.done and call.name is None)
        if not valid or (call.name is not None and self._names is not None and call.name not in self._names):
            if call.shown:
                self._out.append(CallPiece(call.index, broken=True))
            self._give_up()
        elif call.name is not None and (call.fresh or call.done):
            if not call.shown:
                call.shown = True
                self.count += 1
                self._out.append(CallPiece(call.index, self._make_id(), call.name))
            if arguments := call.take():
                self._out.append(CallPiece(call.index, arguments=arguments))
            if call.done:
                self._call, self._raw, self._state = None, "", self._after

    def _after(self, letter: str) -> None:
        """After a call: its closing marker, another call, or text again."""
        self._raw += letter
        seen = self._raw.lstrip()
        if not seen:
            return
        if self._kind == "hermes":
            if seen == CLOSE:
                self._raw, self._state = "", self._text
            elif not CLOSE.startswith(seen):
                self._resume()
        elif self._kind == "mistral" and letter in ",]":
            self._due, self._head, self._state = "{", len(self._raw), self._open
            if letter == "]":
                self._raw, self._state = "", self._text
        elif self._kind == "llama" and letter == "{":
            self._due, self._head, self._raw = "{", len(self._raw), self._raw[:-1]
            self._open(letter)
        elif self._kind == "mistral" or seen.removeprefix(";").strip():
            self._resume()

    def _resume(self) -> None:
        """What was read is plain text, in which a marker may stand."""
        self._queue.extendleft(reversed(self._raw))
        self._raw, self._state = "", self._text

    def _give_up(self) -> None:
        """No call: its marker is text, and what follows is read again as text."""
        self._say(self._raw[: self._head])
        self._raw, self._call = self._raw[self._head :], None
        self._resume()


class _Call:
    """One call's object while it is read: {"name": ..., "arguments": {...}}, its keys in any order."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.name: str | None = None
        self.fresh = ""
        """Of the arguments, not taken yet."""
        self.shown = False
        self._scan = JsonScan()
        self._text = ""
        self._keys: list[str] = []
        self._inside = False  # the arguments

    @property
    def done(self) -> bool:
        return self._scan.done

    def take(self) -> str:
        """The arguments that came since the last time; a call that is done without any has {}."""
        fresh, self.fresh = self.fresh, ""
        bare = self.done and not _ARGUMENTS & set(self._keys)
        return "{}" if bare else fresh

    def push(self, letter: str) -> bool:
        """One more character; False where this is no call."""
        scan, want, busy, depth = self._scan, self._scan.want, self._scan.busy, self._scan.depth
        self._text += letter
        if not scan.push(letter):
            return False
        if self._inside:
            self.fresh += letter
            self._inside = scan.depth > 1
        elif depth == 1 and scan.want == ":" != want:
            return self._begin(json.loads(self._text[scan.opened :]))
        elif depth == 1 and want == "value" and not busy and not letter.isspace():
            if self._keys[-1] in _ARGUMENTS:
                self._inside = True
                self.fresh += letter
                return letter == "{"
            return self._keys[-1] != "name" or letter == '"'
        elif depth == 1 and want == "value" and scan.want == ", or end" and self._keys[-1] == "name":
            self.name = json.loads(self._text[scan.opened :])
        return True

    def _begin(self, key: str) -> bool:
        """A key of the object: one that belongs in a call, and once."""
        again = key in self._keys or (key in _ARGUMENTS and not _ARGUMENTS.isdisjoint(self._keys))
        self._keys.append(key)
        return key in _KEYS and not again
