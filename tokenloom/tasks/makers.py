"""What a declaration's template cannot do: check values, and say what the answer must look like.

Not the declarations (declare.py). A maker is a value here; a task names it under `maker`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenloom.engine.drafts import Mark
from tokenloom.engine.request import Constraint
from tokenloom.tasks.fields import FieldError
from tokenloom.tokens import stanza, verse


@dataclass(frozen=True)
class Made:
    """What a maker makes of a task's values."""

    values: Mapping[str, str] = field(default_factory=dict)
    """For the templates, beside the fields' own."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    """Control tokens that the template writes."""
    constraint: Constraint | None = None
    drafts: int = 1
    """Drafts of each version, of which the best is kept (drafts.py)."""
    mark: Mark | None = None
    """How good a draft is; needed where there are several."""


@dataclass(frozen=True)
class Maker:
    make: Callable[[Mapping[str, Any]], Made]
    """Takes every field's value, empty texts for those not given; FieldError names the one at fault."""
    fields: frozenset[str]
    """The fields it looks at."""
    values: frozenset[str]
    """What it makes for the templates."""


def make_poem(given: Mapping[str, Any]) -> Made:
    """Title and form as the poet was taught them, and the lines and lengths that the form asks for."""
    names = ("poem", "form", "acrostic", "first")
    try:
        wish = stanza.read_wish(*(given[name] for name in names))
        body = stanza.pattern(wish)
    except ValueError as error:
        raise FieldError(str(error)) from error
    tokens = 4 * stanza.longest(wish)  # a rare character takes three or four
    return Made(
        values={"title": wish.title, "shape": wish.form},
        sampling={"max_tokens": tokens},
        controls=verse.CONTROL,
        constraint=Constraint("regex", body),
        drafts=given["drafts"],
        mark=poem_mark(wish.form),
    )


def poem_mark(form: str) -> Mark:
    """How many rules of its form a poem keeps; among those that keep as many, one that rhymes is better."""

    def mark(text: str) -> tuple[int, ...]:
        verdict = verse.check(text, form)
        return verdict.kept, verdict.rhyme is not False

    return mark


MAKERS: Mapping[str, Maker] = {
    "poem": Maker(
        make_poem,
        frozenset({"poem", "form", "acrostic", "first", "drafts"}),
        frozenset({"title", "shape"}),
    ),
}
