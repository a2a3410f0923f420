"""Bar lines that a source has, as the metres and the pickup that give a score such bars.

A bar that is too short may be completed by the next one, as at a repeat that begins with an upbeat; one that
neither fills its metre nor completes the one before it is irregular, and the metre is said anew after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenloom.sound.score import Metre, bar_ticks, needed_metres


def metres_of(
    lines: Sequence[int], changes: Sequence[Metre], first: tuple[int, int]
) -> tuple[tuple[Metre, ...], int]:
    """Metres that put bars where the bar lines are, and the pickup.

    lines are ticks in rising order, changes the metres that the source says, first the one at its head.
    """
    metres: list[Metre] = [(0, *first)]
    ahead = list(changes)
    if ahead and ahead[0][0] == 0:
        metres = [ahead.pop(0)]
    size = bar_ticks(*metres[0][1:])
    begin = pickup = 0  # where the last bar on the grid begins
    pending = None  # a bar line since then that is not on the grid
    seen = [line for line in lines if line > 0]
    if (
        seen
        and seen[0] < size
        and (len(seen) == 1 or seen[1] != size)
        and not (ahead and ahead[0][0] <= seen[0])
    ):
        begin = pickup = seen[0]
    for line in sorted({*seen, *(tick for tick, _, _ in ahead)}):
        if line <= begin:
            continue
        if (line - begin) % size and line - begin > size:
            here = begin + (line - begin) // size * size if pending is None else pending
            if pending is None and not any(change[0] == line for change in ahead):
                here = line
            metres.append((here, *metres[-1][1:]))
            begin, pending = here, None
        if ahead and ahead[0][0] == line:
            change = ahead.pop(0)
            if change[1:] != metres[-1][1:] or (line - begin) % size:
                if metres[-1][0] == line:
                    metres.pop()
                metres.append(change)
            size, begin, pending = bar_ticks(*change[1:]), line, None
        elif (line - begin) % size == 0:
            begin, pending = line, None
        else:
            pending = line
    return needed_metres(metres, pickup), pickup
