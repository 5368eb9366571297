"""Rows -> laws, verdicts, tables, figures, one page. From Parquet alone: nothing is trained, no model is imported.

``conclude`` is what a sweep ends with: the page of its results folder, and one plan in words. ``write_report`` is the
page alone: ``report.html``, ``laws.json``, ``figures/`` and ``tables/``, a few seconds a plan.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from analysis import laws_file
from analysis.board.board import board
from analysis.board.held import Board
from analysis.figures import lines, maps
from analysis.figures.exponents import board_figure
from analysis.figures.phase import phase_diagram
from analysis.figures.power_laws import bound_figure, power_law_figure
from analysis.figures.style import encoded
from analysis.figures.thresholds import thresholds_figure
from analysis.figures.timeline import timeline, timeline_figure, told
from analysis.pages import cells, front, page, spots, tables
from analysis.pages.cells import Cells
from analysis.pages.page import Picture, Section
from analysis.pages.spots import Mark
from analysis.pages.sweep_in_words import in_words
from analysis.series import panels, shown
from analysis.study import Study, studied
from infra.store import records, storage

PAGE = "report.html"
EXPONENTS = "Exponents: claimed (bars) and measured, with 95% interval (thick) and envelope (thin)."


class Drawn(NamedTuple):
    """A figure, its caption, the points on it that lead to their trainings, and a board's lines."""

    figure: Figure
    caption: str
    marks: Iterable[Mark] = ()
    lines: tuple[cells.Line, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """Rows of a plan, known by what they say."""

    sha256: str
    rows: pa.Table = field(compare=False)


@dataclass(frozen=True)
class Summary:
    """The text for the terminal, the law as JSON, the files written, by name in the results folder, and how many rows
    there are and how many of them say ``failed``."""

    text: str
    law: dict[str, Any]
    files: list[str]
    rows: int
    failed: int


def conclude(out: str, plan_id: str) -> Summary:
    """Fit one plan, write its laws, figures and the page, put it in words. ResultsError without such a plan."""
    plan = records.read_plan(out, plan_id)
    sections = write_sections(out, records.plans_to_report(out))
    section = next(one for one in sections if one.found.plan["plan_id"] == plan["plan_id"])
    first = [picture.name for key, picture in section.pictures.items() if key in section.leading]
    files = [f"figures/{name}.{kind}" for name in first for kind in ("pdf", "png")]
    law = laws_file.entry(section.found, section.board)
    text, rows = in_words(out, section.found, section.board, files), len(section.found.rows)
    return Summary(text, law, files, rows, section.found.counts["failed"])


def write_report(out: str) -> str:
    """Everything about all plans of a results folder; the path of its page. ResultsError when it holds no plan."""
    write_sections(out, records.plans_to_report(out))
    return storage.beside(out, PAGE)


def write_board(outs: Sequence[str], target: str) -> str:
    """The verdict board over all plans of several results folders, ``target``, and its figure beside it as PDF and PNG.
    The folders get their laws, figures, tables and pages too."""
    parts = {out: write_sections(out, records.plans_to_report(out)) for out in outs}
    sections = [section for part in parts.values() for section in part]
    parent, name = storage.parted(target)
    html = front.render(sections, overview(parent, name.removesuffix(".html"), sections), links(parts, parent))
    storage.write_bytes(parent, name, html.encode())
    return target


def overview(parent: str, stem: str, sections: Sequence[Section]) -> Picture | None:
    """The exponents of all papers in one figure, written to ``parent``; None where none was measured."""
    shown = front.exponents(front.papers(sections))
    groups = {name: [answer.held for answer in answers] for name, answers in shown.items()}
    if not groups:
        return None
    trainings = sum(len(section.found.rows) for section in sections)
    figure = board_figure(groups, f"{len(sections)} sweeps, {trainings:,} trainings")
    for kind in ("pdf", "png"):
        storage.write_bytes(parent, f"{stem}.{kind}", encoded(figure, kind))
    lines = spots.on_board(groups, figure)
    return Picture(encoded(figure, "svg"), stem, EXPONENTS, figure.get_figwidth(), lines=lines)


def links(parts: Mapping[str, Sequence[Section]], parent: str) -> dict[str, str]:
    """Each section's report by its anchor, as seen from a page in ``parent`` where both are local folders."""
    near = {out: out if "://" in out else os.path.relpath(out, parent) for out in parts}
    return {one.anchor: f"{storage.beside(near[out], PAGE)}#{one.anchor}" for out in parts for one in parts[out]}


def write_sections(out: str, plans: Sequence[dict[str, Any]]) -> list[Section]:
    """``laws.json``, figures, tables and the page of ``plans``."""
    sections = sections_of(out, plans)
    html = page.render(f"Laws of {storage.parted(out)[1]}", sections, page.folder(out))
    storage.write_bytes(out, PAGE, html.encode())
    return sections


def sections_of(out: str, plans: Sequence[dict[str, Any]]) -> list[Section]:
    """The plans' sections of the page; their laws, figures and tables are written on the way."""
    made = [section(out, json.dumps(plan), recorded(out, plan)) for plan in plans]
    laws_file.write(out, [laws_file.entry(one.found, one.board) for one in made])
    return made


def recorded(out: str, plan: Mapping[str, Any]) -> Recorded:
    """The rows of a plan that are there now."""
    rows = records.plan_rows(out, plan)
    return Recorded(records.digest(rows), rows)


@lru_cache(maxsize=64)
def section(out: str, recipe: str, given: Recorded) -> Section:
    """One plan, as JSON text: fitted, held against its claims, drawn. Within a process once for the same rows."""
    found = studied(json.loads(recipe), given.rows, given.sha256)
    held = board(found)
    every = cells.cells(found, out)
    pictures = draw(out, found, held, every)
    files = tables.files(found, held)
    for name, text in files.items():
        storage.write_bytes(out, name, text.encode())
    return Section(found, held, pictures, tuple(files), every)


def phase(found: Study) -> Figure:
    """The phase diagrams of all groups with rows."""
    panels = [group.panel for group in found.groups if len(group.panel.tally.over)]
    return phase_diagram(panels, found.names, found.stamp)


def draw(out: str, found: Study, held: Board, every: Cells) -> dict[str, Picture]:
    """Draw and write every figure that the rows bear: PDF and PNG in ``figures/``, SVG for the page."""
    return {key: keep(out, found, key, one) for key, one in figures(found, held, every).items()}


def figures(found: Study, held: Board, every: Cells | None = None) -> dict[str, Drawn]:
    """Every figure that the rows bear, by key; given the trainings, with the points that lead to them."""
    plan = found.plan
    over, critical = plan["over"], plan["critical"]
    drawn: dict[str, Drawn] = {}
    if any(len(group.panel.tally.over) for group in found.groups):
        text = f"Share of trainings that fit over {over} and {critical}, with {critical}*, its law."
        figure = phase(found)
        drawn["phase"] = Drawn(figure, text, spots.on_phase(found, every, figure) if every else ())
        text = f"{critical}* with 95% intervals, the law with its band; below, local exponents with 95% intervals."
        figure = thresholds_figure(found)
        drawn["thresholds"] = Drawn(figure, text, spots.on_thresholds(found, every, figure) if every else ())
    if trajectories := maps.map_figure(found):
        text = "Weights along the training: multidimensional scaling of 1 - cosine; colours are seeds."
        drawn["map"] = Drawn(trajectories, text)
    for metric in shown(plan, found.frame):
        if along := panels(plan, found.frame, metric):
            text = f"{upper(lines.measure_label(found, metric))} along {over}."
            figure = lines.metric_figure(found, metric, along)
            marks = spots.on_metric(every, figure, along) if every else ()
            drawn[f"metric-{metric}"] = Drawn(figure, text, marks)
    for name in (name for name in plan.get("curves", ()) if name != "sketch"):
        if curves := lines.training_figure(found, name):
            text = f"{upper(lines.measure_label(found, name))} along the training."
            drawn[f"curve-{name}"] = Drawn(curves, text, spots.on_curve(found, every, curves) if every else ())
    if claimed := [one for one in held.held if one.has_exponent]:
        figure = board_figure({"": claimed}, found.stamp)
        drawn["board"] = Drawn(figure, EXPONENTS, lines=spots.on_board({"": claimed}, figure))
    for one in held.held:
        x = found.label(one.claim.over)
        if any((part.y > 0).any() for part in one.parts):
            fitted = one.law is not None and np.isfinite(one.law.exponent)
            rest = "; below, measured over law." if fitted else "; no law could be fitted."
            text = f"{one.claim.metric} over {one.claim.over} at {one.where or 'all settings'}{rest}"
            labels = x, lines.measure_label(found, str(one.claim.metric))
            figure = power_law_figure(one, labels, found.stamp)
            drawn[one.slug] = Drawn(figure, text, spots.on_law(every, figure, one) if every else ())
        if one.cells is not None and one.cells.x.size:
            text = f"{one.claim.metric} over its bound, training by training: above 1 the inequality fails."
            figure = bound_figure(one, (x, f"{one.claim.metric} / bound"), found.stamp)
            drawn[one.slug] = Drawn(figure, text, spots.on_bound(every, figure, one) if every else ())
    if packs := timeline(found.rows, over):
        figure = timeline_figure(packs, over, found.stamp)
        drawn["timeline"] = Drawn(figure, told(packs, over), spots.on_timeline(every, figure, packs) if every else ())
    return drawn


def keep(out: str, found: Study, key: str, drawn: Drawn) -> Picture:
    """Write one figure as PDF and PNG; the picture for the page."""
    name, figure = named(found, key), drawn.figure
    for kind in ("pdf", "png"):
        storage.write_bytes(out, f"figures/{name}.{kind}", encoded(figure, kind))
    svg = encoded(figure, "svg")  # does the layout
    at = tuple(spots.placed(figure, drawn.marks, cells.POINTS))
    return Picture(svg, name, drawn.caption, figure.get_figwidth(), at, drawn.lines)


def named(found: Study, key: str) -> str:
    """The name of a figure's files."""
    return found.stem if key == "phase" else f"{found.stem}-{key}"


def upper(text: str) -> str:
    """A capital first, the rest as it is: H and h are not the same."""
    return text[:1].upper() + text[1:]
