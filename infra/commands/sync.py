"""MLflow brought up to date from a results folder, sweep by sweep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis import report
from analysis.titles import plan_titles
from infra.catalogue import tracking


@dataclass(frozen=True)
class Brought:
    """How many grid points of a sweep had their run created, written anew, or left alone."""

    title: str
    sweep: str
    family: str
    plan_id: str
    created: int
    updated: int
    unchanged: int

    def __str__(self) -> str:
        counts = f"{self.created} runs created, {self.updated} updated, {self.unchanged} unchanged"
        return f"{self.title}: {counts}"


def brought(results: str, uri: str, plans: Sequence[Mapping[str, Any]]) -> Iterator[Brought]:
    """Fit, draw and catalogue each plan. Errors as of ``report.conclude`` and ``tracking.sync``."""
    for title, plan in zip(plan_titles(plans), plans, strict=True):
        name = plan["plan_id"]
        told = report.conclude(results, name)
        done = tracking.sync(results, uri, artifacts=[*told.files, report.PAGE], law=told.law, plan_ids=[name])
        yield Brought(title, plan["sweep"], plan["family"], name, done.created, done.updated, done.unchanged)
