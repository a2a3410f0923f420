"""Files that were good: bytes of them changed, and half of them cut short."""

from __future__ import annotations

from hypothesis import strategies as st


def damaged(good: bytes, most: int = 4) -> st.SearchStrategy[bytes]:
    """`good` with one to `most` bytes changed; as often whole as cut off somewhere."""
    changes = st.lists(
        st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), min_size=1, max_size=most
    )
    lengths = st.just(len(good)) | st.integers(0, len(good))
    return st.builds(_changed, st.just(good), changes, lengths)


def _changed(good: bytes, changes: list[tuple[int, int]], length: int) -> bytes:
    found = bytearray(good)
    for place, value in changes:
        found[place] = value
    return bytes(found[:length])
