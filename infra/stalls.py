"""Trainings without hope: found by their family, stopped before their budget; and how often that is wrong.

A family that can tell has ``out_of_reach``. It is asked once an octave, from FIRST steps on, and a training that is out
of reach STRIKES times in a row is stalled. A share AUDIT of all trainings, chosen by content address, goes on to the
end all the same with the step in its row (``stalled_at``): how many of them fit is the rate of false stops.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.func import vmap

FIRST, STRIKES, AUDIT = 64, 2, 0.05
REASON = "out of reach: the family's out_of_reach at two looks, an octave of steps apart"


def asked_at(k: int) -> bool:
    """Whether step ``k`` is a look: a power of two, not below FIRST."""
    return k >= FIRST and k & (k - 1) == 0


def audited(cell_id: str) -> bool:
    """Whether a training goes on to the end whatever is found."""
    return int(cell_id[:8], 16) < AUDIT * 2**32


def found(module: Any, state: Any, left: Sequence[int]) -> list[bool]:
    """Which trainings of a stacked ``state`` are out of reach with so many steps left each."""
    with torch.no_grad():
        steps = torch.tensor(left, dtype=torch.float64, device=state[0].device)
        hopeless: list[bool] = vmap(module.out_of_reach)(state, steps).tolist()
    return hopeless
