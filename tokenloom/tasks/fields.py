"""The fields of a task and what values they take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

FieldType = Literal["text", "number", "choice", "flag", "file", "picture"]


class FieldError(ValueError):
    """A value given for a task's field is not allowed; the message names field, value and what is allowed."""


@dataclass(frozen=True)
class Choice:
    value: str
    label: dict[str, str]


@dataclass(frozen=True)
class Field:
    """One thing a task asks for. Words are by language (en, zh)."""

    name: str
    type: FieldType
    label: dict[str, str]
    help: dict[str, str]
    """A sentence: the option's help in the terminal, the hint on the page."""
    required: bool = False
    default: Any = None
    choices: tuple[Choice, ...] = ()
    min: float | None = None
    """Of a number; of a text or file: characters."""
    max: float | None = None
    whole: bool = False
    """A number without a fraction."""
    short: str | None = None
    """The option's one-letter form in the terminal, such as -n."""
    of: str = ""
    """Of which models it is: "codes" of those that write codes, "diffusion" of those; empty: of all."""

    def check(self, value: Any) -> Any:
        """The value as it is used; FieldError when it is not allowed. A file's value is its text,
        a picture's its data URL."""
        if self.type == "number":
            return self._number(value)
        if self.type == "flag":
            if not isinstance(value, bool):
                raise self._wrong(value, "true or false")
            return value
        if self.type == "picture":
            if not isinstance(value, str) or not value.startswith("data:image/"):
                raise self._wrong(value, "a data URL of a picture, as data:image/png;base64,...")
            return value
        if not isinstance(value, str):
            raise self._wrong(value, "a text")
        if self.type == "choice":
            if value not in [c.value for c in self.choices]:
                raise self._wrong(value, "one of " + ", ".join(c.value for c in self.choices))
            return value
        if self.required and not value.strip():
            raise FieldError(f"{self.name} is empty")
        if not (self.min or 0) <= len(value) <= (math.inf if self.max is None else self.max):
            allowed = f"{self._span()} characters are allowed"
            raise FieldError(f"{self.name} has {len(value)} characters; {allowed}")
        return value

    def _number(self, value: Any) -> int | float:
        what = f"a {'whole ' if self.whole else ''}number, {self._span()}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(value, what)
        if self.whole:
            if value != int(value):
                raise self._wrong(value, what)
            value = int(value)
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        if not low <= value <= high:
            raise self._wrong(value, what)
        return value

    def _span(self) -> str:
        low, high = (
            None if v is None else f"{v:g}" if abs(v) < 1e6 else f"{v:.0f}" for v in (self.min, self.max)
        )
        if low is not None and high is not None:
            return f"{low} to {high}"
        return f"at least {low}" if low is not None else f"at most {high}" if high is not None else "any"

    def _wrong(self, value: Any, allowed: str) -> FieldError:
        shown = repr(value) if len(repr(value)) < 80 else repr(value)[:77] + "..."
        return FieldError(f"{self.name} is {shown}; allowed is {allowed}")
