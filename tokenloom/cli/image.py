"""`loom image encode`, `decode`, `outlines` and `score`: a codec by itself, without the model that draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from tokenloom.codec.folder import Codec

_CODEC = Annotated[
    str, typer.Option("--codec", help="A codec's folder, or a picture model's name or folder, which has one.")
]
PAINTER = "painter"


def encode(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG, WebP, GIF or BMP.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="The JSON file of codes to write.")] = Path(
        "codes.json"
    ),
    codec: _CODEC = PAINTER,
) -> None:
    """Say pictures in codes, 64 whole numbers for one of 64 pixels.

    Each picture is made to fit the codec's square with clear margins. The file names the codec by its sha256,
    and only that one can decode it.
    """
    import numpy as np

    from tokenloom.config import put_json
    from tokenloom.tasks.pictures_in import fit_picture, open_picture, read_picture

    opened = open_named(codec)
    some = [fit_picture(open_picture(read_picture(p), str(p)), opened.size) for p in pictures]
    codes = opened.encode(np.stack(some))
    facts = {"codec": opened.sha256, "size": opened.size, "depth": opened.depth, "codes": codes.tolist()}
    put_json(out, facts)
    typer.echo(f"{len(codes)} x {opened.per_picture} codes: {out}")


def decode(
    codes: Annotated[Path, typer.Argument(help="A JSON file that loom image encode wrote.")],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The picture to write; several become out-1.png, out-2.png and so on."
        ),
    ] = Path("decoded.png"),
    codec: _CODEC = PAINTER,
    size: Annotated[
        int, typer.Option(help="Pixels along a side of the file, 64 to 1024; 0 is the codec's own.")
    ] = 0,
) -> None:
    """Make pictures of codes again. The files carry the hidden label of what a model has made."""
    import numpy as np

    from tokenloom.cli.codes import read_codes
    from tokenloom.tasks.pictures_out import deliver, kind_of
    from tokenloom.tasks.places import check_place, numbered, write

    kind = kind_of(out)
    check_place(out)
    opened = open_named(codec)
    rows = read_codes(codes, opened.sha256, "image", lambda facts: facts["codes"])
    if odd := [row for row in rows if row.shape != (opened.per_picture,)]:
        raise ValueError(f"{codes}: found {odd[0].size} codes of a picture; allowed: {opened.per_picture}")
    made = [
        deliver(picture, size=size or opened.size, kind=kind, visible=False)
        for picture in opened.decode(np.stack(rows))
    ]
    for place, data in zip(numbered(out, len(made)), made, strict=True):
        write(place, data)
    typer.echo(f"{len(made)} pictures of {size or opened.size} pixels: {out.parent or '.'}")


def outlines(
    package: Annotated[Path, typer.Argument(help="The package @discordapp/twemoji, unpacked.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="The .npy file to write.")] = Path(
        "outlines.npy"
    ),
    copies: Annotated[
        int, typer.Option(help="Drawings of each emoji, with lines of other widths.", min=1)
    ] = 2,
    seed: Annotated[int, typer.Option(help="The same seed makes the same drawings.")] = 0,
) -> None:
    """Draw flat emoji with dark outlines, so that a codec meets another hand.

    They are named as pictures.further in its recipe. Emoji that are held out are left out.
    """
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress

    from tokenloom.config import new_file
    from tokenloom.data.outlines import outlined_pictures

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("drawing")
        found = outlined_pictures(
            package, copies, seed, lambda done, of: bar.update(task, completed=done, total=of)
        )
    with new_file(out) as beside, beside.open("wb") as file:
        np.save(file, found)
    typer.echo(f"{len(found)} drawings: {out}")


def score(
    sprites: Annotated[Path, typer.Argument(help="The folder of sprites, as `loom data sprites` makes it.")],
    codec: _CODEC = PAINTER,
    n: Annotated[int, typer.Option("--n", help="Pictures of each kind.", min=1)] = 500,
    scenes: Annotated[
        int, typer.Option(help="Composed scenes of held-out combinations; 64-pixel codecs only.", min=0)
    ] = 200,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Also draw real pictures above what is made of them.", show_default=False),
    ] = None,
) -> None:
    """Measure a codec on emoji kept out of its training, on the unseen style and on composed scenes.

    PSNR and SSIM over white, use of the codes, and pictures a second. The last line of the output is JSON.
    """
    from tokenloom.data.picture_splits import emoji_held_out
    from tokenloom.data.picture_words import UNSEEN_STYLE
    from tokenloom.data.scenes import compose
    from tokenloom.data.sprites import open_sprites
    from tokenloom.train.pictures import SCENE_SIDE

    opened, found = open_named(codec), open_sprites(sprites)
    rows = list(enumerate(found.sprites))
    kinds = {
        "held_out": [i for i, s in rows if s.style != UNSEEN_STYLE and emoji_held_out(s.hexcode)],
        "unseen_style": [i for i, s in rows if s.style == UNSEEN_STYLE],
        "unseen_both": [i for i, s in rows if s.style == UNSEEN_STYLE and emoji_held_out(s.hexcode)],
    }
    sets = {
        name: [_fitted(found.pixels(i), opened.size) for i in _spread(of, n)] for name, of in kinds.items()
    }
    if scenes and opened.size != SCENE_SIDE:
        raise ValueError(
            f"--scenes: found {scenes}; scenes are {SCENE_SIDE} pixels wide, the codec's pictures "
            f"{opened.size}: give --scenes 0"
        )
    sets["scenes"] = [compose(found, 1, i, "combinations").pixels for i in range(scenes)]
    facts: dict[str, Any] = {"what": "image score", "codec": opened.sha256}
    shown: list[np.ndarray] = []
    for name, pictures in sets.items():
        if pictures:
            facts[name], pair = _scored(opened, pictures)
            shown.append(pair)
            typer.echo(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in facts[name].items()))
    if sheet is not None:
        _sheet(shown, sheet)
    typer.echo(json.dumps(facts))


def _scored(codec: Codec, pictures: list[np.ndarray]) -> tuple[dict[str, float], np.ndarray]:
    """Figures, and some real pictures above what was made of them: (2, M, S, S, 4)."""
    import time

    import numpy as np

    from tokenloom.evals.pictures import code_use, mean_db, ms_ssim, psnr, ssim

    real = np.stack(pictures)
    codec.decode(codec.encode(real[:1]))  # the first one also sets up
    begun = time.perf_counter()
    codes = codec.encode(real)
    halfway = time.perf_counter()
    made = codec.decode(codes)
    ended = time.perf_counter()
    use = code_use(codes, codec.n_codes)
    figures = {
        "n": len(real),
        "psnr": mean_db(psnr(real, made)),
        "ssim": float(ssim(real, made).mean()),
        "ms_ssim": float(ms_ssim(real, made).mean()),
        "code_use": use.used,
        "perplexity": use.perplexity,
        "encode_pictures_s": len(real) / (halfway - begun),
        "decode_pictures_s": len(real) / (ended - halfway),
    }
    some = np.linspace(0, len(real) - 1, min(16, len(real))).astype(int)
    return figures, np.stack([real[some], made[some]])


def _spread(rows: list[int], n: int) -> list[int]:
    import numpy as np

    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int)]


def _fitted(sprite: np.ndarray, size: int) -> np.ndarray:
    from tokenloom.train.pictures import resized

    return resized(sprite, size)


def _sheet(pairs: list[np.ndarray], out: Path) -> None:
    """Each kind's real pictures in a row above what was made of them, over white."""
    import numpy as np
    from PIL import Image

    from tokenloom.codec.pixels import flatten

    rows = [np.concatenate(list(flatten(row)), 1) for pair in pairs for row in pair]
    wide = max(row.shape[1] for row in rows)
    whole = [np.pad(r, ((0, 4), (0, wide - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    picture = np.concatenate(whole)
    Image.fromarray(picture).resize((2 * wide, 2 * len(picture)), Image.Resampling.NEAREST).save(out)


def open_named(name: str) -> Codec:
    """A codec's folder, or that of a picture model's folder or name. Raises ValueError, FileNotFoundError."""
    from tokenloom.cli.codes import codec_place
    from tokenloom.codec.folder import open_codec
    from tokenloom.hub.card import CODEC

    return open_codec(codec_place(name, CODEC))
