"""The measured table of a picture model as Markdown, and sheets of real, rebuilt and drawn pictures as PNG.

Not the measuring (picture_suite): this reads its JSON values, so a table can be written again without a
model. Each line says what is asked for where a bound is stated; bounds are those the package's own model is
held to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.config import json_text, put_text
from tokenloom.data.contact_sheet import write_sheet
from tokenloom.evals.picture_suite import Found, Sheet

Facts = Mapping[str, Any]
DRAWN_BOUND = 0.70
"""Right captions of drawn pictures as a share of the judge's own score on real ones; not for unseen emoji."""
CHECKED_BOUND, RESTYLED_BOUND, DESCRIBED_BOUND, USED_BOUND = 0.60, 0.75, 0.70, 0.90
DECIBELS = {64: 22.5, 128: 22.5, 256: 28.0}
"""PSNR asked for by codes of a picture: 8x8 places with one code or two, 16x16 places."""


def write_report(folder: Path, found: Found, title: str, about: Facts) -> list[Path]:
    """Writes pictures.json, pictures.md and sheets/NAME.png; returns the files. about: what was measured,
    how."""
    (folder / "sheets").mkdir(parents=True, exist_ok=True)
    files = [folder / "pictures.json", folder / "pictures.md"]
    put_text(files[0], json_text({"about": dict(about), **found.facts}))
    put_text(files[1], markdown(found.facts, title, about, found.sheets))
    for sheet in found.sheets:
        place = folder / "sheets" / f"{sheet.name}.png"
        write_sheet(*_cells(sheet), place, columns=len(sheet.captions))
        files.append(place)
    return files


def _cells(sheet: Sheet) -> tuple[list[np.ndarray], list[tuple[str, ...]]]:
    """The sheet's pictures row by row; captions stand below the first row, the others say what they are."""
    pictures: list[np.ndarray] = []
    captions: list[tuple[str, ...]] = []
    for number, (name, row) in enumerate(sheet.rows):
        pictures += list(row)
        captions += [(text,) if number == 0 else (name,) for text in sheet.captions]
    return pictures, captions


def markdown(facts: Facts, title: str, about: Facts, sheets: tuple[Sheet, ...] = ()) -> str:
    """The table, part by part, with chance and bounds, and the sheets."""
    parts = [
        ("", _about(about)),
        ("The judge on real pictures", _judge(facts["judge"], facts["styles"])),
        ("Reconstruction", _reconstruction(facts["reconstruction"], about)),
        ("Drawn from words", _drawing(facts["drawing"])),
        ("Colour, count and place, by pixels", _attributes(facts["attributes"])),
        ("Groups of emoji", _groups(facts["groups"])),
        ("Near copies", _copies(facts["copies"])),
        ("Restyled", _restyled(facts["restyled"])),
        ("Described", _described(facts["described"])),
        ("Edited", _edited(facts["edited"])),
    ]
    if "sweep" in facts:
        parts.append(("Guidance and sampling", _sweep(facts["sweep"])))
    parts.append(("Sheets", "\n\n".join(f"{s.title}:\n\n![{s.title}](sheets/{s.name}.png)" for s in sheets)))
    body = "\n".join(f"## {head}\n\n{text}\n" if head else f"{text}\n" for head, text in parts if text)
    return f"# {title}\n\n{body}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _share(facts: Facts) -> str:
    """A share with its interval, in per cent."""
    if facts.get("low") is None:
        return f"{facts['value']:.1%}"
    return f"{facts['value']:.1%} [{facts['low']:.1%}, {facts['high']:.1%}]"


def _bound(value: float | None, least: float, unit: str = "") -> str:
    """Whether a bound is kept; unit: of a bound that is no share."""
    said = f"{least:g} {unit}" if unit else f"{least:.0%}"
    if value is None:
        return f"{said}: not measured"
    return f"{said}: {'kept' if value >= least else 'missed'}"


def _about(about: Facts) -> str:
    lines = "".join(f"- {key}: {value}\n" for key, value in about.items())
    return (
        f"{lines}\nIntervals are of 95 %, over pictures. Captions stand in English and Chinese by turns. A "
        "judge is a small network of our own, so its score on real pictures stands beside every figure of "
        "drawn ones."
    )


def _judge(facts: Facts, styles: Facts) -> str:
    rows = [
        [name, _share(part["right_among_20"]), str(part["right_among_20"]["n"])]
        for name, part in facts.items()
    ]
    told = [[name, _share(part), str(part["n"])] for name, part in styles.items() if name != "chance"]
    return (
        f"The right caption among 20; chance is 5 %.\n\n{_table(['set', 'right', 'pictures'], rows)}\n\n"
        f"The style of whole emoji among the trained ones; chance is {styles['chance']:.1%}.\n\n"
        + _table(["set", "right", "pictures"], told)
    )


def _reconstruction(facts: Facts, about: Facts) -> str:
    least = DECIBELS.get(int(about.get("codes of a picture", 0)))
    rows = []
    for name, part in facts.items():
        if "psnr_db" not in part:
            continue
        value = part["psnr_db"]["value"]
        codes = part["codes"]
        rows.append(
            [
                name,
                f"{value:.2f}",
                f"{part['ssim']['value']:.4f}",
                f"{part['ms_ssim']['value']:.4f}",
                f"{codes['used']:.1%}",
                f"{codes['perplexity']:.0f}",
                str(part["n"]),
                _bound(value, least, "dB") if least and name != "scenes" else "",
            ]
        )
    every = facts["all"]["codes"]
    head = ["set", "PSNR, dB", "SSIM", "MS-SSIM", "codes used", "perplexity", "pictures", "asked for"]
    return (
        f"Over white; single emoji fill the picture. Of {every['size']} codes {every['used']:.1%} are used "
        "by all "
        f"of these together (asked for: {_bound(every['used'], USED_BOUND)}), perplexity "
        f"{every['perplexity']:.0f}.\n\n{_table(head, rows)}"
    )


def _drawing(facts: Facts) -> str:
    rows = []
    for name, part in facts.items():
        share = part["share_of_real"]
        rows.append(
            [
                name,
                _share(part["right_among_20"]),
                _share(part["real_right_among_20"]),
                "" if share is None else f"{share:.1%}",
                _share(part["retrieved_right_among_20"]),
                f"{part['frechet_on_the_judges_features']:.4f}",
                f"{part['frechet_of_two_real_halves']:.4f}",
                f"{part['retrieved_frechet_on_the_judges_features']:.4f}",
                "stated" if name == "held-out emoji" else _bound(share, DRAWN_BOUND),
            ]
        )
    head = ["set", "drawn", "real", "share of real", "retrieved", "Frechet, drawn", "two real halves"]
    return (
        "The right caption among 20 (chance 5 %) and the Frechet distance on the judge's features (no FID; "
        "it grows as pictures get fewer, so halves are at a disadvantage). Retrieved: the training picture "
        "that the judge finds to fit the caption best, what a model that only remembers could do.\n\n"
        + _table([*head, "retrieved", "asked for"], rows)
    )


def _attributes(facts: Facts) -> str:
    names = {"any": "all checks", "all": "pictures of which every check holds"}
    rows = [
        [
            names.get(name, name),
            _share(part["drawn"]),
            _share(part["real"]),
            _share(part["chance"]),
            str(part["drawn"]["n"]),
            _bound(part["drawn"]["value"], CHECKED_BOUND) if name == "any" else "",
        ]
        for name, part in facts.items()
        if name != "codec"
    ]
    return (
        "Held-out combinations of one thing or several of it on a clear or plain ground. Chance is "
        "measured: each wish against another's picture. Real pictures through the codec: "
        f"{_share(facts['codec'])}.\n\n"
        + _table(["check", "drawn", "real", "chance", "checks", "asked for"], rows)
    )


def _groups(facts: Facts) -> str:
    rows = [
        [group, f"{value:.1%}", f"{facts['real']['by_group'][group]:.1%}"]
        for group, value in facts["drawn"]["by_group"].items()
    ]
    rows.append(["mean", *(f"{facts[name]['balanced_accuracy']:.1%}" for name in ("drawn", "real"))])
    return (
        "Held-out pairs of emoji and style, without variants of skin tone; the group is that of the five "
        "nearest training emoji by the judge. Balanced: the mean over groups. Chance "
        f"{facts['chance']:.1%}.\n\n" + _table(["group", "drawn", "real"], rows)
    )


def _copies(facts: Facts) -> str:
    rows = [
        [name, f"{facts[name]['median_rms']:.1f}", _share(facts[name]["near_copies"])]
        for name in ("drawn", "real")
    ]
    return (
        f"The distance (root mean square over white, of 255) to the nearest of {facts['known']} training "
        "pictures. "
        f"A near copy is below {facts['near_copy_below_rms']:.1f}, as near as 19 of 20 pictures are to what "
        "the "
        "codec makes of them. Real: held-out pictures, which cannot be copies.\n\n"
        + _table(["pictures", "median distance", "near copies"], rows)
    )


def _restyled(facts: Facts) -> str:
    rows = [
        [
            f"nearer by {of}",
            _share(facts[f"nearer_by_{key}"]),
            _bound(facts[f"nearer_by_{key}"]["value"], RESTYLED_BOUND),
            _share(facts["one_draft"][f"nearer_by_{key}"]),
        ]
        for of, key in (("pixels", "pixels"), ("the judge", "judge"))
    ]
    return (
        f"{facts['n']} pairs, into a style in which the emoji was never shown: is the result nearer to the "
        f"true picture than the source is? Of {facts['drafts']} drafts the best is taken, as the task does "
        f"it, with guidance {facts['guidance']:g} at temperature {facts['temperature']:g}: like the others, "
        "near to the source, and what that would be in the style asked for. A blurred "
        "picture is nearer by pixels, too, and the judge that chooses is the one that measures: both "
        "figures are flattered. An unchanged picture scores 0. Mean distance by pixels: source "
        f"{facts['rms']['source']:.1f}, result {facts['rms']['made']:.1f}, one draft "
        f"{facts['one_draft']['rms']['made']:.1f}.\n\n"
        + _table(["", "share", "asked for", "one draft"], rows)
    )


def _described(facts: Facts) -> str:
    rows = [
        [
            name,
            _share(part["right_among_20"]),
            f"{part['exact']:.1%}",
            f"{part['empty']:.1%}",
            str(part["n"]),
            _bound(part["right_among_20"]["value"], DESCRIBED_BOUND)
            if name == "held-out pairs"
            else "stated",
            _share(part["likeliest"]["right_among_20"]),
            f"{part['likeliest']['exact']:.1%}",
        ]
        for name, part in facts.items()
    ]
    of = next(iter(facts.values()))["of"]
    head = ["set", "right among 20", "exact", "empty", "pictures", "asked for"]
    return (
        "Whole emoji; what was written is nearest to its label among 20 by the judge's vectors of both "
        f"(chance 5 %); exact: letter for letter. Of the {of} likeliest descriptions the judge chooses, as "
        "the task does it; behind that the likeliest one.\n\n"
        + _table([*head, "the likeliest right", "exact"], rows)
    )


def _edited(facts: Facts) -> str:
    rows = [
        [
            said,
            f"{facts[name]['psnr_db']:.2f}",
            f"{facts[name]['codec_alone_psnr_db']:.2f}",
            f"{facts[name]['unchanged_but_for_codec']:.1%}",
            f"{facts[name]['unchanged']:.1%}",
            str(facts[name]["n"]),
        ]
        for name, said in (("outside", "outside the mask"), ("far", "one place further out"))
    ]
    right = _table(
        ["shown", "right among 20"],
        [[name, _share(facts[f"{name}_right_among_20"])] for name in ("edited", "real", "source")],
    )
    head = [
        "pixels",
        "PSNR to the source, dB",
        "codec alone, dB",
        "as the codec leaves them",
        "unchanged",
        "edits",
    ]
    return (
        "By the codec throughout, nothing pasted. PSNR of what the mask leaves alone, beside the codec's "
        "own; the share of edits of which no pixel there differs by more than 8 of 255 from the codec's "
        f"own, and from the source.\n\n{_table(head, rows)}\n\nWhether the judge finds what was wished for "
        f"(chance 5 %; the wish speaks of the masked part alone):\n\n{right}"
    )


def _sweep(rows: list[Facts]) -> str:
    return "Held-out combinations.\n\n" + _table(
        ["way", "right among 20", "Frechet on the judge's features"],
        [[r["way"], _share(r["right_among_20"]), f"{r['frechet_on_the_judges_features']:.4f}"] for r in rows],
    )


def lines(facts: Facts) -> Iterator[tuple[str, float]]:
    """The figures that have bounds, by name, for the terminal and a ledger."""
    for name, part in facts["reconstruction"].items():
        if "psnr_db" in part:
            yield f"psnr_db of {name}", part["psnr_db"]["value"]
    yield "codes used", facts["reconstruction"]["all"]["codes"]["used"]
    for name, part in facts["drawing"].items():
        yield f"right among 20, {name}", part["right_among_20"]["value"]
        yield f"the same on real pictures, {name}", part["real_right_among_20"]["value"]
    yield "checks by pixels", facts["attributes"]["any"]["drawn"]["value"]
    yield "balanced group accuracy", facts["groups"]["drawn"]["balanced_accuracy"]
    yield "near copies", facts["copies"]["drawn"]["near_copies"]["value"]
    yield "restyled nearer by pixels", facts["restyled"]["nearer_by_pixels"]["value"]
    yield "restyled nearer by the judge", facts["restyled"]["nearer_by_judge"]["value"]
    for name, part in facts["described"].items():
        yield f"described, {name}", part["right_among_20"]["value"]
