"""What the verdict board is made of: claims with what the rows say of them."""

import math
from dataclasses import dataclass

from analysis.claims.theory import Array, Claim
from analysis.claims.verdict import Verdict
from analysis.powerlaws.fitting import PowerLaw
from analysis.thresholds.fitting import ThresholdLaw


@dataclass(frozen=True, eq=False)
class Part:
    """A metric over x at fixed other axes ("n = 16"): the points (N,), their rows, their law, and the verdict on it."""

    title: str
    x: Array
    y: Array
    row: Array  # labels in the study's frame
    law: PowerLaw
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Cells:
    """measured / bound of single trainings, (N,), over x; `inside` says which meet the hypotheses."""

    x: Array
    ratio: Array
    inside: Array


@dataclass(frozen=True, eq=False)
class Held:
    """A claim and what the rows say of it. where: the group or part that the verdict speaks of."""

    claim: Claim
    verdict: Verdict
    where: str
    predicted: str
    law: PowerLaw | ThresholdLaw | None = None
    parts: tuple[Part, ...] = ()
    cells: Cells | None = None
    remark: str = ""

    @property
    def has_exponent(self) -> bool:
        """Is there an exponent to show, claimed or measured?"""
        return self.law is not None and (self.claim.exponent is not None or math.isfinite(self.law.exponent))

    @property
    def slug(self) -> str:
        """For file names: the claim's name in words joined by hyphens."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.claim.name.lower()).split())


@dataclass(frozen=True)
class Board:
    """The claims that the rows answer, and the others with the reason."""

    held: tuple[Held, ...]
    unanswered: tuple[tuple[Claim, str], ...]
