"""Trainings without hope: told by their loss, stopped before their budget; and how often that is wrong.

While the kernel H of a training stays as it is, r(k+1) = (I - eta H) r(k) and |r(k)|^2 is a sum of c_i (1 - eta
lambda_i)^2k, the logarithm of which is convex in k. So the loss at the end of the budget is at least what one comes
to by going on at the mean rate of the last octave of steps. Where a family's ``goal`` tells the loss at which a
training is fit, its trainings are looked at in every point of the grid, from FIRST steps on; one whose loss would
stay above the goal, LOOKS times in a row, is stalled. Kernels do change, so this is statistics and no proof: a share
AUDIT of all trainings, chosen by content address, goes on to the end all the same with the step in its row
(``stalled_at``), and how many of them fit is the rate of false stops. What it gets wrong are plateaus: a sample
without an active unit, until a unit comes by. At step size 1 and the default budget they end before FIRST steps;
small steps and long budgets stretch them: false stops were 1 of 26 (benchmarks/stalls.md) and 8 of 163 (LOG.md) at few
samples. So trainings are stopped on request only.
"""

import bisect
import math
from collections.abc import Sequence

FIRST, LOOKS, AUDIT = 512, 4, 0.05
REASON = f"out of reach: at the rate of the last octave of steps the loss would end too high, {LOOKS} looks in a row"


def out_of_reach(steps: Sequence[float], losses: Sequence[float], goal: float, budget: int) -> bool:
    """Whether a training with these losses at these steps, the last one now, stays above ``goal`` at ``budget``."""
    k, loss = steps[-1], losses[-1]
    if k < FIRST or loss <= goal or goal <= 0:  # it may have vanished in single precision
        return False
    before = bisect.bisect_left(steps, k / 2)
    rate = max(0.0, math.log(losses[before] / loss) / (k - steps[before]))
    return math.log(loss / goal) > rate * (budget - k)


def audited(cell_id: str) -> bool:
    """Whether a training goes on to the end whatever is found."""
    return int(cell_id[:8], 16) < AUDIT * 2**32
