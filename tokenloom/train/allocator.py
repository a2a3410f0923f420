"""glibc keeps large blocks for the next step instead of giving them back to the system after each.

Without it a training step on a CPU spends half its time in page faults (docs/LOG.md). Nothing elsewhere.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = 1 << 30


def keep_memory() -> bool:
    """Raises glibc's thresholds for this process; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, KEPT) and mallopt(M_TRIM_THRESHOLD, KEPT))
