"""What the verdict board is made of: claims with what the rows say of them."""

import math
from dataclasses import dataclass

import numpy as np

from analysis import notebook_tables
from analysis.claims.theory import Array, Claim
from analysis.claims.verdict import Verdict
from analysis.powerlaws.law import PowerLaw
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
    """measured / bound of single trainings, (N,), over x; `inside` says which meet the hypotheses; their rows."""

    x: Array
    ratio: Array
    inside: Array
    row: Array  # labels in the study's frame


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
    def share(self) -> str:
        """ "at 2 of 12": at how many of several settings the verdict is this one; "" where it is so at all."""
        same = sum(part.verdict.kind == self.verdict.kind for part in self.parts)
        return f"at {same} of {len(self.parts)}" if 0 < same < len(self.parts) else ""

    @property
    def label(self) -> str:
        """The verdict in a few words, with its share."""
        return f"{self.verdict.label} {self.share} settings" if self.share else self.verdict.label

    @property
    def slug(self) -> str:
        """For file names: the claim's name in words joined by hyphens."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.claim.name.lower()).split())

    @property
    def measured(self) -> str:
        """The exponent with its envelope, or what the trainings say where there is no exponent."""
        if self.cells is not None and self.cells.ratio.size:
            ratio = self.cells.ratio
            return f"measured / bound: median {np.median(ratio):.2g}, most {ratio.max():.2g}"
        if self.law is None:
            return self.verdict.law
        if not math.isfinite(self.law.exponent):
            return f"no exponent: {self.law.status}"
        low, high = self.law.envelope
        broken = getattr(self.law, "broken", None)
        if self.law.status == "broken" and broken is not None:
            first = f"{broken.before:.2f}, from {self.claim.over} = {broken.at:.3g} on"
            return f"{first} {broken.after:.2f} [{low:.2f}, {high:.2f}]"
        return f"{self.law.exponent:.2f} [{low:.2f}, {high:.2f}]"

    def _repr_html_(self) -> str:
        """For notebooks: the claim, what was measured, the verdict."""
        where = f" ({self.where})" if self.where else ""
        told = [f"predicted: {self.predicted}", f"measured: {self.measured}", self.verdict.sentence, self.remark]
        return notebook_tables.block(f"{self.claim.name}{where}: {self.label}", told)


@dataclass(frozen=True)
class Board:
    """The claims that the rows answer, and the others with the reason."""

    held: tuple[Held, ...]
    unanswered: tuple[tuple[Claim, str], ...]

    def _repr_html_(self) -> str:
        """For notebooks: a line for each claim."""
        rows = [(one.claim.name, one.where, one.predicted, one.measured, one.label, one.claim.tag) for one in self.held]
        head = f"verdicts: {len(self.held)}; claims without an answer here: {len(self.unanswered)}"
        titles = ("claim", "at", "predicted", "measured", "verdict", "tag")
        silent = notebook_tables.table(
            ("claim", "why it has no answer"), [(claim.name, why) for claim, why in self.unanswered]
        )
        return notebook_tables.block(head, [], notebook_tables.table(titles, rows), silent)
