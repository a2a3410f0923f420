"""A model of this machine made ready for evaluation: its core, its tokenizer, what scores and what writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenloom.evals.score import CoreScorer
from tokenloom.evals.write import CoreWriter

if TYPE_CHECKING:
    from pathlib import Path

    from tokenloom.engine.core import Core
    from tokenloom.tokens.text import Tokenizer

ADAPTER = "adapter"
"""What the adapter under evaluation is called in the core."""


@dataclass(frozen=True)
class Opened:
    """A model made ready for evaluation."""

    name: str
    path: Path
    core: Core
    tokenizer: Tokenizer
    scorer: CoreScorer
    writer: CoreWriter

    def close(self) -> None:
        self.core.close()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_model(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    n_slots: int | None = None,
    context: int | None = None,
    adapter: str | Path | None = None,
) -> Opened:
    """A model of this machine by name, folder or file. ValueError or OSError for what cannot be opened.

    dtype, device, n_slots, context: as in `engine.load.prepare`. adapter: the folder of a LoRA adapter to
    evaluate on top of it.
    """
    from tokenloom import hub
    from tokenloom.engine.load import prepare
    from tokenloom.tokens.text import load_tokenizer

    found = hub.find(str(name))
    tokenizer = load_tokenizer(found.path)
    named = {} if adapter is None else {ADAPTER: str(adapter)}
    plan = prepare(found.path, dtype=dtype, device=device, n_slots=n_slots, context=context, adapters=named)
    core, use = plan.open(), ADAPTER if named else None
    scorer, writer = CoreScorer(core, use), CoreWriter(core, tokenizer, adapter=use)
    return Opened(found.name, found.path, core, tokenizer, scorer, writer)
