"""Model families: one module per paper, pure torch, read beside the paper.

A family is a module with these names, written for ONE training; ``infra.pack`` stacks and vectorises them.

    Cell            frozen dataclass: one field per axis (made with ``axis``), the paper's symbols, ending in ``seed``
    SHAPE           names of the fields that fix tensor shapes or dtype: equal for all cells of a pack
    VERSION         numerics version: raise it when a change alters any number in a row
    SMALL           a cell that trains in well under a second
    COLUMNS         name -> (meaning, unit) for every number that ``observe``, ``measure`` and ``theory`` return
    CRITERION       what ``solved`` means, in words, for figures and reports
    draw(cell)      -> State, a NamedTuple of tensors; all randomness from ``generator(...)`` of the cell's shape and
                    seed: equal seeds at another width or sample count are independent trainings, equal seeds at another
                    step size, scale or budget are the same draw
    step(state)     -> State, one update
    observe(state)  -> dict of 0-d tensors, cheap, with "loss"; taken along the training, they become the curves
    measure(state)  -> dict of 0-d tensors, taken once, on the last state
    theory(state)   -> dict of 0-d tensors, what the paper predicts for this cell, from the first state
    solved(state)   -> 0-d bool tensor: the success criterion
    budget(state)   -> 0-d int64 tensor: steps after which an unsolved training is ``unfit``

and, where it pays, ``step_packed(stacked)``: a faster exact form of ``step`` on a stacked state, free to work in place.
There is no base class and no registry: a module in this folder is a family, and tests/test_families.py is its contract.
"""

import dataclasses
import hashlib
import os
import pkgutil
from importlib import import_module
from typing import Any

# Without it MKL rounds by where a matrix lies in memory, and in a stack that is a matter of the neighbours. Read by MKL
# at its first product, so it must be set before; measured to cost nothing.
os.environ.setdefault("MKL_CBWR", "AVX2")

import torch


def axis(meaning: str, unit: str = "1", default: Any = dataclasses.MISSING, *, positive: bool = False) -> Any:
    """A field of a family's ``Cell``: what it means, its unit ("1" for a pure number), whether it must be above 0."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "unit": unit, "positive": positive})


def generator(*key: str | int | float) -> torch.Generator:
    """A CPU generator seeded by the content of ``key``: equal keys, equal streams; any other key, an independent."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def names() -> list[str]:
    """Names of all families: the modules in this folder."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__))


def load(name: str) -> Any:
    """The family module called ``name``. ValueError names the known families when there is none."""
    if name not in names():
        raise ValueError(f"unknown family '{name}'; known: {', '.join(names())}")
    return import_module(f"trainables.{name}")
