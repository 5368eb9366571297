"""A family for tests of planning: an axis of every type, a chosen budget, draws that fail or do not fit in memory."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trainables import axis

VERSION = "1"
SHAPE = ("m", "n")


@dataclass(frozen=True)
class Cell:
    m: int = axis("width", "units")
    n: int = axis("samples", "samples", 4)
    scale: float = axis("scale; above 100 nothing can be drawn", "1", 1.0)
    length: float = axis("steps of a training", "steps", 10.0)
    labels: Literal["gauss", "sign"] = axis("labels", "1", "sign")
    bias: bool = axis("whether there is a bias", "1", False)
    seed: int = axis("seed", "1", 0)


SMALL = Cell(m=4)
COLUMNS = {
    "loss": ("half the squared norm", "1"),
    "largest": ("largest entry", "1"),
    "first": ("first entry, before", "1"),
}


class State(NamedTuple):
    W: Tensor
    budget: Tensor


def draw(cell: Cell) -> State:
    if cell.scale > 100:
        raise ValueError("scale above 100")
    return State(torch.full((cell.n, cell.m), cell.scale, dtype=torch.float64), torch.tensor(round(cell.length)))


def step(s: State) -> State:
    return s._replace(W=s.W @ s.W.T @ s.W)


def observe(s: State) -> dict[str, Tensor]:
    return {"loss": (s.W**2).sum() / 2}


def measure(s: State) -> dict[str, Tensor]:
    return {"largest": s.W.abs().max()}


def theory(s: State) -> dict[str, Tensor]:
    return {"first": s.W[0, 0]}


def solved(s: State) -> Tensor:
    return (s.W == 0).all()


def budget(s: State) -> Tensor:
    return s.budget
