"""Documents that are there already: the same text, or nearly the same by MinHash.

Not repetition inside a document (`repetition.py`). The first of a group stays, whatever the number of
workers: signatures are made in them, the comparison runs in reading order in one place. A document is a
near-duplicate of one that stayed when at least `threshold` of their signatures agree. Candidates come from
locality-sensitive hashing, which misses at most 1 in 20 of the pairs right at the threshold. Sources: Broder
1997; Leskovec et al., Mining of Massive Datasets, section 3.4; Lee et al. 2022, arXiv:2107.06499.

Signatures are rensa's: maintained, MIT, no dependencies, in Rust; on the same shingles some hundred times
quicker than datasketch (which also needs SciPy). datatrove's pipeline is for many machines: it wants the data
cut into files beforehand, splits words by spaCy, and keeps one of a whole chain of similar documents.
A document that stays costs about 3 kB of memory: a million fit in 3 GB.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenloom.data.repetition import MOSTLY_HAN
from tokenloom.data.spans import U64, folded, windows

U32 = npt.NDArray[np.uint32]
SURE = 0.95
"""Least probability that a pair right at the threshold becomes a candidate."""


@dataclass(frozen=True)
class Duplicates:
    """What counts as the same document."""

    exact: bool = True
    """Drop texts that are equal but for case and white space."""
    near: bool = True
    """Drop texts that are nearly equal."""
    threshold: float = 0.75
    """Least share of equal shingles (Jaccard similarity) of near-duplicates."""
    words: int = 5
    """Words in a shingle, as in FineWeb."""
    characters: int = 8
    """Han characters in a shingle of a text that is mostly Chinese: five words of 1.6 characters."""
    permutations: int = 128
    """Length of a signature; more is more exact and slower."""
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(
                f"clean.duplicates.threshold: found {self.threshold}; allowed is above 0, up to 1"
            )
        for name, least in (("words", 1), ("characters", 1), ("permutations", 16)):
            if (found := getattr(self, name)) < least:
                raise ValueError(f"clean.duplicates.{name}: found {found}; allowed is {least} or more")
        if self.seed < 0:
            raise ValueError(f"clean.duplicates.seed: found {self.seed}; allowed is 0 or more")

    @property
    def bands(self) -> tuple[int, int]:
        """(bands, rows in each): as many rows as still find a pair at the threshold in 19 of 20 cases."""
        fit = (
            rows
            for rows in range(self.permutations, 0, -1)
            if -math.expm1((self.permutations // rows) * math.log1p(-min(self.threshold**rows, 1 - 1e-12)))
            >= SURE
        )
        rows = next(fit, 1)
        return self.permutations // rows, rows


def exact_key(text: str) -> bytes:
    """16 bytes that two texts share when they differ in case and white space only."""
    return hashlib.blake2b(" ".join(text.casefold().split()).encode(), digest_size=16).digest()


def shingles(text: str, rules: Duplicates) -> U64:
    """Hashes of the runs of words (or characters) a text is compared by; never empty."""
    spans = folded(text)
    n = rules.characters if spans.han_share >= MOSTLY_HAN else rules.words
    found = windows(spans.hashes, n)
    if len(found):
        return found
    whole = windows(spans.hashes, len(spans.hashes)) if len(spans.hashes) else found
    return whole if len(whole) else np.frombuffer(exact_key(text)[:8], np.uint64)


def signatures(texts: Sequence[str], rules: Duplicates) -> U32:
    """MinHash signatures, (number of texts, permutations), of texts as they are now."""
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # workers share the cores already
    from rensa import RMinHash

    if not texts:
        return np.zeros((0, rules.permutations), np.uint32)
    parts = [shingles(text, rules) for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(parts), offsets, rules.permutations, rules.seed
    )
    return np.array(matrix.to_rows(), np.uint32)


def algorithm() -> str:
    """What made a signature; signatures of another cannot be compared with these."""
    from rensa import RMinHash

    return f"rensa.RMinHash {RMinHash.ALGORITHM_VERSION}"


@dataclass(frozen=True, slots=True)
class Twin:
    """The earlier document that a new one repeats: its number among those that stayed."""

    number: int
    similarity: float
    exact: bool


class Seen:
    """The documents that stayed so far. Adding is in reading order; state only, no file."""

    def __init__(self, rules: Duplicates) -> None:
        self.rules = rules
        self._bands, self._rows = rules.bands
        self._exact: dict[bytes, int] = {}
        self._tables: dict[int, int | tuple[int, ...]] = {}
        self._signatures: U32 = np.zeros((1024, rules.permutations if rules.near else 0), np.uint32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def band_keys(self, signatures: U32) -> U64:
        """(documents, bands) keys: equal where all rows of a band are."""
        n = len(signatures)
        used = signatures[:, : self._bands * self._rows].reshape(n, self._bands, self._rows)
        keys: U64 = np.tile(np.arange(1, self._bands + 1, dtype=np.uint64), (n, 1))
        for row in range(self._rows):
            keys *= np.uint64(0x9E3779B97F4A7C15)
            keys += used[:, :, row]
            keys ^= keys >> np.uint64(29)
        return keys

    def offer(self, key: bytes, signature: U32, bands: U64) -> Twin | None:
        """Takes a document in, or says which one it repeats and leaves everything as it was."""
        if self.rules.exact and (number := self._exact.get(key)) is not None:
            return Twin(number, 1.0, True)
        keys = bands.tolist() if self.rules.near else []
        if (twin := self._near(signature, keys)) is not None:
            return twin
        self._keep(key, signature, keys)
        return None

    def restore(self, keys: Sequence[bytes], signatures: U32) -> None:
        """Takes in documents that are known to have stayed, after an interruption."""
        bands = self.band_keys(signatures).tolist() if self.rules.near else [[]] * len(keys)
        for key, signature, band in zip(keys, signatures, bands, strict=True):
            self._keep(key, signature, band)

    def _near(self, signature: U32, keys: Sequence[int]) -> Twin | None:
        found: set[int] = set()
        for key in keys:
            there = self._tables.get(key)
            if there is not None:
                found.update(there if isinstance(there, tuple) else (there,))
        for number in sorted(found):
            similarity = float((self._signatures[number] == signature).mean())
            if similarity >= self.rules.threshold:
                return Twin(number, similarity, False)
        return None

    def _keep(self, key: bytes, signature: U32, keys: Sequence[int]) -> None:
        number = self._count
        if self.rules.exact:
            self._exact[key] = number
        if self.rules.near:
            if number == len(self._signatures):
                self._signatures = np.concatenate([self._signatures, np.zeros_like(self._signatures)])
            self._signatures[number] = signature
        for band in keys:
            there = self._tables.get(band)
            if there is None:
                self._tables[band] = number
            else:
                self._tables[band] = (*there, number) if isinstance(there, tuple) else (there, number)
        self._count += 1
