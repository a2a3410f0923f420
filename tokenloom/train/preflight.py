"""What a fine-tune would learn, shown and judged before it starts.

Not the rendering (render.py) and not the run: rows are counted as they are rendered, and what would waste a
run is refused: nothing to learn, too much dropped, another tokenizer or template than the model's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenloom.data.conversations import Dropped
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.train.memory import Memory
from tokenloom.train.render import Rendered

if TYPE_CHECKING:
    from rich.console import RenderableType

SAMPLES = 3
EXAMPLES = 3
MAX_DROPPED = 0.05
Part = tuple[str, bool]
"""A stretch of a row as text, and whether it is learned."""


class PreflightRefused(ValueError):
    """The run is not worth starting; `preflight` shows why."""

    def __init__(self, preflight: Preflight) -> None:
        super().__init__("; ".join(preflight.problems))
        self.preflight = preflight


@dataclass(frozen=True)
class Sample:
    """One row as it will be learned."""

    source: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Counted:
    """Rows of one kind, the first of them by place."""

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of the rows."""

    least: int = 0
    median: int = 0
    most: int = 0


@dataclass(frozen=True)
class Preflight:
    """What was found. `problems` is empty where the run may start."""

    rows: int
    tokens: int
    learned: int
    learned_per_row: Spread
    lengths: Spread
    histogram: tuple[tuple[int, int, int], ...]
    """(from, to, rows) by length in tokens, `to` not included."""
    dropped: tuple[Counted, ...]
    repeated: Counted
    """Rows that are there before, id for id."""
    cut: int
    """Rows whose end was cut off."""
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    samples: tuple[Sample, ...]
    tokenizer_sha256: str
    template_sha256: str | None
    memory: Memory | None = None
    seconds: float | None = None
    """Estimated time of the run."""

    @property
    def n_dropped(self) -> int:
        return sum(kind.count for kind in self.dropped)

    def check(self) -> Preflight:
        """Itself. Raises PreflightRefused where there are problems."""
        if self.problems:
            raise PreflightRefused(self)
        return self

    def json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def table(self) -> RenderableType:
        """All of it for a terminal, learned tokens coloured."""
        from tokenloom.train.preflight_table import table

        return table(self)


@dataclass
class Survey:
    """Counts rows as they are rendered."""

    tokenizer: Tokenizer
    lengths: list[int] = field(default_factory=list)
    learned: list[int] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    cut: int = 0
    endless: list[str] = field(default_factory=list)
    unserved: list[str] = field(default_factory=list)
    repeats: list[str] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    _seen: dict[bytes, str] = field(default_factory=dict)

    def add(self, row: Rendered) -> None:
        self.lengths.append(len(row.ids))
        self.learned.append(int(row.learned[1:].sum()))
        self.cut += row.cut > 0
        if not row.stops and not row.cut:
            self.endless.append(row.source)
        if not row.as_served:
            self.unserved.append(row.source)
        digest = hashlib.blake2b(row.ids.tobytes(), digest_size=12).digest()
        first = self._seen.setdefault(digest, row.source)
        if first != row.source:
            self.repeats.append(f"{row.source} = {first}")
        if len(self.samples) < SAMPLES:
            self.samples.append(Sample(row.source, parts_of(self.tokenizer, row)))

    def drop(self, row: Dropped) -> None:
        place = row.place + (f" ({row.detail})" if row.detail else "")
        self.dropped.setdefault(row.reason, []).append(place)


def parts_of(tokenizer: Tokenizer, row: Rendered) -> tuple[Part, ...]:
    """A row as text, cut where learning starts and stops."""
    edges = [0, *(np.flatnonzero(np.diff(row.learned)) + 1).tolist(), len(row.ids)]
    ids = row.ids.tolist()
    return tuple(
        (tokenizer.decode(ids[a:b], special=True), bool(row.learned[a]))
        for a, b in itertools.pairwise(edges)
        if b > a
    )


def survey_of(tokenizer: Tokenizer, rows: Iterable[Rendered], dropped: Iterable[Dropped]) -> Survey:
    """A survey of rows that are rendered already."""
    survey = Survey(tokenizer)
    for row in rows:
        survey.add(row)
    for lost in dropped:
        survey.drop(lost)
    return survey


def preflight(
    survey: Survey,
    model: str | Path | None = None,
    *,
    max_dropped: float = MAX_DROPPED,
    memory: Memory | None = None,
    available: int | None = None,
    seconds: float | None = None,
) -> Preflight:
    """What a survey found, judged; `check()` on it refuses.

    model: folder or GGUF file of the model that is trained, None = fresh weights. max_dropped: share of the
    rows that may be dropped. available: bytes this machine has for the run; more than that is a note, since
    what is estimated is not measured.
    """
    rows, kinds = len(survey.lengths), sorted(survey.dropped.items(), key=lambda kind: -len(kind[1]))
    dropped = tuple(Counted(why, len(places), tuple(places[:EXAMPLES])) for why, places in kinds)
    template = survey.tokenizer.template
    problems = [*_worth(rows, sum(survey.learned), dropped, max_dropped)]
    if model is not None:
        problems += hash_problems(survey.tokenizer, Path(model))
    notes = _notes(survey)
    if memory is not None and available is not None and memory.most > available:
        notes.append(
            f"about {memory.most / 1e9:.1f} GB of memory are needed, {available / 1e9:.1f} GB are there: "
            "fewer run.rows, run.checkpoint_activations or LoRA take less"
        )
    return Preflight(
        rows=rows,
        tokens=sum(survey.lengths),
        learned=sum(survey.learned),
        learned_per_row=_spread(survey.learned),
        lengths=_spread(survey.lengths),
        histogram=_histogram(survey.lengths),
        dropped=dropped,
        repeated=Counted("repeated", len(survey.repeats), tuple(survey.repeats[:EXAMPLES])),
        cut=survey.cut,
        notes=tuple(notes),
        problems=tuple(problems),
        samples=tuple(survey.samples),
        tokenizer_sha256=survey.tokenizer.hash,
        template_sha256=template.hash if template else None,
        memory=memory,
        seconds=seconds,
    )


def _worth(rows: int, learned: int, dropped: tuple[Counted, ...], max_dropped: float) -> list[str]:
    lost = sum(kind.count for kind in dropped)
    found = []
    if not learned:
        found.append(
            f"nothing would be learned: {rows} rows with no token of the assistant's, {lost} dropped"
        )
    if rows + lost and lost > max_dropped * (rows + lost):
        first = dropped[0]
        found.append(
            f"{lost} of {rows + lost} rows were dropped ({lost / (rows + lost):.1%}, {max_dropped:.1%} "
            f"allowed), {first.count} of them: {first.what}, the first at {first.examples[0]}; mend them, or "
            "allow more with data.max_dropped"
        )
    return found


def _notes(survey: Survey) -> list[str]:
    found = []
    if survey.endless:
        found.append(
            f"{len(survey.endless)} rows have an answer that does not end with a token the model stops at "
            f"({survey.endless[0]}): it would not learn to stop"
        )
    if survey.unserved:
        found.append(
            f"{len(survey.unserved)} rows have an answer behind a shorter header than serving sends "
            f"({survey.unserved[0]}): the template writes earlier turns so"
        )
    return found


def hash_problems(tokenizer: Tokenizer, model: Path) -> list[str]:
    """What differs between the tokenizer and template in use and those of a model's folder or GGUF file.

    New special tokens behind the model's own are no difference, nor is a template for a model without one.
    """
    own, about = load_tokenizer(model), _about(model)
    templates = tokenizer.template, own.template
    used = {"tokenizer": tokenizer.hash, "template": templates[0].hash if templates[0] else None}
    there = {"tokenizer": own.hash, "template": templates[1].hash if templates[1] else None}
    if _extends(tokenizer, own):
        used["tokenizer"] = own.hash
    if own.template is None:
        used["template"] = None
    found = []
    for what, hash in there.items():
        if used[what] != hash:
            found.append(
                f"{what}: the rows' is {_short(used[what])}, that of {model} is {_short(hash)}; render with "
                "the model's own"
            )
        stated = about.get(f"{what}_sha256", hash)
        if stated != hash:
            found.append(
                f"{what}: tokenloom.json of {model} names {_short(stated)}, its files make {_short(hash)}: "
                "they were changed after the model was saved"
            )
    return found


def _extends(tokenizer: Tokenizer, own: Tokenizer) -> bool:
    """Whether a tokenizer is another with special tokens behind it."""
    new = sorted((id, text) for text, id in tokenizer.special.items() if id >= own.vocab_size)
    return bool(new) and own.with_special([text for _, text in new]).hash == tokenizer.hash


def _short(hash: str | None) -> str:
    return "none" if hash is None else f"{hash[:12]}..."


def _about(model: Path) -> Mapping[str, Any]:
    """tokenloom.json of a model's folder; empty where there is none."""
    file = model / "tokenloom.json"
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not JSON: {error}") from error
    return value if isinstance(value, dict) else {}


def _spread(values: list[int]) -> Spread:
    if not values:
        return Spread()
    return Spread(min(values), int(np.median(values)), max(values))


def _histogram(lengths: list[int], bars: int = 10) -> tuple[tuple[int, int, int], ...]:
    if not lengths:
        return ()
    most = max(lengths) + 1
    width = -(-most // bars)
    counts = np.bincount(np.array(lengths) // width, minlength=1)
    return tuple((k * width, (k + 1) * width, int(n)) for k, n in enumerate(counts))
