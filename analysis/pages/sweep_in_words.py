"""A study in words, for the terminal: tables, laws, theorems and verdicts, and where everything lies."""

from collections.abc import Sequence

import numpy as np

from analysis.board.held import Board
from analysis.pages import choices
from analysis.series import SUCCESS, Panel, panels, shown
from analysis.study import Group, Study, false_stops, tallied
from infra.store import storage

TABLES, FIGURES = 2, 3  # so many on the terminal; the page has them all


def in_words(out: str, found: Study, held: Board, files: Sequence[str]) -> str:
    """The conclusion: the question, what was found, the claims with their verdicts, the paths."""
    plan = found.plan
    critical = plan["critical"]
    stands = f" {critical}*: {plan['level']:.0%} of them do." if critical else ""
    lines = ["", f"{plan['claim']}", f"A training fits: {plan['criterion'].replace('`', '')}.{stands}"]
    for group in found.groups:
        lines += ["", *of_group(group, plan["over"], critical)]
    for metric in shown(plan, found.frame)[:TABLES]:
        for panel in panels(plan, found.frame, metric):
            lines += ["", *of_panel(panel, plan["over"], metric)]
    lines += verdicts(found, held)
    outcomes = sorted((name, count) for name, count in tallied(found.rows).items() if count)
    listed = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes)
    twice = (
        f"; {found.counts['recorded twice']:,} recorded twice, counted once" if found.counts["recorded twice"] else ""
    )
    lines += [
        "",
        f"rows       {storage.beside(out, 'rows')} ({len(found.rows):,} trainings: {listed or 'none'}{twice})",
    ]
    lines += [f"stalled    {told}"] if (told := false_stops(plan, found.rows)) else []
    lines += [f"search     {told}"] if (told := choices.search(plan)) else []
    pdfs = [name for name in files if name.endswith(".pdf")]
    lines += [f"figure     {storage.beside(out, name)}" for name in pdfs[:FIGURES]]
    lines += [f"           and {len(pdfs) - FIGURES} more beside it"] if len(pdfs) > FIGURES else []
    return "\n".join(lines)


def of_group(group: Group, over: str, critical: str) -> list[str]:
    """One group: a line per n, the law, the theorem and the verdict."""
    head = f"{over:>8} {critical + '*':>9}   95% interval        trainings"
    lines = [head + (f"   {group.title}" if group.title else "")]
    for point in group.law.points:
        low, high = point.interval
        far = {None: "", "above": f"  above every {critical} tried", "below": f"  below every {critical} tried"}
        middle = f"{point.critical:9.2f}" if np.isfinite(point.critical) else "        -"
        end = far[point.censored] + ("  (a step)" if point.separated and point.censored is None else "")
        lines.append(f"{point.over:8g} {middle}   {f'[{low:.2f}, {high:.2f}]':18s}  {point.trainings:9d}{end}")
    lines.append("law        " + group.law.summary().replace("\n", "\n           "))
    if claim := group.panel.claim:
        verdict = next(one for one in group.verdicts if one.claim == claim)
        lines.append(f"theorem    {claim.statement} ({claim.source}) [{claim.tag}]")
        grown = f"; its bound, with the lambda0 of these data, grows as {claim.over}^{group.bound_exponent:.1f}"
        apart = abs(group.bound_exponent - (claim.exponent or 0.0)) > 0.05  # False without a bound
        told = f"exponent {claim.exponent:g}{grown if apart else ''}"
        lines.append(f"           {told}")
        low, high = group.law.envelope
        lines.append(f"verdict    {verdict.label}; 95% envelope of the measured exponent [{low:.2f}, {high:.2f}]")
    return lines


def of_panel(panel: Panel, over: str, metric: str) -> list[str]:
    """A table: a line per value of ``over``, a column per series."""
    spread = "share [95% interval]" if metric == SUCCESS else "median [quartiles]"
    lines = [f"{metric}: {spread}" + (f"; {panel.title}" if panel.title else "")]
    predicted = {one.label: np.isfinite(one.predicted).any() for one in panel.series}
    heads = []
    for one in panel.series:
        heads.append(f"{one.label or metric:>26}")
        heads += [f"{'predicted':>10}"] if predicted[one.label] else []
    lines.append(f"{over:>10} " + " ".join(heads))
    values = list(dict.fromkeys(value for one in panel.series for value in one.x))
    for value in values:
        cells = []
        for one in panel.series:
            i = one.x.index(value) if value in one.x else None
            text = "-" if i is None else f"{one.middle[i]:.3g} [{one.low[i]:.3g}, {one.high[i]:.3g}]"
            cells.append(f"{text:>26}")
            if predicted[one.label]:
                cells.append(f"{'-' if i is None else f'{one.predicted[i]:.3g}':>10}")
        lines.append(f"{value if isinstance(value, str) else f'{value:g}':>10} " + " ".join(cells))
    return lines


def verdicts(found: Study, held: Board) -> list[str]:
    """The other claims that the rows answer, one a line; those of the laws above stand there."""
    told = [group.panel.claim for group in found.groups]
    rest = [one for one in held.held if one.law is None or one.claim not in told]
    if not rest:
        return []
    width = max(len(one.claim.name) for one in rest)
    lines = ["", "claims"]
    for one in rest:
        where = f" ({one.where})" if one.where else ""
        law = f"; measured {one.measured}" if one.law is not None else ""
        claimed = f"  {one.claim.name:<{width}}  [{one.claim.tag}] {one.predicted}{where}{law}"
        lines.append(f"{claimed}: {one.label}")
    return lines
