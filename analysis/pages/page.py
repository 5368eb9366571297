"""Everything known of a results folder -> one HTML file: figures inside it, one script of our own, no request."""

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.board.held import Board, Held
from analysis.pages import choices
from analysis.pages.cells import Cells, Line, Spot, told
from analysis.study import Study, false_stops
from infra.store import records

PROVENANCE = {
    "code": "code (hash of the sources)", "commit": "commit", "packages": "packages", "numerics": "numerics version",
    "host": "host", "device": "device", "threads": "CPU threads",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure on the page: SVG inside, the files beside it, and what it shows for those who do not see it."""

    svg: bytes
    name: str  # figures/NAME.pdf and .png
    caption: str
    width: float  # inches
    spots: tuple[Spot, ...] = ()  # points that lead to their trainings
    lines: tuple[Line, ...] = ()  # of a board, in the order of its claims

    @property
    def source(self) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


@dataclass(frozen=True)
class Section:
    """One plan on the page. pictures: by "phase", "thresholds", "map", "metric-NAME", "curve-NAME", "board", "timeline"
    and the slugs of the claims held."""

    found: Study
    board: Board
    pictures: Mapping[str, Picture]
    files: tuple[str, ...]
    cells: Cells

    @property
    def anchor(self) -> str:
        return f"plan-{self.found.plan['plan_id']}"

    @property
    def leading(self) -> list[str]:
        """The pictures that answer the sweep's question, by key."""
        return [key for key in self.pictures if key in ("phase", "map") or key.startswith(("metric-", "curve-"))]

    def shown(self, held: Held) -> str:
        """The key of the picture that a verdict is best seen in, "" if there is none."""
        metric, threshold = held.claim.metric or "success", "phase" if held.claim.critical else ""
        wanted = (held.slug, threshold, f"metric-{metric}", f"curve-{metric}", *self.leading)
        return next((key for key in wanted if key in self.pictures), "")

    def address(self, held: Held) -> str:
        """Where that picture stands on the page; the section itself where there is none."""
        return f"{self.anchor}-{key}" if (key := self.shown(held)) else self.anchor

    @property
    def exponents(self) -> list[Held]:
        """What the board's picture shows, line by line."""
        return [held for held in self.board.held if held.has_exponent]

    @property
    def metrics(self) -> list[Any]:
        """What was held with points of its own to show."""
        return [held for held in self.board.held if held.slug in self.pictures]

    @property
    def script_data(self) -> Markup:
        """What the script of the page knows of this plan."""
        return told(self.cells, {key: picture.spots for key, picture in self.pictures.items() if picture.spots})

    @property
    def axes(self) -> list[tuple[str, str]]:
        """The axes with their values in words."""
        plan = self.found.plan
        return [(name, choices.values(plan, name, self.found.rows)) for name in plan["axes"]]

    @property
    def seeds(self) -> str:
        return choices.seeds(self.found.plan, self.found.rows)

    @property
    def search(self) -> str:
        return choices.search(self.found.plan)

    @property
    def tuning(self) -> str:
        return choices.tuning(self.found.plan)

    @property
    def provenance(self) -> list[tuple[str, str]]:
        return provenance(self.found.rows)

    @property
    def false_stops(self) -> str:
        return false_stops(self.found.plan, self.found.rows)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        return reasons(self.found.rows)


def render(title: str, sections: Sequence[Section], folder: Mapping[str, Any]) -> str:
    """The page. folder: what concerns all plans: trainings, foreign files, set-aside files, duplicates."""
    script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()  # the one script that may run
    return (
        environment()
        .get_template("page.html")
        .render(title=title, sections=sections, folder=folder, script=Markup(script), digest=digest)
    )


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates of this folder, compiled once a process, with the filters that numbers and formulas need."""
    templates = Environment(
        loader=PackageLoader("analysis.pages", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    templates.filters |= {
        "powers": powers,
        "code": lambda text: Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text)))),
        "number": number,
        "ends": ends,
        "minus": lambda text: text.replace("-", "−"),
    }
    return templates


def powers(text: str) -> Markup:
    """n^1.5 with the exponent raised, and a minus that is one. Digits around an e inside a word, as in a hash, stay."""
    raised = re.sub(r"(\w)\^(-?[\d.]*\d|k\b)", r"\1<sup>\2</sup>", str(escape(text)))
    raised = re.sub(r"\^\(([^()]*)\)", r"<sup>\1</sup>", raised)
    raised = re.sub(r"(?<![\w.])(\d{1,3}(?:\.\d+)?)e\+?(-?)0*(\d{1,3})(?!\w)", r"\1 × 10<sup>\2\3</sup>", raised)
    return Markup(raised.replace("<sup>-", "<sup>−"))


def number(value: float | None, digits: int = 3) -> str:
    """Short, with a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}g}".replace("inf", "∞").replace("-", "−")


def ends(interval: tuple[float, float], form: str = ".2f") -> str:
    """[low, high]; ∞ where open."""
    return f"[{interval[0]:{form}}, {interval[1]:{form}}]".replace("inf", "∞").replace("-", "−")


def provenance(rows: pa.Table) -> list[tuple[str, str]]:
    """What made the rows: each value with its number of rows, first and last time, compute time."""
    lines = []
    for name, meaning in PROVENANCE.items():
        if name in rows.column_names:
            found = Counter(rows[name].to_pylist()).most_common()
            values = [f"{value if value not in (None, '') else 'unknown'} ({count:,} rows)" for value, count in found]
            lines.append((meaning, "; ".join(values)))
    if "finished" in rows.column_names and (times := sorted(t for t in rows["finished"].to_pylist() if t)):
        lines.append(("first and last finished (UTC)", f"{times[0]} to {times[-1]}"))
    if "compute_seconds" in rows.column_names:
        lines.append(("compute time", f"{sum(s or 0 for s in rows['compute_seconds'].to_pylist()):,.1f} s in all"))
    return lines


def reasons(rows: pa.Table) -> list[tuple[str, int]]:
    """Why trainings failed, the most frequent first."""
    if "reason" not in rows.column_names:
        return []
    failed = Counter(rows.filter(pc.equal(rows["outcome"], "failed"))["reason"].to_pylist())
    return failed.most_common()


def folder(out: str) -> dict[str, Any]:
    """What concerns a results folder as a whole: all trainings, those recorded twice, files that are not rows."""
    rows, foreign = records.read_rows(out, columns=["cell_id"])
    return {
        "trainings": len(rows),
        "duplicates": records.duplicates(rows),
        "foreign": foreign + records.set_aside_files(out),
    }
