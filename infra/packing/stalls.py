"""Trainings without hope: told by their loss, stopped before their budget; and how often that is wrong.

While the kernel H of a training stays as it is, r(k+1) = (I - eta H) r(k) and |r(k)|^2 is a sum of c_i (1 - eta
lambda_i)^2k, the logarithm of which is convex in k. So the loss at the end of the budget is at least what one comes
to by going on at the mean rate of the last octave of steps. Where a family's ``reach`` tells the loss at which a
training is fit, its trainings are looked at in every point of the grid, from FIRST steps on; one whose loss would stay
above MARGIN times that, LOOKS times in a row, is stalled. Kernels do change, and then a loss that rests may fall
again: one so low that it may be a plateau is never stopped. The rest is statistics and no proof: a share AUDIT of all
trainings, chosen by content address, goes on to the end all the same with the step in its row (``stalled_at``), and how
many of them fit is the rate of false stops. Measured: benchmarks/stalls.md.
"""

import bisect
import math
from collections.abc import Mapping, Sequence

FIRST = 256  # in steps of the family's usual size
LOOKS, MARGIN, AUDIT = 4, 1.25, 0.05
REASON = (
    f"out of reach: at the rate of the last octave of steps the loss would end above {MARGIN:g} times the goal,"
    f" {LOOKS} looks in a row from {FIRST} steps on"
)


def out_of_reach(steps: Sequence[float], losses: Sequence[float], reach: Mapping[str, float], budget: int) -> bool:
    """Whether a training with these losses at these steps, the last one now, stays above its goal at ``budget``."""
    k, loss, goal = steps[-1], losses[-1], reach["goal"]
    if k < FIRST * reach["unit"] or loss <= max(goal, reach["plateau"]) or goal <= 0:  # vanished in single precision
        return False
    before = bisect.bisect_left(steps, k / 2)
    rate = max(0.0, math.log(losses[before] / loss) / (k - steps[before]))
    return math.log(loss / (MARGIN * goal)) > rate * (budget - k)


def audited(cell_id: str) -> bool:
    """Whether a training goes on to the end whatever is found."""
    return int(cell_id[:8], 16) < AUDIT * 2**32
