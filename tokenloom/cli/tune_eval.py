"""`loom eval-tunes`: how well a composer foretells held-out tunes, and whether it composes what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tokenloom.sound.score import Score


def tune_eval(
    model: Annotated[str, typer.Argument(help="The composer: a name, or its folder.")],
    tunes: Annotated[Path, typer.Option("--tunes", help="The folder that `loom data tunes` wrote.")] = Path(
        "tunes"
    ),
    n: Annotated[int, typer.Option("--n", help="Tunes to compose.", min=1)] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest event.", min=0)] = 1.0,
    top_p: Annotated[
        float, typer.Option(help="The likeliest events that make this share.", min=0, max=1)
    ] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the wishes and the tunes.")] = 1,
    drafts: Annotated[
        int, typer.Option(help="Drafts of each tune, of which one in the asked key is kept.", min=1, max=8)
    ] = 4,
    rolls: Annotated[
        Path | None,
        typer.Option(help="A folder for the first tunes as MIDI and as piano rolls.", show_default=False),
    ] = None,
    shown: Annotated[int, typer.Option(help="Tunes that go there.", min=1)] = 8,
) -> None:
    """Measure a composer on tunes kept out of its training, and on tunes composed as those ask for.

    Nats for each event beside a 5-gram model over the same events; shares in the asked key, metre and number
    of bars; the overlap of pitches and durations with real tunes; the longest run of notes out of a training
    tune. The last line of the output is JSON.
    """
    import json

    from rich.console import Console
    from rich.progress import Progress

    from tokenloom.data.tune_set import open_tunes, split_tunes
    from tokenloom.engine.request import Sampling
    from tokenloom.evals.music import report
    from tokenloom.evals.open import open_model
    from tokenloom.tokens.music import MusicTokens

    real = split_tunes(open_tunes(tunes))
    sampling = Sampling(temperature=temperature, top_p=top_p)
    with (
        open_model(model) as opened,
        Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("composing", total=n)
        facts, made = report(
            opened,
            real,
            MusicTokens.open(opened.path),
            sampling,
            n=n,
            seed=seed,
            drafts=drafts,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
        name = opened.name
    if rolls is not None:
        _write(rolls, [score for _, score in made[:shown]])
    settings = {"temperature": temperature, "top_p": top_p, "seed": seed}
    typer.echo(json.dumps({"what": "eval tunes", "model": name, **settings, **facts}, ensure_ascii=False))


def _write(folder: Path, scores: list[Score]) -> None:
    from dataclasses import replace

    from tokenloom.sound.midi import write_midi
    from tokenloom.sound.roll import roll

    folder.mkdir(parents=True, exist_ok=True)
    for at, score in enumerate(scores, 1):
        _, tonic, mode = score.keys[0]
        titled = replace(score, title=f"{score.kind or 'tune'} in {tonic} {mode}")
        (folder / f"tune-{at}.mid").write_bytes(write_midi(titled))
        roll(titled).save(folder / f"tune-{at}.png")
