"""`loom image eval` and `loom image judge`: how good a picture model is, and how good its judge."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.evals.picture_artist import Artist
    from tokenloom.evals.picture_drawn import Draw

_SPRITES = Annotated[
    Path, typer.Option("--sprites", help="The folder of sprites, as `loom data sprites` makes it.")
]


def image_eval(
    model: Annotated[str, typer.Argument(help="A picture model's name or folder.")],
    sprites: _SPRITES,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder for pictures.json, pictures.md and the sheets.")
    ] = Path("picture-report"),
    guidance: Annotated[
        float | None,
        typer.Option(
            help="Of drawings and edits. When not given as the model recommends; another style is drawn as "
            "`loom restyle` does it.",
            show_default=False,
            min=0,
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="When not given as the model recommends.", show_default=False, min=0)
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="When not given as the model recommends.", show_default=False, min=0)
    ] = None,
    share: Annotated[
        float,
        typer.Option(help="Only this share of the pictures of each part: a quick look.", min=0.02, max=1.0),
    ] = 1.0,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Also draw with other guidance, temperatures and top-k.")
    ] = False,
    judge: Annotated[
        Path | None,
        typer.Option(help="A judge's folder; else the model's own.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 1,
    ledger: Annotated[Path, typer.Option(help="The result is appended to this file.")] = Path("ledger.jsonl"),
) -> None:
    """Measure a picture model: reconstruction, drawing, restyling, describing and editing, beside real
    pictures.

    Every share comes with a 95 % interval, its chance and the judge's own score on real pictures. Sheets show
    real, rebuilt and drawn pictures side by side. The last line of the output is JSON.
    """
    from tokenloom.data.sprites import open_sprites
    from tokenloom.engine.judge import open_judge
    from tokenloom.evals import ledger as lines
    from tokenloom.evals.open import open_model
    from tokenloom.evals.picture_report import lines as told
    from tokenloom.evals.picture_report import write_report
    from tokenloom.evals.picture_suite import measure

    found = open_sprites(sprites)
    begun = time.perf_counter()
    with closing(open_model(model)) as opened:
        artist = _artist(opened, guidance, temperature, top_k)
        sees = open_judge(judge or opened.path / "judge")
        about = {
            "model": opened.name,
            "codec": artist.codec.sha256[:12],
            "codes of a picture": artist.codec.per_picture,
            "guidance": artist.guidance,
            "sampling": f"temperature {artist.sampling.temperature:g}, top-k {artist.sampling.top_k}, "
            f"top-p {artist.sampling.top_p:g}",
            "seed": seed,
        }
        ways = _ways(artist) if sweep else None
        with _stages() as stage:
            made = measure(
                artist, artist.codec, sees, found, _sizes(share), ways=ways, stage=stage, seed=seed
            )
    about["minutes"] = round((time.perf_counter() - begun) / 60, 1)
    files = write_report(out, made, f"How good {opened.name} is", about)
    for file in files:
        typer.echo(str(file))
    facts = {"about": about, "figures": dict(told(made.facts))}
    typer.echo(json.dumps(lines.append(ledger, "image eval", facts), ensure_ascii=False))


def image_judge(
    judge: Annotated[Path, typer.Argument(help="A judge's folder, or that of a picture model that has one.")],
    sprites: _SPRITES,
    n: Annotated[int, typer.Option("--n", help="Pictures of each set.", min=40)] = 500,
) -> None:
    """Measure a judge on real pictures: does it find the right caption among 20, and the style among three?

    Chance is 5 % and a third. That score is the yardstick of all that it says of drawn pictures. The last
    line of the output is JSON.
    """
    from tokenloom.data.sprites import open_sprites
    from tokenloom.engine.judge import open_judge
    from tokenloom.evals.picture_suite import measure_judge, measure_styles

    inner = judge / "judge"
    opened, shown = open_judge(inner if inner.is_dir() else judge), open_sprites(sprites)
    facts, styles = measure_judge(opened, shown, n), measure_styles(opened, shown, n)
    rows = {name: part["right_among_20"] for name, part in facts.items()}
    rows |= {f"the style of {name}": part for name, part in styles.items() if name != "chance"}
    for name, right in rows.items():
        typer.echo(f"{name}: {right['value']:.1%} [{right['low']:.1%}, {right['high']:.1%}] of {right['n']}")
    typer.echo(json.dumps({"what": "image judge", **facts, "styles": styles}, ensure_ascii=False))


def _artist(opened: Any, guidance: float | None, temperature: float | None, top_k: int | None) -> Artist:
    """The opened model with its codec, drawing as asked, or as its makers recommend."""
    from tokenloom.codec.folder import open_codec
    from tokenloom.engine.request import Sampling
    from tokenloom.evals.picture_artist import Artist
    from tokenloom.tasks.pictures import GUIDANCE, Painter

    painter = Painter.open(opened.path, opened.name)
    hint = painter.sampling
    sampling = Sampling(
        temperature=hint.get("temperature", 1.0) if temperature is None else temperature,
        top_k=int(hint.get("top_k", 0)) if top_k is None else top_k,
        top_p=hint.get("top_p", 1.0),
    )
    strength = hint.get("guidance_scale", GUIDANCE) if guidance is None else guidance
    return Artist(opened.core, painter.tokens, open_codec(opened.path / "codec"), strength, sampling)


def _ways(artist: Artist) -> dict[str, Draw]:
    """Ways to draw beside the one that is measured: one thing changed at a time."""
    from dataclasses import replace

    plain = artist.sampling
    ways: dict[str, Draw] = {f"guidance {artist.guidance:g}, {_said(artist)}": artist.draw}
    for guidance in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0):
        ways[f"guidance {guidance:g}, {_said(artist)}"] = artist.at(guidance).draw
    for temperature in (0.7, 0.85, 1.0):
        other = artist.at(sampling=replace(plain, temperature=temperature))
        ways[f"guidance {artist.guidance:g}, {_said(other)}"] = other.draw
    for top_k in (0, 50, 200):
        other = artist.at(sampling=replace(plain, top_k=top_k))
        ways[f"guidance {artist.guidance:g}, {_said(other)}"] = other.draw
    return ways


def _said(artist: Artist) -> str:
    sampling = artist.sampling
    return f"temperature {sampling.temperature:g}, top-k {sampling.top_k or 'off'}"


def _sizes(share: float) -> Any:
    """The suite's sizes, or a share of them; never so few that 20 captions cannot differ."""
    from dataclasses import asdict

    from tokenloom.evals.picture_suite import Sizes

    whole = asdict(Sizes())
    sheet = whole.pop("sheet")
    return Sizes(**{name: max(40, round(n * share)) for name, n in whole.items()}, sheet=sheet)


def _stages() -> Any:
    """A line on stderr that says what is being measured, where that is a terminal; else one line each."""
    from contextlib import contextmanager

    from rich.console import Console

    @contextmanager
    def showing() -> Any:
        console = Console(stderr=True)
        with console.status("opening") as status:

            def stage(name: str) -> None:
                if console.is_terminal:
                    status.update(name)
                else:
                    console.print(name)

            yield stage

    return showing()
