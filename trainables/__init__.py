"""Model families: one module per paper, pure torch, read beside the paper.

A family is a module with these names, written for ONE training; ``infra.packing.pack`` stacks and vectorises them. Its
docstring is its page in docs/families/: a title; the paper, with an arXiv number; the equations, indented and numbered
"(1)", which COLUMNS and docstrings refer to; at the end a paragraph "Differences from the paper: ...".
docs/tutorial.md writes one from nothing.

    Cell            frozen dataclass: one field per axis (made with ``axis``), the paper's symbols, ending in ``seed``;
                    numbers that the training is free to choose, such as its step size, are marked as knobs
    SHAPE           names of the fields that fix tensor shapes or dtype: equal for all cells of a pack
    VERSION         numerics version: raise it when a change alters any number in a row
    SMALL           a cell that trains in well under a second; the contract trains packs of 80, also at ``n`` = 45, so
                    keep its step budget small
    COLUMNS         name -> (meaning, unit) for every number that ``observe``, ``measure`` and ``theory`` return
    CRITERION       what ``solved`` means, in words, for figures and reports
    CLAIMS          what the paper claims, made with ``claim``: names of axes and COLUMNS, so that rows can answer
    draw(cell)      -> State, a NamedTuple of tensors; all randomness from ``generator(...)`` of the cell's shape and
                    seed: equal seeds at another width or sample count are independent trainings, equal seeds at another
                    step size, scale or budget are the same draw
    step(state)     -> State, one update
    observe(state)  -> dict of 0-d tensors, cheap, with "loss"; taken along the training, they become the curves.
                    A 1-d tensor becomes a curve of vectors (``curve_NAME``, one vector a look) and nothing else
    measure(state)  -> dict of 0-d tensors, taken once, on the last state
    theory(state)   -> dict of 0-d tensors, what the paper predicts for this cell, from the first state
    solved(state)   -> 0-d bool tensor: the success criterion
    budget(state)   -> 0-d int64 tensor: steps after which an unsolved training is ``unfit``

and, where they make sense: ``steps_packed(stacked, count)``, a faster exact form of so many steps on a stacked state,
free to work in place; ``check(cell)``, if a cell needs files: ValueError or OSError, in one line, if they are not
there. They lie in the folder that the environment variable WIDTHLAW_DATA names (a sweep's ``--data-dir``);
``reach(state)`` -> dict of 0-d tensors, if the hopeless are to be told by their loss (infra/packing/stalls.py):
"goal", the loss at which a training is solved, "plateau", the loss up to which it may rest however long and fit after
all, "unit", steps that go as far as one of the usual size.

Two observed names mean something to the analysis: ``sketch``, a vector that keeps inner products of the weights, as
many numbers a layer as the axis ``sketch_size`` says, is drawn as a map (for a sweep with "sketch" among its curves);
``stage``, at most 1 until a training leaves the path that it shares with others of its seed, says where it branches.

A training of several stages (train, perturb, retrain) is a state machine: the stage is a tensor of the state, and
``step`` chooses with ``torch.where``. Randomness inside ``step`` (mini-batches, fresh samples) comes from ``uniform``
and ``normal``, functions of a key that ``draw`` put into the state and of the step's number, which the state counts.

There is no base class and no registry: a module in this folder is a family, and tests/test_families.py is its contract.
"""

import dataclasses
import hashlib
import math
import os
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal


def vectors() -> str:
    """The widest vectors of this CPU that MKL knows how to be reproducible with."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:  # not Linux
        flags = set()
    return "AVX512" if {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"} <= flags else "AVX2"


# Without it MKL rounds by where a matrix lies in memory, and in a stack that is a matter of the neighbours. Read by MKL
# at its first product, so it must be set before; measured to cost nothing.
os.environ.setdefault("MKL_CBWR", vectors())

import torch


def axis(
    meaning: str, unit: str = "1", default: Any = dataclasses.MISSING, *, positive: bool = False, knob: bool = False
) -> Any:
    """A field of a family's ``Cell``: what it means, its unit ("1" for a pure number), whether it must be above 0.

    knob: a number that the training is free to choose (step size, momentum, size of the initial weights), no part of
    the problem, of the network or of the criterion: what ``--tune`` may seek.
    """
    told = {"meaning": meaning, "unit": unit, "positive": positive, "knob": knob}
    return dataclasses.field(default=default, metadata=told)


def generator(*key: str | int | float) -> torch.Generator:
    """A CPU generator seeded by the content of ``key``: equal keys, equal streams; any other key, an independent."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def key(rng: torch.Generator) -> torch.Tensor:
    """A key for ``uniform`` and ``normal``, int64 of shape (), drawn from a cell's generator."""
    return torch.randint(-(2**63), 2**63 - 1, (), generator=rng, dtype=torch.int64)


def uniform(key: torch.Tensor, step: torch.Tensor, *shape: int) -> torch.Tensor:
    """Numbers uniform on [0, 1), float64 of ``shape``: a function of ``key`` and ``step`` (int64 of shape ()) alone.

    Counter-based, so that they need no state, can be stacked, and are the same bits in any pack and after any
    interruption: splitmix64 (Steele, Lea, Flood 2014, fig. 13) at counters step size + 0, 1, ...
    """
    size = math.prod(shape)
    z = key + (step * size + torch.arange(1, size + 1, device=key.device)) * _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * _signed(0x94D049BB133111EB)
    return (_shift(z ^ _shift(z, 31), 11).double() * 2.0**-53).reshape(shape)


def normal(key: torch.Tensor, step: torch.Tensor, *shape: int) -> torch.Tensor:
    """Standard normal numbers, float64 of ``shape``, from ``uniform`` by Box and Muller 1958."""
    half = -(-math.prod(shape) // 2)
    u, v = uniform(key, step, 2, half)
    radius, angle = (-2 * torch.log1p(-u)).sqrt(), 2 * math.pi * v
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[: math.prod(shape)].reshape(shape)


def _signed(constant: int) -> int:
    """A 64-bit constant as int64 holds it."""
    return constant - 2**64 if constant >= 2**63 else constant


def _shift(z: torch.Tensor, bits: int) -> torch.Tensor:
    """z >> bits with zeros shifted in."""
    return (z >> bits) & (2 ** (64 - bits) - 1)


def claim(
    name: str,
    statement: str,
    source: tuple[str, str, str],
    tag: Literal["paper", "abstract", "derived", "recalled"],
    direction: Literal["sufficient", "necessary", "rate", "inequality", "probability", "order"],
    over: str,
    **more: Any,
) -> Mapping[str, Any]:
    """One statement of a theorem as data; a sweep's plan carries it to the analysis (``analysis.claims.theory.Claim``).

    source: paper ("Du et al. 2018"), arXiv number ("" if none), place in it ("Theorem 4.1"). tag: how far it can be
    trusted. direction: what a measurement can say about it:

        sufficient   ``critical``* <= C over^``exponent``: more than enough; a law below it shows the bound loose
        necessary    ``critical``* >= c over^``exponent``
        rate         ``metric`` ~ over^``exponent`` at fixed other axes
        inequality   ``metric`` <= ``constant`` x ``bound`` in every training
        probability  the share of successes, or of a ``metric`` of 0 and 1, is ``bound``; with ``at_least``, no less
        order        ``metric`` (default success) at axis ``order[0]`` is lower for ``order[1]`` than for ``order[2]``

    over: the axis that the statement is about. More, all optional: critical, metric, exponent, bound (a column, or a
    positive number), constant (None: the paper leaves it unstated, and no finite range can refute the claim), order,
    at_least; hypotheses, in words; where: axis values under which the claim speaks, {"start": "random"}; needed: the
    column with the least ``over`` that the hypotheses ask for; met: the column that is 1 where they are met; small:
    the theorem wants the critical axis small (a step size); per_step: the bound is a factor per step, metric(k) <=
    bound^k metric(0); at_start: the metric is taken before the training.
    """
    told = {"name": name, "statement": statement, "source": list(source), "tag": tag, "direction": direction}
    return told | {"over": over} | more


def names() -> list[str]:
    """Names of all families: the modules in this folder, but for helpers of a family, which start with "_"."""
    return list(_names(tuple(__path__)))


@lru_cache
def _names(folders: tuple[str, ...]) -> list[str]:
    """Looked up once: a plan asks at each of its cells."""
    return sorted(info.name for info in pkgutil.iter_modules(folders) if not info.name.startswith("_"))


def load(name: str) -> Any:
    """The family module called ``name``. ValueError names the known families when there is none."""
    if name not in names():
        raise ValueError(f"unknown family '{name}'; known: {', '.join(names())}")
    return import_module(f"trainables.{name}")
