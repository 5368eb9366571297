"""How far each sweep of a results folder is: recorded, to go, since when, and whether something works on it."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analysis.titles import plan_titles
from infra.store import lock, records
from infra.store.schema import OUTCOMES
from infra.store.storage import ResultsError, first_line

LATELY = 600.0  # seconds over which the present speed is taken


@dataclass(frozen=True)
class Status:
    """One plan. ``rows``: how many with each outcome; ``asked``: trainings asked for, none where they are chosen on the
    way; ``seconds_since_row``: since the last row; ``trainings_an_hour``: over the last ten minutes of them;
    ``running``: whether a process works on the folder, None where that cannot be told."""

    title: str
    rows: dict[str, int]
    asked: int | None
    seconds_since_row: float | None
    trainings_an_hour: float | None
    running: bool | None

    @property
    def to_go(self) -> int | None:
        """Trainings without a row, and such that failed and are tried again."""
        return None if self.asked is None else self.asked - sum(self.rows.values()) + self.rows.get("failed", 0)

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {name}" for name, count in self.rows.items()) or "nothing recorded"
        parts = [f"{self.title}: {told}"]
        if self.to_go is not None:
            parts.append("all done" if not self.to_go else f"{self.to_go:,} of {self.asked:,} to go")
        if self.seconds_since_row is not None:
            parts.append(f"last row {ago(self.seconds_since_row)} ago")
        if self.running and self.trainings_an_hour:
            parts.append(f"{self.trainings_an_hour:,.0f} an hour")
        parts.append({True: "running", False: "not running", None: "whether it runs cannot be told here"}[self.running])
        return "; ".join(parts)


def statuses(out: str) -> list[Status]:
    """One for each plan, the oldest first. ResultsError if the folder holds none."""
    plans = records.read_plans(out)
    if not plans:
        raise ResultsError(f"{out} holds no sweep; is the path right?")
    running, now = lock.in_use(out), datetime.now(UTC)
    try:
        titles = plan_titles(plans)
        return [status(out, plan, title, running, now) for title, plan in zip(titles, plans, strict=True)]
    except (LookupError, ValueError, TypeError) as error:
        raise ResultsError(f"{out}: a plan or its rows are not what a sweep writes ({first_line(error)})") from None


def status(out: str, plan: dict[str, Any], title: str, running: bool | None, now: datetime) -> Status:
    """Of one plan. LookupError, ValueError, TypeError where it or its rows were not written by a sweep."""
    table = records.plan_rows(out, plan, ["outcome", "finished"])
    outcomes = Counter(table["outcome"].to_pylist() if len(table) else [])
    rows = {name: outcomes[name] for name in OUTCOMES if outcomes[name]}
    ages = [(now - datetime.fromisoformat(when)).total_seconds() for when in finished(table)]
    asked = None if plan.get("adaptive") else records.asked(plan, len(table))
    return Status(title, rows, asked, min(ages, default=None), speed(ages), running)


def finished(table: Any) -> list[str]:
    """When the rows were written."""
    return [when for when in table["finished"].to_pylist() if when] if len(table) else []


def speed(ages: list[float]) -> float | None:
    """Trainings an hour over the ten minutes before the last row; None of fewer than two shards."""
    last = min(ages, default=0.0)
    lately = [age for age in ages if age - last <= LATELY]
    span = max(lately, default=0.0) - last
    return 3600 * sum(age - last < span for age in lately) / span if span else None


def ago(seconds: float) -> str:
    """A time that has passed, in the unit that suits it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
