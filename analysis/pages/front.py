"""The verdict board over all papers -> one HTML file to send to a co-author: every claim with its figure, no script."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from analysis.board.held import Held
from analysis.claims.theory import Claim
from analysis.pages.page import Picture, Section, environment, provenance

KINDS = {
    "consistent": "the measured exponent is the claimed one, to within 0.25 with its whole envelope",
    "holds": "the bound, probability or order holds in every training or grid point",
    "loose": "less is needed than the claim allows; of a metric, it falls faster",
    "exceeds": "more than the claimed exponent, on the range measured; refutes no claim whose constant is unstated",
    "violated": "a stated bound, probability or order fails at the points named",
    "vacuous": "the hypotheses are not met at any size trained, so that the claim says nothing here",
    "inconclusive": "no law, or an envelope too wide to tell",
}


@dataclass(frozen=True, eq=False)
class Answer:
    """What one sweep says of a claim. key: the figure that shows it, "" if there is none."""

    section: Section
    held: Held
    key: str
    anchor: str

    @property
    def picture(self) -> Picture:
        return self.section.pictures[self.key]


@dataclass(frozen=True, eq=False)
class Told:
    """A claim with the answers of the sweep that asks for it, and what other sweeps' rows say of it besides."""

    claim: Claim
    answers: tuple[Answer, ...]
    others: tuple[Answer, ...]


@dataclass(frozen=True, eq=False)
class Paper:
    """A family with its sections. claims: those that some sweep answers; silent: the others, each with a sweep's
    reason."""

    family: str
    title: str
    source: str
    sections: tuple[Section, ...]
    claims: tuple[Told, ...]
    silent: tuple[tuple[Claim, str], ...]

    @cached_property
    def kinds(self) -> Mapping[str, int]:
        """How many verdicts of each kind, in the order of KINDS."""
        found: Counter[str] = Counter(answer.held.verdict.kind for told in self.claims for answer in told.answers)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    @property
    def short(self) -> str:
        """Authors and year, and the family."""
        return ", ".join([*dict.fromkeys(told.claim.source.paper for told in self.claims[:1]), self.family])

    @property
    def trainings(self) -> int:
        return sum(len(section.found.rows) for section in self.sections)

    @property
    def place(self) -> tuple[str, int]:
        """For the order of the board: by arXiv number; of two families on one paper, the one with more claims first."""
        number = re.search(r"\d{4}\.\d{5}", self.source)
        return number[0] if number else "9", -len(self.claims)


def papers(sections: Sequence[Section]) -> list[Paper]:
    """The sections by family, the earliest paper first."""
    families = dict.fromkeys(section.found.plan["family"] for section in sections)
    parts = [[section for section in sections if section.found.plan["family"] == family] for family in families]
    return sorted((paper(part) for part in parts), key=lambda one: one.place)


def paper(sections: Sequence[Section]) -> Paper:
    """One family from its sections: answers gathered claim by claim."""
    plan = sections[0].found.plan
    title, source = plan.get("paper", (plan["family"], ""))
    answers: dict[str, list[Answer]] = {}
    for section in sections:
        for i, held in enumerate(section.board.held):
            anchor = f"{section.anchor}-{i}"
            answers.setdefault(held.claim.name, []).append(Answer(section, held, section.shown(held), anchor))
    silent = {claim.name: (claim, why) for section in sections for claim, why in section.board.unanswered}
    return Paper(
        plan["family"], title, source, tuple(sections),
        tuple(told(found) for found in answers.values()),
        tuple(one for name, one in silent.items() if name not in answers),
    )  # fmt: skip


def told(answers: Sequence[Answer]) -> Told:
    """The sweep that asks for the claim comes first, of several the one with the most trainings: whatever they say."""
    claim = answers[0].held.claim
    first = max((answer.section for answer in answers), key=lambda one: (asks(one, claim), len(one.found.rows)))
    mine = tuple(answer for answer in answers if answer.section is first)
    return Told(claim, mine, tuple(answer for answer in answers if answer.section is not first))


def asks(section: Section, claim: Claim) -> bool:
    """Is the sweep about what the claim is about? Others may measure it besides, on a grid for something else."""
    plan = section.found.plan
    if claim.metric:
        return claim.metric in plan["metrics"]
    return bool(claim.critical == plan["critical"] and claim.over == plan["over"])


def exponents(board: Sequence[Paper]) -> dict[str, list[Answer]]:
    """What there is to show of each paper in one figure of exponents, line by line."""
    found = {one.short: [answer for told in one.claims for answer in told.answers] for one in board}
    return {name: shown for name, all_ in found.items() if (shown := [one for one in all_ if one.held.has_exponent])}


def render(sections: Sequence[Section], overview: Picture | None, links: Mapping[str, str]) -> str:
    """The page. links: where each section's own report lies, by its anchor."""
    board = papers(sections)
    answers = [one for group in exponents(board).values() for one in group]
    page = environment().get_template("front.html")
    return page.render(
        papers=board, overview=overview, answers=answers, links=links, kinds=KINDS,
        total=Counter(kind for one in board for kind, count in one.kinds.items() for _ in range(count)),
        trainings=sum(one.trainings for one in board), provenance=provenance,
    )  # fmt: skip
