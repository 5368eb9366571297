"""How figures look, and how they become files. Colours read the same for colour-blind eyes and in grey."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from analysis.claims.theory import Array

STYLE: dict[Any, Any] = {
    "font.family": "serif",
    "mathtext.fontset": "cm",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.title_fontsize": 10,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}
COLOURS = "cividis"  # reads the same for colour-blind eyes and in grey
LINE, THEOREM = "#d7301f", "#111111"
POINTS, MIDDLE, OTHERS = "#6baed6", "#08306b", "0.72"  # single trainings, their median, what is not the subject


def caption(axes: Axes, title: str) -> None:
    """Title and legend above the axes, where they hide no cell."""
    legend = axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2, handlelength=1.8, title=title)
    legend.set_alignment("left")


def thinned(values: Array) -> Array:
    """At most nine ticks: one in two, three, ..."""
    return values[:: max(1, -(-len(values) // 9))]


def plain_decades(axes: Axes) -> None:
    """Numbers rather than powers of ten, with 2 and 5 labelled where the axis spans little."""
    low, high = axes.get_ylim()
    factors: tuple[int, ...] = (1,) if high / low > 300 else (1, 2, 5) if high / low > 4 else tuple(range(1, 10))
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]
    ticks = ticks[:: -(-len(ticks) // 8)] if ticks else []
    axes.set_yticks(
        ticks, [f"{value:g}" if 1e-4 <= value < 1e5 else f"$10^{{{np.log10(value):.0f}}}$" for value in ticks]
    )
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(low, high)


def cloud(points: Array) -> dict[str, Any]:
    """How single trainings are drawn: light; as pixels where they are too many for a vector file."""
    return {"ms": 2.8, "alpha": 0.6, "mew": 0.6, "ls": "", "rasterized": len(points) > 2000}


def sign(figure: Any, stamp: str) -> None:
    """The hash of the rows, small, in the lower right corner."""
    figure.supxlabel(stamp, fontsize=6, color="0.35", x=0.99, ha="right")


def encoded(figure: Figure, kind: str) -> bytes:
    """The figure as a file's content; kind "pdf", "png" or "svg". The same figure gives the same bytes."""
    if (engine := figure.get_layout_engine()) is not None:  # once for all kinds: it costs as much as drawing
        engine.execute(figure)
        figure.set_layout_engine(None)
    buffer = io.BytesIO()
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {"Software": None})
    with mpl.rc_context({"svg.hashsalt": "widthlaw"}):
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()
