"""Notation of a tune as pages of SVG, by Verovio (LGPL-3.0) where it is installed. Not a roll (`roll`).

ABC and MusicXML go to Verovio as they are, so what a score does not keep (words, slurs) is there; a score
goes as the ABC that `write_abc` writes. Verovio runs in a process of its own: some texts bring it down.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from importlib.util import find_spec

from tokenloom.sound.abc_write import write_abc
from tokenloom.sound.score import Score

KINDS = {"abc": "abc", "musicxml": "xml", "xml": "xml", "mxl": "mxl"}
WIDTHS = (300, 4000)
MOST_BYTES = 20_000_000
MOST_PAGES = 200
LIMIT_S = 120
SCALE = 40
"""Per cent of Verovio's own size: a staff is then 29 pixels high."""
FIELD = re.compile(rb"^X:\s*\d", re.M)
CODE = """
import base64, json, sys, verovio
asked = json.load(sys.stdin)
verovio.enableLog(verovio.LOG_OFF)
engraver = verovio.toolkit()
engraver.setOptions(asked["options"])
data = asked["data"]
text = None if asked["zip"] else base64.b64decode(data).decode()
loaded = engraver.loadZipDataBase64(data) if text is None else engraver.loadData(text)
count = engraver.getPageCount() if loaded else 0
pages = [engraver.renderToSVG(page) for page in range(1, min(count, asked["most"]) + 1)]
sys.stdout.buffer.write(json.dumps({"count": count, "pages": pages}).encode())
"""


def engrave(music: Score | str | bytes, kind: str = "abc", width: int = 1200) -> list[str]:
    """SVG of each page of a score, or of a text in ABC or MusicXML. kind: abc, musicxml, xml or mxl.

    A page is `width` pixels wide and as high as its music, at most 1.4 times as high as wide; the same music
    gives the same pages. ValueError says that Verovio is not installed, or what it cannot read.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: allowed are {', '.join(KINDS)}")
    if not WIDTHS[0] <= width <= WIDTHS[1]:
        raise ValueError(f"width {width}: allowed are {WIDTHS[0]} to {WIDTHS[1]} pixels")
    form = "abc" if isinstance(music, Score) else KINDS[kind]
    data = _bytes(write_abc(music) if isinstance(music, Score) else music, form)
    if find_spec("verovio") is None:
        raise ValueError("verovio: not installed; engraving notation needs it: pip install verovio")
    size = round(width * 100 / SCALE)
    options = {"inputFrom": "abc" if form == "abc" else "xml", "scale": SCALE, "adjustPageHeight": True}
    options |= {"pageWidth": size, "pageHeight": round(1.4 * size), "xmlIdSeed": 1, "footer": "none"}
    asked = {"options": options, "zip": form == "mxl", "most": MOST_PAGES}
    found = _asked({**asked, "data": base64.b64encode(data).decode()}, kind)
    count, pages = found["count"], found["pages"]
    if not isinstance(pages, list) or not pages:
        raise ValueError(f"music: Verovio cannot read it as {kind}")
    if count != len(pages):
        raise ValueError(f"music: it makes {count} pages; at most {MOST_PAGES} are engraved")
    return [str(page) for page in pages]


def _bytes(music: str | bytes, form: str) -> bytes:
    """The text as UTF-8. ValueError for what is no music at all."""
    data = music.encode() if isinstance(music, str) else music
    if not 1 <= len(data) <= MOST_BYTES:
        raise ValueError(f"music: {len(data)} bytes; allowed are 1 to {MOST_BYTES}")
    if form == "mxl":
        if not data.startswith(b"PK"):
            raise ValueError("music: it is no compressed MusicXML: it is no zip file")
        return data
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"music: it is not UTF-8 (byte {error.start})") from error
    if form == "abc" and not FIELD.search(data):
        raise ValueError("music: it is no ABC: there is no line X: with a number")
    if form == "xml" and b"<score-" not in data:
        raise ValueError("music: it is no MusicXML: there is no element score-partwise or score-timewise")
    return data


def _asked(asked: dict[str, object], kind: str) -> dict[str, object]:
    """What the other process answers."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", CODE],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"music: Verovio took more than {LIMIT_S} s for it") from error
    if done.returncode:
        raise ValueError(f"music: Verovio cannot read it as {kind} (it ended with {done.returncode})")
    found: dict[str, object] = json.loads(done.stdout)
    return found
