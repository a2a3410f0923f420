"""Makes the couplets that the walk-through learns from: tokenloom/recipes/couplets/{train,heldout}.tsv.bz2.

Not run by the program. `python scripts/couplets.py POEMS` reads train.jsonl and heldout.jsonl as
data/poem_set.py writes them (`write_poems`) from the unpacked npm package chinese-poetry 2.0.1 (MIT; its
texts are public domain). The same poems give the same bytes.
"""

from __future__ import annotations

import bz2
import sys
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tokenloom.data.couplets import Couplet, read_couplets, write_couplets
from tokenloom.data.poem_set import number

OUT = Path(__file__).resolve().parent.parent / "tokenloom" / "recipes" / "couplets"
TRAIN, HELD_OUT = 64_000, 2_000
"""As many as stay below 1.2 MB."""


def main(poems: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        written = write_couplets(poems, Path(place), most=TRAIN)
        held_out = sorted(
            read_couplets(Path(place) / "couplets.heldout.jsonl"),
            key=lambda pair: number(pair.upper + pair.lower, "couplets"),
        )
        parts = {"train": read_couplets(Path(place) / "couplets.train.jsonl"), "heldout": held_out}
        for name, most in (("train", TRAIN), ("heldout", HELD_OUT)):
            file = OUT / f"{name}.tsv.bz2"
            file.write_bytes(bz2.compress(table(islice(parts[name], most)).encode()))
            print(f"{file}: {file.stat().st_size:,} bytes")
    print(f"{written.train:,} pairs to learn, {min(written.held_out, HELD_OUT):,} held out")


def table(pairs: Iterable[Couplet]) -> str:
    """Tab-separated with a head: what `loom data` reads, too."""
    return "upper\tlower\n" + "".join(f"{pair.upper}\t{pair.lower}\n" for pair in pairs)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
