"""The theorems as data: what each paper claims, where, and how we know that it does.

A family states its claims beside its equations (``trainables.claim``); the plan of a sweep carries them here, so that
the analysis needs no model. ``verdict.py`` holds laws against them. Tags, as printed everywhere: paper (read in its own
text), abstract (read in the abstract or a review), derived (from the definitions, checked numerically), recalled
(quoted from memory: shown, never decisive).

Exponents are e in y ~ over^e, also for m* ~ n^e. Names of axes and metrics are the columns of the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Tag = Literal["paper", "abstract", "derived", "recalled"]
Direction = Literal["sufficient", "necessary", "rate", "inequality", "probability", "order"]


@dataclass(frozen=True)
class Source:
    """Where a claim stands: paper ("Du et al. 2018"), arXiv number ("" if none), place in it ("Theorem 4.1")."""

    paper: str
    arxiv: str
    where: str

    def __str__(self) -> str:
        arxiv = f"arXiv:{self.arxiv}" if self.arxiv else ""
        return ", ".join(part for part in (self.paper, arxiv, self.where) if part)


@dataclass(frozen=True)
class Claim:
    """One statement of a theorem; the fields are those of ``trainables.claim``."""

    name: str
    family: str
    statement: str
    source: Source
    tag: Tag
    direction: Direction
    over: str
    critical: str | None = None
    metric: str | None = None
    exponent: float | None = None
    bound: str | float | None = None
    constant: float | None = None
    hypotheses: tuple[str, ...] = ()
    small: bool = False
    needed: str | None = None
    met: str | None = None
    per_step: bool = False
    at_start: bool = False
    at_least: bool = False
    order: tuple[str, Any, Any] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the rows that the claim speaks of."""
        named = (self.metric, self.bound, self.needed, self.met)
        return tuple(name for name in named if isinstance(name, str))

    @property
    def bound_name(self) -> str:
        """The bound as one reads it: a column's name, or a number."""
        return self.bound if isinstance(self.bound, str) else f"{self.bound:g}"

    def bounds(self, rows: Any) -> Array:
        """The bound of every row, (N,); ``rows`` by column, for instance a data frame."""
        if isinstance(self.bound, str):
            return np.asarray(rows[self.bound], dtype=np.float64)
        return np.full(len(rows[self.over]), float(self.bound or 0))

    @property
    def lower_bound(self) -> bool:
        """Does the claim bound what is measured from below?"""
        return (self.direction == "necessary") != self.small

    @property
    def gates(self) -> bool:
        """May a test or a verdict turn on it? Not when it is quoted from memory."""
        return self.tag != "recalled"


def claims(plan: Mapping[str, Any]) -> tuple[Claim, ...]:
    """All claims of a plan's family, in the paper's order; none in a plan that carries none."""
    return tuple(claim(plan["family"], told) for told in plan.get("claims", ()))


def claim(family: str, told: Mapping[str, Any]) -> Claim:
    """One claim from plain data, as JSON keeps it."""
    order, hypotheses = told.get("order"), tuple(told.get("hypotheses", ()))
    made = {"source": Source(*told["source"]), "hypotheses": hypotheses, "order": order and tuple(order)}
    return Claim(**{**told, **made, "family": family})
