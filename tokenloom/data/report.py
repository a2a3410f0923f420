"""What cleaning did: counts, reasons, examples; as JSON, Markdown or a table. Not the cleaning itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = 3
"""Examples kept for each reason of each step."""
SHOWN = 160
"""Characters of a text that an example shows."""


@dataclass
class Example:
    """A document that was dropped, or changed: its place and the beginning of its text."""

    reason: str
    source: str
    text: str
    detail: str = ""


@dataclass
class StepCount:
    """What one step did."""

    title: str = ""
    seen: int = 0
    dropped: int = 0
    changed: int = 0
    characters_dropped: int = 0
    """In the documents it dropped."""
    characters_changed: int = 0
    """Fewer (or, below zero, more) in those it changed."""
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    def drop(self, reason: str, source: str, text: str, detail: str = "") -> None:
        self.dropped += 1
        self.characters_dropped += len(text)
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self._example(Example(reason, source, shorten(text), detail))

    def change(self, source: str, before: str, after: str) -> None:
        self.changed += 1
        self.characters_changed += len(before) - len(after)
        self._example(Example("changed", source, difference(before, after)))

    def _example(self, example: Example) -> None:
        if sum(e.reason == example.reason for e in self.examples) < EXAMPLES:
            self.examples.append(example)

    def add(self, other: StepCount) -> None:
        self.title = self.title or other.title
        for name in ("seen", "dropped", "changed", "characters_dropped", "characters_changed", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        for example in other.examples:
            self._example(example)


@dataclass
class Report:
    """What a whole run did; adding the reports of its batches in order gives the same for any workers."""

    steps: dict[str, StepCount] = field(default_factory=dict)
    documents_in: int = 0
    characters_in: int = 0
    bytes_in: int = 0
    documents_out: int = 0
    characters_out: int = 0
    bytes_out: int = 0
    held_out: int = 0
    """Of the documents out, those that training does not see."""
    languages: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of the documents out: language -> documents, characters."""
    scrubbed: dict[str, int] = field(default_factory=dict)
    """Kind of private data -> times taken out."""
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    bad: int = 0
    bad_examples: list[str] = field(default_factory=list)
    """Records that could not be read, with place and reason."""
    seconds: float = 0.0
    workers: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    """Hashes of what the set was made from and how."""

    def step(self, name: str, title: str = "") -> StepCount:
        return self.steps.setdefault(name, StepCount(title))

    def come(self, text: str) -> None:
        """Counts a document that was read."""
        self.documents_in += 1
        self.characters_in += len(text)
        self.bytes_in += len(text.encode("utf-8", "surrogatepass"))

    def stay(self, text: str, language: str) -> None:
        """Counts a document that is written."""
        self.documents_out += 1
        self.characters_out += len(text)
        self.bytes_out += len(text.encode())
        if language:
            count = self.languages.setdefault(language, {"documents": 0, "characters": 0})
            count["documents"] += 1
            count["characters"] += len(text)

    def add(self, other: Report) -> None:
        """Adds the counts of a batch."""
        for name, count in other.steps.items():
            self.step(name, count.title).add(count)
        for name in ("documents_in", "characters_in", "bytes_in", "documents_out", "characters_out"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("bytes_out", "held_out", "bad"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, times in other.scrubbed.items():
            self.scrubbed[kind] = self.scrubbed.get(kind, 0) + times
        for language, facts in other.languages.items():
            mine = self.languages.setdefault(language, {"documents": 0, "characters": 0})
            for key, value in facts.items():
                mine[key] += value

    @property
    def mb_per_second(self) -> float:
        """Megabytes read per second of wall time, all workers together."""
        return self.bytes_in / 1e6 / self.seconds if self.seconds else 0.0

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "mb_per_second": round(self.mb_per_second, 3)}


def report_of(facts: Mapping[str, Any]) -> Report:
    """The report that `Report.facts` came from."""
    values = {k: v for k, v in facts.items() if k != "mb_per_second"}
    values["steps"] = {
        name: StepCount(**{**count, "examples": [Example(**e) for e in count["examples"]]})
        for name, count in values.get("steps", {}).items()
    }
    return Report(**values)


def shorten(text: str, size: int = SHOWN) -> str:
    """The beginning of a text on one line."""
    flat = " ".join(text[: 4 * size].split())
    return flat if len(flat) <= size and len(text) <= 4 * size else flat[:size].rstrip() + " …"


def difference(before: str, after: str) -> str:
    """Where two texts begin to differ: "…before -> …after"."""
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(after))
    start = max(0, at - 20)
    return " → ".join(repr(t[start : start + SHOWN // 2]) for t in (before, after))


def markdown(report: Report) -> str:
    """The report as a page."""
    lines = ["# Data report", "", *_summary(report), "", "## Steps", ""]
    lines += [
        "| step | seen | dropped | changed | characters less | reasons |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, count in report.steps.items():
        less = count.characters_dropped + count.characters_changed
        lines.append(
            f"| {name} | {count.seen:,} | {count.dropped:,}{_share(count)} | {count.changed:,} | {less:,} "
            f"| {_counts(count.reasons)} |"
        )
    lines += ["", "## Where each step comes from", ""]
    lines += [f"- **{name}**: {count.title}" for name, count in report.steps.items() if count.title]
    lines += ["", "## Examples", ""]
    for name, count in report.steps.items():
        if count.examples:
            lines += [f"### {name}", ""]
            lines += [f"- {_example(e)}" for e in count.examples] + [""]
    if report.bad_examples:
        lines += ["## Records that could not be read", ""]
        lines += [f"- {_plain(each)}" for each in report.bad_examples] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _summary(report: Report) -> Iterable[str]:
    out = report.documents_out / report.documents_in if report.documents_in else 0.0
    yield f"- Read: {report.documents_in:,} documents, {_size(report.characters_in, report.bytes_in)}"
    yield f"- Stay: {report.documents_out:,} ({out:.1%}), {_size(report.characters_out, report.bytes_out)}"
    yield f"- Held out: {report.held_out:,} document{'' if report.held_out == 1 else 's'}"
    languages = sorted(report.languages.items(), key=lambda pair: -pair[1]["documents"])
    yield "- Languages: " + (", ".join(f"{k} {v['documents']:,}" for k, v in languages) or "not identified")
    yield "- Private data taken out: " + (_counts(report.scrubbed) or "none")
    for each in report.evaluations:
        yield f"- Kept out: {each['name']}, {each['items']:,} items ({each['too_short']:,} too short to find)"
    yield f"- Records that could not be read: {report.bad:,}"
    rate = f"{report.mb_per_second:.2f} MB/s with {report.workers} workers"
    yield f"- Time: {report.seconds:,.1f} s, {rate if report.workers != 1 else rate[:-1]}"


def _size(characters: int, n_bytes: int) -> str:
    return f"{characters:,} characters, {n_bytes:,} bytes"


def _share(count: StepCount) -> str:
    return f" ({count.dropped / count.seen:.1%})" if count.dropped else ""


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)


def _example(example: Example) -> str:
    detail = f" ({_plain(example.detail)})" if example.detail else ""
    return f"{example.reason}{detail}, {_plain(example.source)}: {_plain(example.text)}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join("\\" + c if c in "\\`*_[]<>|#" else c for c in text)


def show(report: Report, console: Console) -> None:
    """The report as a table on a terminal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("step", "seen", "dropped", "changed", "characters less", "reasons"):
        left = title in ("step", "reasons")
        table.add_column(title, justify="left" if left else "right", overflow="fold")
    for name, count in report.steps.items():
        less = count.characters_dropped + count.characters_changed
        cells = (f"{count.seen:,}", f"{count.dropped:,}{_share(count)}", f"{count.changed:,}", f"{less:,}")
        table.add_row(name, *cells, _counts(count.reasons), style="" if count.dropped else "dim")
    console.print(table)
    for line in _summary(report):
        console.print(line.removeprefix("- "), markup=False, highlight=False)
