"""The theorems as data: what each paper claims, where, and how we know that it does.

Adding a family's claims is adding a tuple of `Claim` below; `verdict.py` holds laws against them. Tags, as printed
everywhere: paper (read in its own text), abstract (read in the abstract or a review), derived (from the definitions,
checked numerically), recalled (quoted from memory: shown, never decisive).

Exponents are e in y ~ over^e, also for m* ~ n^e. Names of axes and metrics are the columns of the rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Tag = Literal["paper", "abstract", "derived", "recalled"]
Direction = Literal["sufficient", "necessary", "rate", "probability", "inequality"]


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
    """One statement of a theorem, about a critical axis or about a metric (exactly one of the two).

    direction: what a measurement can say about it.
        sufficient   critical* <= C over^exponent: more than enough; a law below it shows the bound loose
        necessary    critical* >= c over^exponent
        rate         metric = O(over^exponent)
        inequality   metric <= constant x the bound column, cell by cell
        probability  the share of successes, at least or exactly as stated
    exponent: None when the claim states none. bound: column of the rows that carries it. constant: None when
    the paper leaves it unstated; no finite range can refute such a claim. small: the theorem wants the critical axis
    small (a step size), so that "sufficient" bounds critical* from below. needed: the least ``over`` that the
    hypotheses ask for, from the columns of the rows, its unstated constant and delta left out. per_step: the bound is a
    factor per step, metric(k) <= bound^k metric(0), held along the curve. at_start: taken before the training.
    """

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
    bound: str | None = None
    constant: float | None = None
    hypotheses: tuple[str, ...] = ()
    small: bool = False
    needed: Callable[[Mapping[str, Array]], Array] | None = None
    per_step: bool = False
    at_start: bool = False

    @property
    def lower_bound(self) -> bool:
        """Does the claim bound what is measured from below?"""
        return (self.direction == "necessary") != self.small

    @property
    def gates(self) -> bool:
        """May a test or a verdict turn on it? Not when it is quoted from memory."""
        return self.tag != "recalled"


def claims(family: str) -> tuple[Claim, ...]:
    """All claims of a family, in the paper's order; empty for a family that has none yet."""
    return tuple(claim for claim in CLAIMS if claim.family == family)


_DU, _DU_ARXIV = "Du, Zhai, Poczos, Singh 2018", "1810.02054"
_UNIT = ("‖xᵢ‖ = 1, |yᵢ| = O(1)", "no two inputs parallel (λ₀ > 0)", "wᵣ(0) ~ N(0, I), aᵣ = ±1 fixed")
_WIDE = (*_UNIT, "m = Ω(n⁶ λ₀⁻⁴ δ⁻³)", "η = O(λ₀/n²)", "with probability 1 − δ")


def _width(rows: Mapping[str, Array]) -> Array:
    """n⁶ λ₀⁻⁴, the width that Theorem 4.1 asks for."""
    return rows["width_scale"]


def _gram_width(rows: Mapping[str, Array]) -> Array:
    """n² λ₀⁻² log n, the width that the lemma on H(0) asks for."""
    return np.asarray((rows["n"] / rows["lambda0"]) ** 2 * np.log(rows["n"]))


TWO_LAYER_RELU = (
    Claim(
        name="sufficient width",
        family="two_layer_relu",
        statement="m = Ω(n⁶ λ₀⁻⁴ δ⁻³) hidden units suffice for gradient descent to reach zero loss",
        source=Source(_DU, _DU_ARXIV, "Theorems 3.2 and 4.1"),
        tag="paper",
        direction="sufficient",
        over="n",
        critical="m",
        exponent=6.0,
        bound="width_scale",
        hypotheses=(
            *_UNIT,
            "η = O(λ₀/n²)",
            "exponent 6 at fixed λ₀; where λ₀ falls with n, λ₀⁻⁴ adds to it",
            "a step budget in units of 1/(ηλ₀)",
        ),
    ),
    Claim(
        name="sufficient step size",
        family="two_layer_relu",
        statement="η = O(λ₀/n²) is small enough a step for the linear rate",
        source=Source(_DU, _DU_ARXIV, "Theorem 4.1"),
        tag="paper",
        direction="sufficient",
        over="n",
        critical="eta",
        exponent=-2.0,
        hypotheses=(*_UNIT, "exponent −2 at fixed λ₀", "m = Ω(n⁶ λ₀⁻⁴ δ⁻³)", "eta* is the largest η that converges"),
        small=True,
    ),
    Claim(
        name="linear rate",
        family="two_layer_relu",
        statement="‖u(k) − y‖² ≤ (1 − ηλ₀/2)ᵏ ‖u(0) − y‖²",
        source=Source(_DU, _DU_ARXIV, "Theorem 4.1"),
        tag="recalled",
        direction="inequality",
        over="m",
        metric="loss",
        bound="rate_bound",
        constant=1.0,
        hypotheses=_WIDE,
        needed=_width,
        per_step=True,
    ),
    Claim(
        name="Gram matrix at initialisation",
        family="two_layer_relu",
        statement="m = Ω(n² λ₀⁻² log(n/δ)) gives ‖H(0) − H∞‖₂ ≤ λ₀/4",
        source=Source(_DU, _DU_ARXIV, "lemma on H(0)"),
        tag="recalled",
        direction="inequality",
        over="m",
        metric="gram_init_gap",
        bound="lambda0",
        constant=0.25,
        hypotheses=(*_UNIT, "m = Ω(n² λ₀⁻² log(n/δ))", "with probability 1 − δ"),
        needed=_gram_width,
        at_start=True,
    ),
    Claim(
        name="distance from initialisation",
        family="two_layer_relu",
        statement="‖wᵣ(k) − wᵣ(0)‖ ≤ 4 √n ‖y − u(0)‖ / (√m λ₀) for every unit r",
        source=Source(_DU, _DU_ARXIV, "Corollary 4.1"),
        tag="recalled",
        direction="inequality",
        over="m",
        metric="dist_max",
        exponent=-0.5,
        bound="dist_bound",
        constant=1.0,
        hypotheses=_WIDE,
        needed=_width,
    ),
    Claim(
        name="Gram gap falls with width",
        family="two_layer_relu",
        statement="‖H(0) − H∞‖₂ = O(m^(−1/2))",
        source=Source(_DU, _DU_ARXIV, "remark on the Gram matrix"),
        tag="paper",
        direction="rate",
        over="m",
        metric="gram_init_gap",
        exponent=-0.5,
        hypotheses=_UNIT,
        at_start=True,
    ),
    Claim(
        name="Gram drift falls with width",
        family="two_layer_relu",
        statement="‖H(k) − H(0)‖₂ = O(m^(−1/2))",
        source=Source(_DU, _DU_ARXIV, "remark on the Gram matrix"),
        tag="paper",
        direction="rate",
        over="m",
        metric="gram_drift",
        exponent=-0.5,
        hypotheses=_WIDE,
        needed=_width,
    ),
    Claim(
        name="flips fall with width",
        family="two_layer_relu",
        statement="the share of flipped activations falls as m^(−1/2)",
        source=Source(_DU, _DU_ARXIV, "leading order at large m"),
        tag="derived",
        direction="rate",
        over="m",
        metric="flips",
        exponent=-0.5,
        hypotheses=(*_UNIT, "m large, n fixed"),
    ),
    Claim(
        name="largest movement falls with width",
        family="two_layer_relu",
        statement="maxᵣ ‖wᵣ(k) − wᵣ(0)‖ falls as m^(−1/2)",
        source=Source(_DU, _DU_ARXIV, "leading order at large m"),
        tag="derived",
        direction="rate",
        over="m",
        metric="dist_max",
        exponent=-0.5,
        hypotheses=(*_UNIT, "m large, n fixed"),
    ),
    Claim(
        name="typical movement falls with width",
        family="two_layer_relu",
        statement="(1/m) Σᵣ ‖wᵣ(k) − wᵣ(0)‖² → e₀ᵀ H∞⁻¹ e₀ / m as the loss goes to 0, e₀ = y − u(0)",
        source=Source(_DU, _DU_ARXIV, "leading order at large m"),
        tag="derived",
        direction="rate",
        over="m",
        metric="dist_rms",
        exponent=-0.5,
        hypotheses=(*_UNIT, "m large, n fixed, trained to the end"),
    ),
    Claim(
        name="memorisation (context)",
        family="two_layer_relu",
        statement="about 4n/d ReLU units can memorise n points in dimension d",
        source=Source("Bubeck, Eldan, Lee, Mikulincer", "", "NeurIPS 2020, abstract"),
        tag="abstract",
        direction="sufficient",
        over="n",
        critical="m",
        exponent=1.0,
        hypotheses=("existence of weights: both layers free, no claim about gradient descent", "d fixed"),
    ),
)

_RANK = ("inputs in general position, no dead unit", "labels from a continuous law", "last layer solved exactly")

RANDOM_FEATURES = (
    Claim(
        name="enough features interpolate",
        family="random_features",
        statement="m ≥ n random features interpolate n labels",
        source=Source("rank of the n × m feature matrix", "", "almost surely min(n, m)"),
        tag="derived",
        direction="sufficient",
        over="n",
        critical="m",
        exponent=1.0,
        bound="critical_width",
        constant=1.0,
        hypotheses=_RANK,
    ),
    Claim(
        name="fewer features do not",
        family="random_features",
        statement="m < n random features do not interpolate n labels: m* = n exactly",
        source=Source("rank of the n × m feature matrix", "", "almost surely min(n, m)"),
        tag="derived",
        direction="necessary",
        over="n",
        critical="m",
        exponent=1.0,
        bound="critical_width",
        constant=1.0,
        hypotheses=_RANK,
    ),
)

CLAIMS: tuple[Claim, ...] = (*TWO_LAYER_RELU, *RANDOM_FEATURES)
