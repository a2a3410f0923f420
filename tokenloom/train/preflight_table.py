"""A preflight as a terminal shows it: rows with the learned tokens coloured, then the counts.

Not the counting: preflight.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tokenloom.train.progress import duration

if TYPE_CHECKING:
    from tokenloom.train.preflight import Preflight, Sample

LEARNED, GIVEN = "bold green", "dim"
MOST_CHARS = 2000
"""Of one sample."""


def table(found: Preflight) -> RenderableType:
    """See `Preflight.table`."""
    parts: list[RenderableType] = [_sample(sample) for sample in found.samples]
    parts += [_counts(found)]
    if found.histogram:
        parts.append(_histogram(found))
    if found.memory is not None:
        parts.append(_memory(found))
    parts += [Text(f"Note: {note}", style="yellow") for note in found.notes]
    parts += [Text(f"Refused: {problem}", style="bold red") for problem in found.problems]
    return Group(*parts)


def _sample(sample: Sample) -> RenderableType:
    text, left = Text(), MOST_CHARS
    for words, learned in sample.parts:
        text.append(words[:left], style=LEARNED if learned else GIVEN)
        left -= len(words)
        if left <= 0:
            text.append(" ...")
            break
    return Panel(text, title=Text(f"{sample.source}: green is learned"), title_align="left")


def facts_table(facts: Mapping[str, str]) -> RenderableType:
    """What a run is, a fact a line; the values are taken letter by letter."""
    rows = Table(show_header=False, box=None, pad_edge=False)
    for name, value in facts.items():
        rows.add_row(Text(name, style="bold"), Text(value))
    return rows


def _counts(found: Preflight) -> RenderableType:
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column()
    share = f" ({found.learned / found.tokens:.0%})" if found.tokens else ""
    each, size = found.learned_per_row, found.lengths
    grid.add_row("rows", f"{found.rows:,}")
    grid.add_row("tokens", f"{found.tokens:,}, learned {found.learned:,}{share}")
    grid.add_row("learned per row", f"{each.least:,} least, {each.median:,} median, {each.most:,} most")
    grid.add_row("length", f"{size.least:,} least, {size.median:,} median, {size.most:,} most")
    grid.add_row("dropped", f"{found.n_dropped:,}")
    for kind in found.dropped:
        grid.add_row("", Text(f"{kind.count:,} {kind.what}: {', '.join(kind.examples)}"))
    if found.cut:
        grid.add_row("cut at the end", f"{found.cut:,}")
    examples = f": {', '.join(found.repeated.examples)}" if found.repeated.count else ""
    grid.add_row("repeated", Text(f"{found.repeated.count:,}{examples}"))
    grid.add_row("tokenizer", found.tokenizer_sha256[:16])
    grid.add_row("template", (found.template_sha256 or "none")[:16])
    if found.seconds is not None:
        grid.add_row("time", f"about {duration(found.seconds)}")
    return grid


def _histogram(found: Preflight) -> RenderableType:
    grid = Table(box=None, pad_edge=False)
    grid.add_column("tokens in a row", justify="right")
    grid.add_column("rows", justify="right")
    grid.add_column()
    most = max(count for _, _, count in found.histogram)
    for low, high, count in found.histogram:
        grid.add_row(f"{low:,} to {high - 1:,}", f"{count:,}", "█" * -(-count * 40 // most))
    return grid


def _memory(found: Preflight) -> RenderableType:
    assert found.memory is not None
    memory = found.memory
    grid = Table(box=None, pad_edge=False)
    grid.add_column("memory (estimated)")
    grid.add_column("MB", justify="right")
    for name in ("weights", "gradients", "optimizer", "activations", "logits", "program", "heap"):
        grid.add_row(name, f"{getattr(memory, name) / 1e6:,.0f}")
    grid.add_row("largest at one time", f"{memory.peak / 1e6:,.0f}", style="bold")
    grid.add_row("while resuming", f"{memory.resume / 1e6:,.0f}")
    return grid
