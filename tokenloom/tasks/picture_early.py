"""A picture on its way: what of it can be shown while its codes are being written."""

# Shapes: S pixels along a side, P codes of a picture

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenloom.tasks.pictures import Painter
from tokenloom.tokens.image import IMAGE


@dataclass(frozen=True)
class Partial:
    """A picture whose codes are being written: what of it can be shown."""

    painter: Painter
    neutral: np.ndarray
    """Codes (P,) of an empty picture, for places that have none yet."""
    ids: tuple[int, ...]
    forced: tuple[int, ...] = ()
    """Ids that are known beforehand, as those of an edit's source; -1 = not."""

    def _known_ids(self) -> np.ndarray:
        """int64 (P,): -1 where there is none yet."""
        found = np.full(len(self.neutral), -1, np.int64)
        found[: len(self.forced)] = self.forced
        found[: len(self.ids)] = self.ids
        return found

    def codes(self) -> np.ndarray:
        """int64 (P,): those known, and neutral ones."""
        ids = self._known_ids()
        start, _ = self.painter.tokens.vocabulary.range(IMAGE)
        return np.where(ids >= 0, ids - start, self.neutral)

    def known(self) -> np.ndarray:
        """bool (places,): whose codes are all there."""
        found: np.ndarray = (self._known_ids() >= 0).reshape(self.painter.places, -1)
        return np.asarray(found.all(axis=1))


def blank(painter: Painter) -> np.ndarray:
    """An empty picture uint8 (1, S, S, 4), whose codes are the neutral ones."""
    return np.zeros((1, painter.size, painter.size, 4), np.uint8)
