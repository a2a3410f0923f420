"""A sound that leaves as a file carries its labels, in every format."""

from __future__ import annotations

import numpy as np
import pytest

from tokenloom.tasks.sound_out import deliver
from tokenloom.trust.verify import inspect

RATE = 22_050


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_both_labels_are_in_the_file(kind: str) -> None:
    tone = 0.3 * np.sin(np.arange(2 * RATE, dtype=np.float32) * np.float32(2 * np.pi * 220 / RATE))
    for audible in (True, False):
        report = inspect(deliver(tone, RATE, kind, audible=audible), kind)  # type: ignore[arg-type]
        assert (report.ok, report.visible) == (True, audible)


def test_a_format_without_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="no label is known"):
        deliver(np.zeros(RATE, np.float32), RATE, "pcm")
