"""The lines of a text file, whatever it is encoded in; a line that cannot be read is said, not guessed.

UTF-8 with or without its mark is taken where a file's head is UTF-8; otherwise the head decides among UTF-16,
UTF-32, GB 18030, Big5 and Latin-1 (charset-normalizer: how much of the text a decoding garbles). A line of a
UTF-8 file that is not UTF-8 is bad, with what it looks like.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from tokenloom.data.files import Joined, buffered, damage
from tokenloom.data.record import DataError

HEAD = 1 << 18
SHOWN_TO_DETECT = 1 << 15
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
"""Where a newline's byte may be half of another character."""
_HIGH = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end; `trouble` says why there is no text."""

    number: int
    text: str
    trouble: str = ""


def open_text(stream: io.BufferedReader, encoding: str | None) -> tuple[io.BufferedReader, str]:
    """(the stream from its start, without a mark and with wide encodings made UTF-8, its encoding's name)."""
    head = _head(stream)
    if encoding is not None:
        try:
            name = codecs.lookup(encoding).name
        except LookupError as error:
            raise DataError(f"encoding: found {encoding!r}; allowed: an encoding Python knows") from error
    else:
        name = detect(head)
    if name == "utf-16" or name == "utf-32":  # asked for without an order: the mark says it
        name = next((w for m, w in MARKS.items() if head.startswith(m) and w in WIDE), f"{name}-le")
    mark = next((m for m, w in MARKS.items() if w == name.removesuffix("-sig") and head.startswith(m)), b"")
    whole = buffered(Joined(head[len(mark) :], stream))
    if name in WIDE:
        return buffered(_Narrowed(whole, name)), name
    return whole, name.removesuffix("-sig")


def _head(stream: io.BufferedReader) -> bytes:
    """The first bytes; where damage follows, those before it: it is met again when they are read on."""
    head, errors = b"", damage()
    while len(head) < HEAD:
        try:
            part = stream.read1(HEAD - len(head))
        except errors:
            if not head:
                raise
            break
        if not part:
            break
        head += part
    return head


class _Narrowed(io.RawIOBase):
    """UTF-16 or UTF-32 as UTF-8; what is broken becomes U+FFFD, which `lines` refuses."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder(encoding)("replace").decode
        self._ready = b""
        self._done = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._done:
            raw = self._stream.read(len(buffer))
            self._done = not raw
            self._ready = self._decode(raw, self._done).encode("utf-8")
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def detect(head: bytes) -> str:
    """The encoding of a file that starts so."""
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    if wide := _wide(head):
        return wide
    if _is_utf8(head):
        return "utf-8"
    # A few broken lines do not make another encoding of a file that is UTF-8 elsewhere.
    high = [line for line in head.split(b"\n") if _HIGH.search(line)]
    whole = sum(_is_utf8(line) for line in high[:-1] or high)
    if 2 * whole >= len(high) or _mostly_utf8(head):
        return "utf-8"
    return _guess(b"\n".join(high)[:SHOWN_TO_DETECT])


def _is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8, the last character's possibly cut off."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _mostly_utf8(data: bytes) -> bool:
    """Whether nearly all high bytes make characters of three or four, which no other encoding does by chance:
    a broken one in a long line does not make the file another's."""
    text = data.decode("utf-8", "ignore")
    good = sum(len(character.encode()) for character in text if character > "\u07ff")
    return good > 9 * (sum(byte > 0x7F for byte in data) - good)


def _wide(head: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: its newlines and spaces leave zeros on one side."""
    sample = head[: len(head) // 4 * 4]
    if not sample or b"\0" not in sample:
        return ""
    if sample.count(0) < len(sample) / 5 and all(byte < 0x7F for byte in sample):
        return ""  # plain text with a null byte in it
    zeros = [sample[start::4].count(0) * 4 / len(sample) for start in range(4)]
    if zeros[0] + zeros[1] > 1.5 and zeros[3] < 0.1:
        return "utf-32-be"
    if zeros[2] + zeros[3] > 1.5 and zeros[0] < 0.1:
        return "utf-32-le"
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    for name, there, other in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if there > 0.005 and there > 20 * other and _reads(sample, name):
            return name
    return ""


def _reads(sample: bytes, encoding: str) -> bool:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return False
    return sum(c.isprintable() or c.isspace() for c in text) > 0.98 * len(text)


def _guess(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    allowed = ["gb18030", "big5", "latin_1", "cp1252"]
    best = from_bytes(sample, cp_isolation=allowed, threshold=0.4, enable_fallback=False).best()
    name = best.encoding if best is not None else "latin_1"
    return {"gb18030": "gb18030", "big5": "big5"}.get(
        name, "cp1252" if _reads(sample, "cp1252") else "latin-1"
    )


def lines(stream: io.BufferedReader, encoding: str, limit: int) -> Iterator[Line]:
    """The lines of an `open_text` stream, from 1. One longer than `limit` bytes, one that does not decode and
    one with a null byte come as trouble; so does damage to the file, and then nothing follows."""
    codec = "utf-8" if encoding in WIDE else encoding
    number, errors = 0, damage()
    while True:
        number += 1
        try:
            raw = stream.readline(limit + 1)
            if not raw:
                return
            if len(raw) > limit and not raw.endswith(b"\n"):
                size = len(raw) + _skip_line(stream)
                yield Line(number, "", f"the line has {size:,} bytes; the limit is {limit:,}")
                continue
        except errors as error:
            yield Line(number, "", f"the file is damaged from here on: {error}")
            return
        try:
            text = raw.decode(codec)
        except UnicodeDecodeError as error:
            yield Line(number, "", _not_decoded(raw, codec, error))
            continue
        if "\0" in text:
            yield Line(number, "", "it holds null bytes")
        elif encoding in WIDE and "\ufffd" in text:
            yield Line(number, "", f"it is not {encoding.upper()} throughout")
        else:
            yield Line(number, text.removesuffix("\n").removesuffix("\r"))


def _skip_line(stream: io.BufferedReader) -> int:
    """Reads on to a line's end; how many bytes that were."""
    count = 0
    while part := stream.readline(HEAD):
        count += len(part)
        if part.endswith(b"\n"):
            break
    return count


def _not_decoded(raw: bytes, codec: str, error: UnicodeDecodeError) -> str:
    message = f"it is not {codec.upper()}: byte 0x{raw[error.start]:02x} at column {error.start + 1}"
    if codec == "utf-8" and (looks := _guess(raw[:SHOWN_TO_DETECT])) in ("gb18030", "big5"):
        message += f"; it looks like {looks}"
    return message
