"""Rows -> laws, verdicts, tables, figures, one page. From Parquet alone: nothing is trained, no model is imported.

``conclude`` is what a sweep ends with: the law of one plan, its phase diagram, its words. ``write_report`` takes a few
seconds for a whole results folder: ``report.html``, ``laws.json``, ``figures/`` and ``tables/``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis import figures, laws, page, plots, tables
from analysis.board import Board, Held, board
from analysis.page import Picture, Section
from analysis.study import Group, Study, study, tallied
from analysis.verdict import against_exponent
from infra import records, storage


@dataclass(frozen=True)
class Summary:
    """The text for the terminal, the law as JSON, and the files written, by name in the results folder."""

    text: str
    law: dict[str, Any]
    files: list[str]


def conclude(out: str, plan_id: str) -> Summary:
    """Fit the law of one plan, write it and the phase diagram, put it in words. ResultsError without such a plan."""
    found = study(out, records.read_plan(out, plan_id))
    files = []
    if any(len(group.panel.tally.over) for group in found.groups):
        figure = phase(found)
        for kind in ("pdf", "png"):
            files.append(f"figures/{found.stem}.{kind}")
            storage.write_bytes(out, files[-1], figures.encoded(figure, kind))
    law = laws.entry(found)
    laws.update(out, law)
    return Summary(in_words(out, found, files), law, files)


def write_report(out: str) -> str:
    """Everything about all plans of a results folder; the path of its page. ResultsError when it holds no plan."""
    plans = records.read_plans(out)
    if not plans:
        raise storage.ResultsError(f"{out} holds no sweep; is the path right?")
    sections, entries = [], []
    for plan in plans:
        found = study(out, plan)
        held = board(found)
        pictures = draw(out, found, held)
        files = [f"tables/{found.stem}-{name}.tex" for name in ("thresholds", "verdicts")]
        texts = tables.thresholds(found), tables.verdicts(found, held.held)
        for name, text in zip(files, texts, strict=True):
            storage.write_bytes(out, name, text.encode())
        sections.append(Section(found, held, pictures, tuple(files)))
        entries.append(laws.entry(found, held))
    laws.write(out, entries)
    html = page.render(f"Laws of {out.rstrip('/').rsplit('/', 1)[-1]}", sections, page.folder(out))
    storage.write_bytes(out, "report.html", html.encode())
    return f"{out.rstrip('/')}/report.html"


def phase(found: Study) -> Figure:
    """The phase diagrams of all groups with rows."""
    panels = [group.panel for group in found.groups if len(group.panel.tally.over)]
    return figures.phase_diagram(panels, found.names, found.stamp)


def draw(out: str, found: Study, held: Board) -> dict[str, Picture]:
    """Draw and write every figure that the rows bear: PDF and PNG in ``figures/``, SVG for the page."""
    over, critical = found.plan["over"], found.plan["critical"]
    drawn: dict[str, tuple[Figure, str]] = {}
    if any(len(group.panel.tally.over) for group in found.groups):
        drawn["phase"] = (
            phase(found),
            f"Share of trainings that fit over {over} and {critical}, with {critical}*, its law.",
        )
        text = f"{critical}* with 95% intervals, the law with its band; below, local exponents with 95% intervals."
        drawn["thresholds"] = plots.thresholds_figure(found), text
    if exponents := [one for one in held.held if one.law is not None]:
        text = "Exponents: claimed (bars) and measured, with 95% interval (thick) and envelope (thin)."
        drawn["board"] = plots.board_figure(exponents, found.stamp), text
    for one in held.held:
        x = f"{found.plan['meanings'].get(one.claim.over, one.claim.over)}, {one.claim.over}"
        if any((part.y > 0).any() for part in one.parts):
            text = (
                f"{one.claim.metric} over {one.claim.over} at {one.where or 'all settings'}; below, measured over law."
            )
            drawn[one.slug] = plots.power_law_figure(one, (x, meaning(found, one)), found.stamp), text
        if one.cells is not None and one.cells.x.size:
            text = f"{one.claim.metric} over its bound, training by training: above 1 the inequality fails."
            drawn[one.slug] = plots.bound_figure(one, (x, f"{one.claim.metric} / bound"), found.stamp), text
    return {key: keep(out, found, key, *one) for key, one in drawn.items()}


def keep(out: str, found: Study, key: str, figure: Figure, caption: str) -> Picture:
    """Write one figure as PDF and PNG; the picture for the page."""
    name = found.stem if key == "phase" else f"{found.stem}-{key}"
    for kind in ("pdf", "png"):
        storage.write_bytes(out, f"figures/{name}.{kind}", figures.encoded(figure, kind))
    return Picture(figures.encoded(figure, "svg"), name, caption, figure.get_figwidth())


def meaning(found: Study, held: Held) -> str:
    """A metric's axis label: its meaning and unit as the rows carry them."""
    told = found.rows.schema.field(str(held.claim.metric)).metadata or {}
    what, unit = (told.get(key, b"").decode() for key in (b"meaning", b"unit"))
    label = what.split(",")[0] if len(what) <= 36 else str(held.claim.metric)
    return (label or str(held.claim.metric)) + (f" [{unit}]" if unit not in ("", "1") else "")


def in_words(out: str, found: Study, files: list[str]) -> str:
    """The conclusion for the terminal: m*(n) with intervals, the law, the theorem beside it, where everything lies."""
    plan = found.plan
    critical, over = plan["critical"], plan["over"]
    lines = [
        "",
        f"{plan['claim']}",
        f"A training fits: {plan['criterion']}. {critical}*: {plan['level']:.0%} of them do.",
    ]
    for group in found.groups:
        head = f"{over:>8} {critical + '*':>9}   95% interval        trainings"
        lines += ["", head + (f"   {group.title}" if group.title else ""), *in_lines(group)]
    outcomes = sorted((name, count) for name, count in tallied(found.rows).items() if count)
    listed = ", ".join(f"{count} {outcome}" for outcome, count in outcomes)
    twice = f"; {found.counts['recorded twice']} recorded twice, counted once" if found.counts["recorded twice"] else ""
    lines += ["", f"rows       {out}/rows ({len(found.rows)} trainings: {listed or 'none'}{twice})"]
    lines += [f"figure     {out}/{name}" for name in files if name.endswith(".pdf")]
    return "\n".join(lines)


def in_lines(group: Group) -> list[str]:
    """One group: a line per n, the law, the theorem and the verdict."""
    lines = []
    for point in group.law.points:
        low, high = point.interval
        far = {None: "", "above": "  beyond the widths tried", "below": "  below the widths tried"}[point.censored]
        middle = f"{point.critical:9.2f}" if np.isfinite(point.critical) else "        -"
        far += "  (a step)" if point.separated and point.censored is None else ""
        lines.append(f"{point.over:8g} {middle}   {f'[{low:.2f}, {high:.2f}]':18s}  {point.trainings:9d}{far}")
    lines.append("law        " + group.law.summary().replace("\n", "\n           "))
    if claim := group.panel.claim:
        verdict = against_exponent(group.law, claim)
        lines.append(f"theorem    {claim.statement} ({claim.source}) [{claim.tag}]")
        grown = f"; its bound, with the lambda0 of these data, grows as {claim.over}^{group.bound_exponent:.1f}"
        apart = abs(group.bound_exponent - (claim.exponent or 0.0)) > 0.05  # False without a bound
        told = f"exponent {claim.exponent:g}{grown if apart else ''}"
        lines.append(f"           {told}")
        low, high = group.law.envelope
        lines.append(f"verdict    {verdict.label}; 95% envelope of the measured exponent [{low:.2f}, {high:.2f}]")
    return lines
