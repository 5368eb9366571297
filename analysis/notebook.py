"""Results folders for a notebook: rows, studies, laws, verdicts, and their figures.

from analysis import law, plot

found = law("results/two", d=16)
plot(found).save("law.pdf")
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import reading
from analysis.board.board import board
from analysis.board.held import Board, Held
from analysis.figures import lines
from analysis.figures.phase import phase_diagram
from analysis.figures.power_laws import bound_figure, draw_power_law, power_law_figure
from analysis.figures.style import STYLE, encoded
from analysis.figures.thresholds import draw_thresholds
from analysis.powerlaws.law import PowerLaw
from analysis.reading import DataError
from analysis.series import panels as along_axis
from analysis.series import shown
from analysis.study import Study, split, study
from analysis.thresholds.law import ThresholdLaw
from analysis.titles import fixed, titled
from infra.store import records

KINDS = ("pdf", "png", "svg")


@dataclass(frozen=True)
class Plot:
    """A figure that a notebook shows. figure: matplotlib's, for what is to be changed before it is saved."""

    figure: Figure

    def save(self, path: str | Path) -> None:
        """Write it as the ending of ``path`` says: .pdf, .png or .svg. DataError for another."""
        kind = Path(path).suffix.removeprefix(".").lower()
        if kind not in KINDS:
            raise DataError(f"{path}: a figure is saved as .pdf, .png or .svg")
        Path(path).write_bytes(encoded(self.figure, kind))

    def _repr_png_(self) -> bytes:
        return encoded(self.figure, "png")


def read(data: str | Path, **where: Any) -> pd.DataFrame:
    """The rows of a results folder, or of a CSV or Parquet file, one a training; with ``d=16`` those alone, with
    ``n=[16, 32]`` those of several values.

    DataError where there are none, or no such column or value.
    """
    several = {name: value if isinstance(value, list | tuple | range) else [value] for name, value in where.items()}
    wanted = [f"{name}={','.join(map(str, values))}" for name, values in several.items()]
    try:
        return reading.select(reading.read(str(data)), wanted).frame
    except DataError as error:
        raise DataError(str(error).removeprefix("--where ")) from None


def studies(results: str | Path) -> tuple[Study, ...]:
    """Every sweep of a results folder: its question, rows and laws. ResultsError when it holds none."""
    out = str(results)
    return tuple(study(out, plan) for plan in records.plans_to_report(out))


def law(results: str | Path, **where: Any) -> ThresholdLaw:
    """The law m*(n) of a results folder; where it holds several, that at ``d=16`` or of ``sweep=``, ``family=``,
    ``level=``, ``plan=``.

    DataError when that names none or more than one: it lists them, by what they differ in.
    """
    known = [
        (told_of(found.plan) | setting, group.law)
        for found in studies(results)
        for (setting, _), group in zip(split(found.plan, found.rows) if found.groups else (), found.groups, strict=True)
    ]
    laws = [one for setting, one in known if where.items() <= setting.items()]
    if len(laws) == 1:
        return laws[0]
    if not known:
        raise DataError(f"{results}: no sweep there seeks a threshold; its verdicts: verdicts({str(results)!r})")
    settings = [setting for setting, _ in known]
    differ = [name for name in settings[0] if len({repr(setting.get(name)) for setting in settings}) > 1]
    listed = "; ".join(titled({name: setting[name] for name in differ if name in setting}) for setting in settings)
    there = f"name one of: {listed}" if listed else f"the one law there is at {titled(settings[0])}"
    raise DataError(f"{results}: {len(laws)} laws at {titled(where) or 'all settings'}, {there}")


def told_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What a law is asked for by: sweep, family, the axes that do not vary, the level, the plan's address."""
    return (
        {"sweep": plan["sweep"], "family": plan["family"]}
        | fixed(plan)
        | {"level": plan["level"], "plan": plan["plan_id"]}
    )


def verdicts(results: str | Path) -> Board:
    """Every claim of the papers held against the rows of a results folder, and those that have no answer there."""
    boards = [board(found) for found in studies(results)]
    return Board(
        tuple(held for one in boards for held in one.held), tuple(told for one in boards for told in one.unanswered)
    )


def plot(found: ThresholdLaw | PowerLaw | Held | Study) -> Plot:
    """The figure of a law, of a verdict or of a whole study. TypeError for what has none."""
    if isinstance(found, Study):
        return Plot(of_study(found))
    if isinstance(found, Held) and found.cells is not None and found.cells.x.size:
        return Plot(bound_figure(found, (found.claim.over, f"{found.claim.metric} / bound"), ""))
    if isinstance(found, Held) and any((part.y > 0).any() for part in found.parts):
        return Plot(power_law_figure(found, (found.claim.over, str(found.claim.metric)), ""))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 4.2))
        draw(found, figure.subplots())
    return Plot(figure)


def draw(found: ThresholdLaw | PowerLaw | Held, axes: Axes) -> None:
    """Draw a law into axes of your own, logarithmic from then on. TypeError for what is no law."""
    claim, one = (found.claim, found.law) if isinstance(found, Held) else (None, found)
    if isinstance(one, PowerLaw):
        draw_power_law(axes, one)
        axes.set_xlabel(claim.over if claim else "x")
        axes.set_ylabel(str(claim.metric) if claim else "y")
    elif isinstance(one, ThresholdLaw):
        draw_thresholds(axes, one, claim)
        axes.set_xlabel(one.over_name)
        axes.set_ylabel(f"critical {one.critical_name}*")
    elif isinstance(found, Board):
        raise TypeError("a board holds several verdicts: give one of them, board.held[0]")
    else:
        raise TypeError(f"no law to draw in {type(found).__name__}: give a law, a verdict with one, or a study to plot")


def of_study(found: Study) -> Figure:
    """The phase diagrams of a sweep with a critical axis; else its shares of success or its first metric."""
    panels = [group.panel for group in found.groups if len(group.panel.tally.over)]
    if panels:
        return phase_diagram(panels, found.names, found.stamp)
    for metric in shown(found.plan, found.frame):
        if along := along_axis(found.plan, found.frame, metric):
            return lines.metric_figure(found, metric, along)
    raise DataError(f"{found.plan['sweep']}: nothing recorded to draw yet")
