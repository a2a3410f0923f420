"""Reads one JSON value character by character: whether it can still become valid, and when it is whole.

Not a decoder: `json` is, once the text is whole. Strict as RFC 8259: a text that passes here parses there.
"""

from __future__ import annotations

import re
from typing import Literal

_SPACE = " \t\n\r"
_SCALAR = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null")
_SCALAR_LETTERS = frozenset("-+.eE0123456789truefalsn")
MAX_SCALAR = 4096
"""Characters of a number."""
Want = Literal["value", "item or ]", "key or }", "key", ":", ", or end", "done"]


class JsonScan:
    """The state of reading one value."""

    def __init__(self) -> None:
        self.want: Want = "value"
        """What is due next; while a string or a number is read, what it is."""
        self.count = 0
        """Characters read."""
        self.opened = 0
        """Where the last string began."""
        self._stack: list[str] = []
        self._string = False
        self._escape = 0  # 1 after a backslash, -4 to -1 while the letters of a \\u are due
        self._scalar = ""

    @property
    def depth(self) -> int:
        """How many brackets are open."""
        return len(self._stack)

    @property
    def done(self) -> bool:
        """Whether the value is whole. A bare number at the top never is: nothing tells its end."""
        return self.want == "done"

    @property
    def busy(self) -> bool:
        """Whether a string or a number is half read."""
        return self._string or self._scalar != ""

    def push(self, letter: str) -> bool:
        """One more character; False where the text cannot be JSON any more."""
        self.count += 1
        if self._string:
            return self._in_string(letter)
        if self._scalar:
            if letter in _SCALAR_LETTERS:
                self._scalar += letter
                return len(self._scalar) <= MAX_SCALAR
            if not _SCALAR.fullmatch(self._scalar):
                return False
            self._scalar = ""
            self._after_value()
        return letter in _SPACE or self._between(letter)

    def _between(self, letter: str) -> bool:
        want = self.want
        if want == ":":
            self.want = "value"
            return letter == ":"
        if want in ("key", "key or }") and letter == '"':
            self._string, self.opened = True, self.count - 1
            return True
        if letter == "}" and want in (", or end", "key or }"):
            return self._close("{")
        if letter == "]" and want in (", or end", "item or ]"):
            return self._close("[")
        if want == ", or end" and letter == ",":
            self.want = "key" if self._stack[-1] == "{" else "value"
            return True
        return want in ("value", "item or ]") and self._begin(letter)

    def _begin(self, letter: str) -> bool:
        self.want = "value"
        if letter in "{[":
            self._stack.append(letter)
            self.want = "key or }" if letter == "{" else "item or ]"
        elif letter == '"':
            self._string, self.opened = True, self.count - 1
        elif letter in "-0123456789tfn":
            self._scalar = letter
        else:
            return False
        return True

    def _in_string(self, letter: str) -> bool:
        if self._escape == 1:
            self._escape = -4 if letter == "u" else 0
            return letter in '"\\/bfnrtu'
        if self._escape < 0:
            self._escape += 1
            return letter in "0123456789abcdefABCDEF"
        if letter == "\\":
            self._escape = 1
        elif letter == '"':
            self._string = False
            if self.want == "value":
                self._after_value()
            else:
                self.want = ":"
        return letter >= " "

    def _close(self, bracket: str) -> bool:
        if not self._stack or self._stack.pop() != bracket:
            return False
        self._after_value()
        return True

    def _after_value(self) -> None:
        self.want = ", or end" if self._stack else "done"
