"""Packs: what one holds, how long it takes about, and which to cut so that no core is idle for long at the end."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FIXED = 0.25  # of a pack's time does not shrink with its size: 15% was measured where a step is many small operations
SHORTEST = 5.0  # rough seconds of a pack worth its way, a fourth of which it takes where many fit early: the next is
# 0.06 to 0.15 s away
WORTH = 0.05  # of the whole time: less is not gained for certain


@dataclass(frozen=True)
class Pack:
    """Cells that one trial trains together; ``columns`` holds each axis, as one value where all cells agree."""

    family: str
    columns: dict[str, Any]
    size: int
    flops: float  # if every training runs to its budget
    bytes: int  # working set
    steps: int = 0  # of its longest training
    peak: int = 0  # bytes at most, see memory.peak

    @property
    def seconds(self) -> float:
        """Rough time, for ordering packs and the share of work done."""
        return rough(self.flops, self.steps, self.size)


def rough(flops: float, steps: int, size: int) -> float:
    """Seconds that a pack takes: 10 GFLOP/s, 50 us a step and 5 us more for each training, since small ones are not
    bound by their products; within a sweep off by a factor of 3."""
    return flops / 1e10 + steps * (size * 5e-6 + 5e-5) + 0.05


def cuts(seconds: Sequence[float], sizes: Sequence[int], side_by_side: int) -> list[int]:
    """In how many to cut each pack, of at least two trainings a part, so that the last of them ends sooner. ``seconds``
    and ``sizes``: of each pack; so many run ``side_by_side``, longest first."""
    share = sum(seconds) / side_by_side

    def ends(limit: float) -> tuple[float, list[int]]:
        """When the last pack ends if those above ``limit`` seconds are cut, and in how many."""
        counts = [max(1, min(math.ceil(each / limit), size // 2)) for each, size in zip(seconds, sizes, strict=True)]
        parts = [
            each * (FIXED + (1 - FIXED) / count)
            for each, count in zip(seconds, counts, strict=True)
            for _ in range(count)
        ]
        busy = [0.0] * side_by_side
        for part in sorted(parts, reverse=True):
            heapq.heapreplace(busy, busy[0] + part)
        return max(busy), counts

    whole = ends(math.inf)
    best = min(ends(share / k) for k in (1, 2, 3, 4)) if seconds else whole
    return (best if best[0] < (1 - WORTH) * whole[0] else whole)[1]


def slices(items: list[Any], count: int) -> list[list[Any]]:
    """``count`` parts of equal size, but for one."""
    return [items[i * len(items) // count : (i + 1) * len(items) // count] for i in range(count)]
