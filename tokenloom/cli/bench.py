"""`loom bench`: how fast this machine is, beside other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    http: Annotated[
        bool, typer.Option("--http", help="Measure streams over HTTP beside the engine alone instead.")
    ] = False,
    quality: Annotated[
        Path | None,
        typer.Option(help="Measure on this text file what the native step's rounding costs instead."),
    ] = None,
    training: Annotated[
        bool, typer.Option("--training", help="Measure training beside transformers instead.")
    ] = False,
    codec: Annotated[
        bool, typer.Option("--codec", help="Measure a codec's training beside a plain PyTorch loop instead.")
    ] = False,
    packing: Annotated[
        Path | None,
        typer.Option(help="Measure on this file of conversations what packing saves a fine-tune instead."),
    ] = None,
    data: Annotated[
        bool,
        typer.Option("--data", help="Measure the preparation of data, with one worker and two, instead."),
    ] = False,
    sound: Annotated[
        Path | None,
        typer.Option(help="Measure speech, with sentences of this text file, and composing instead."),
    ] = None,
    recogniser: Annotated[
        str | None,
        typer.Option(
            help="With --sound: who writes down what is said, by name or folder; without it the one that is "
            "here.",
            show_default=False,
        ),
    ] = None,
    decode: Annotated[int, typer.Option(help="Tokens to write per stream.")] = 128,
    streams: Annotated[int, typer.Option(help="Streams that run together.")] = 16,
    prompt: Annotated[int, typer.Option(help="Tokens of the long prompt.")] = 500,
    ledger: Annotated[Path, typer.Option(help="The result is appended to this file.")] = Path("ledger.jsonl"),
) -> None:
    """Measure decoding, many streams, reading a prompt, cold start and memory, beside other programs.

    The last line of the output is one JSON object with all figures. Close other programs first.
    """
    from tokenloom.bench import compare

    def say(line: str) -> None:
        print(line, flush=True)

    if quality is not None:
        from tokenloom.bench import quality as measure

        _note(ledger, measure.run(quality, model, say=say))
        return
    if http:
        from tokenloom.bench import http as over

        _note(ledger, over.run(model, streams=streams, new=decode, rounds=rounds, say=say))
        return
    if training or packing is not None:
        from tokenloom.bench import training as trained

        if packing is not None:
            _note(ledger, trained.packing(str(packing), model, say=say))
        else:
            _note(ledger, trained.run(rounds=rounds, threads=threads, say=say))
        return
    if codec:
        from tokenloom.bench import codec as pictures

        _note(ledger, pictures.run(rounds=rounds, threads=threads, say=say))
        return
    if sound is not None:
        from tokenloom.bench import sound as sounds

        _note(ledger, sounds.run(sound, rounds=rounds, recogniser=recogniser, say=say))
        return
    if data:
        from tokenloom.bench import data as prepared

        _note(ledger, prepared.run(rounds=rounds, say=say))
        return
    compare.run(
        model,
        peer or None,
        rounds=rounds,
        threads=threads,
        setup=setup,
        base=base,
        sizes=compare.Sizes(decode=decode, streams=streams, prompt=prompt),
        ledger=ledger,
        say=say,
    )


def _note(ledger: Path, result: dict[str, Any]) -> None:
    """The figures as one JSON line, with what they were measured on: said, and added to the ledger."""
    import json

    from tokenloom.bench.compare import commit, machine

    line = json.dumps({**result, "commit": commit(), "machine": machine()}, ensure_ascii=False)
    with ledger.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)
