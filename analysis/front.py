"""The verdict board over all papers -> one HTML file to send to a co-author: every claim with its figure, no script."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from analysis.held import Held
from analysis.page import Picture, Section, environment, provenance
from analysis.theory import Claim

KINDS = {
    "consistent": "the measured exponent is the claimed one, to within 0.25 with its whole envelope",
    "holds": "the bound, probability or order holds in every training or grid point",
    "loose": "less is needed than the claim allows",
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
class Paper:
    """A family with its sections. claims: each claim that some sweep answers, with the answers; silent: the others,
    each with the reason of one sweep."""

    family: str
    title: str
    source: str
    sections: tuple[Section, ...]
    claims: tuple[tuple[Claim, tuple[Answer, ...]], ...]
    silent: tuple[tuple[Claim, str], ...]

    @cached_property
    def kinds(self) -> Mapping[str, int]:
        """How many verdicts of each kind, in the order of KINDS."""
        found: Counter[str] = Counter(answer.held.verdict.kind for _, answers in self.claims for answer in answers)
        return {kind: found[kind] for kind in KINDS if found[kind]}

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
    answers: dict[str, tuple[Claim, list[Answer]]] = {}
    for section in sections:
        for i, held in enumerate(section.board.held):
            anchor = f"{section.anchor}-{i}"
            found = answers.setdefault(held.claim.name, (held.claim, []))
            found[1].append(Answer(section, held, shown(section, held), anchor))
    silent = {claim.name: (claim, why) for section in sections for claim, why in section.board.unanswered}
    return Paper(
        plan["family"], title, source, tuple(sections),
        tuple((claim, tuple(found)) for claim, found in answers.values()),
        tuple(told for name, told in silent.items() if name not in answers),
    )  # fmt: skip


def shown(section: Section, held: Held) -> str:
    """The key of the figure that a verdict is best seen in."""
    metric = held.claim.metric or "success"
    wanted = (
        held.slug,
        "phase" if held.claim.critical else "",
        f"metric-{metric}",
        f"curve-{metric}",
        *section.leading,
    )
    return next((key for key in wanted if key in section.pictures), "")


def render(sections: Sequence[Section], overview: Picture | None, links: Mapping[str, str]) -> str:
    """The page. links: where each section's own report lies, by its anchor."""
    board = papers(sections)
    page = environment().get_template("front.html")
    return page.render(
        papers=board, overview=overview, links=links, kinds=KINDS,
        total=Counter(kind for one in board for kind, count in one.kinds.items() for _ in range(count)),
        trainings=sum(one.trainings for one in board), provenance=provenance,
    )  # fmt: skip
