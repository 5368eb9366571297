"""The verdict board: every claimed exponent beside the measured one."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.board.held import Held
from analysis.figures.style import (
    STYLE,
    THEOREM,
    sign,
)

KINDS = {
    "consistent": "#1b7837", "holds": "#1b7837", "loose": "#2166ac", "exceeds": "#a6510a", "violated": "#b2182b",
    "vacuous": "#737373", "inconclusive": "#737373",
}  # fmt: skip


def board_figure(groups: Mapping[str, Sequence[Held]], stamp: str) -> Figure:
    """Measured exponents with interval (thick) and envelope (thin) beside the claims' (bars), one line a claim, below
    the heading of its group ("" for none)."""
    lines = board_lines(groups)
    rows = [line for line in lines if isinstance(line, Held)]
    with mpl.rc_context(STYLE | {"figure.constrained_layout.use": False}):
        height = 0.34 * len(lines) + 1.1
        figure = Figure(figsize=(8.6, height))
        axes = figure.add_axes((0.4, 0.6 / height, 0.4, 1 - 1.05 / height))
        claimed = [held.claim.exponent for held in rows if held.claim.exponent is not None]
        known = [held.law.exponent for held in rows if held.law is not None and np.isfinite(held.law.exponent)]
        low, high = min([*claimed, *known]) - 0.8, max([*claimed, *known]) + 0.8
        for i, line in enumerate(lines):
            if isinstance(line, Held):
                draw_exponent(axes, i, line, (low, high))
            else:
                axes.text(-0.98, i + 0.1, line, transform=axes.get_yaxis_transform(), va="center", weight="bold")
        axes.set_yticks(range(len(lines)), [named(line) if isinstance(line, Held) else "" for line in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(low, high)
        axes.grid(axis="x", color="0.92", lw=0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("exponent")
        axes.plot([], [], "|", color=THEOREM, ms=12, mew=1.8, ls="", label="claimed")
        axes.plot([], [], "o-", color="0.35", ms=5, lw=1.2, label="measured, 95% envelope")
        axes.plot([], [], color="0.35", lw=4.5, alpha=0.45, label="95% interval")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=3, borderaxespad=0.2)
        sign(figure, stamp)
    return figure


def board_lines(groups: Mapping[str, Sequence[Held]]) -> list[str | Held]:
    """The lines of the board from above: headings and claims."""
    return [line for title, rows in groups.items() for line in ([title] if title else []) + list(rows)]


def draw_exponent(axes: Axes, i: int, held: Held, shown: tuple[float, float]) -> None:
    """One line of the board, its verdict at the right; an arrow where its envelope goes on."""
    colour, law = KINDS[held.verdict.kind], held.law
    if law is not None and np.isfinite(law.exponent):
        axes.plot(np.clip(law.envelope, *shown), [i, i], color=colour, lw=1.2, zorder=2)
        axes.plot(np.clip(law.interval, *shown), [i, i], color=colour, lw=4.5, alpha=0.45, zorder=2)
        axes.plot(law.exponent, i, "o", color=colour, ms=5, zorder=3)
        for end, edge, arrow in zip(law.envelope, shown, "<>", strict=True):
            if not shown[0] <= end <= shown[1]:
                axes.plot(edge, i, arrow, color=colour, ms=4.5, zorder=3, clip_on=False)
    if held.claim.exponent is not None:
        ink = THEOREM if held.claim.gates else "0.6"
        axes.plot(held.claim.exponent, i, "|", color=ink, ms=15, mew=1.8, zorder=4)
    label = f"{held.verdict.label if held.verdict.kind == 'loose' else held.verdict.kind} {held.share}".rstrip()
    axes.annotate(mathematical(label), (1.03, i), xycoords=("axes fraction", "data"), va="center", color=colour,
                  annotation_clip=False)  # fmt: skip


def named(held: Held) -> str:
    """A line of the board: the claim's name and where it was held."""
    name, where = held.claim.name, f"({held.where})" if held.where else ""
    whole = f"{name} {where}".strip()
    return whole if len(whole) <= 44 else f"{textwrap.fill(name, 44)}\n{where}".strip()


def mathematical(label: str) -> str:
    """ "loose by n^4.26" with the power raised."""
    return " ".join(
        f"${base}^{{{power}}}$" if power else word for word in label.split() for base, _, power in [word.partition("^")]
    )
