"""`loom bench`: how fast this machine is, beside other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    model: Annotated[str, typer.Option(help="The model to measure.")] = "smollm2",
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure only this one (may be given again); without it all are.", show_default=False
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds; the median of each figure is told.")] = 5,
    threads: Annotated[
        int | None, typer.Option(help="Threads of each; without it the machine's cores.", show_default=False)
    ] = None,
    setup: Annotated[
        bool, typer.Option("--setup", help="First install what the others need, each in its own environment.")
    ] = False,
    base: Annotated[
        str, typer.Option(help="Whose figures the ratios are of: tokenloom, or tokenloom-torch for PyTorch.")
    ] = "tokenloom",
    decode: Annotated[int, typer.Option(help="Tokens to write per stream.")] = 128,
    streams: Annotated[int, typer.Option(help="Streams that run together.")] = 16,
    prompt: Annotated[int, typer.Option(help="Tokens of the long prompt.")] = 500,
    ledger: Annotated[Path, typer.Option(help="The result is appended to this file.")] = Path("ledger.jsonl"),
) -> None:
    """Measure decoding, many streams, reading a prompt, cold start and memory, beside other programs.

    The last line of the output is one JSON object with all figures. Close other programs first.
    """
    from tokenloom.bench.compare import Sizes, run

    run(
        model,
        peer or None,
        rounds=rounds,
        threads=threads,
        setup=setup,
        base=base,
        sizes=Sizes(decode=decode, streams=streams, prompt=prompt),
        ledger=ledger,
        say=lambda line: print(line, flush=True),
    )
