"""Trajectories of weights on a plane: multidimensional scaling of all of them together (Liao & Poggio 2017, figs. 2-4).

A family that observes a vector ``sketch`` (a linear image of its weights that keeps inner products) gets a map. The
dissimilarity of two moments is 1 - cosine of their weights, for the whole network and for each layer.
"""

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.claims.theory import Array
from analysis.figures.lines import INK, MARKS
from analysis.figures.style import STYLE, sign
from analysis.study import Study

COLUMN = "curve_sketch"
MOMENTS = 700  # points on a map; scaling costs their square
SOLUTION = 1  # the last stage of a training before it branches off


@dataclass(frozen=True, eq=False)
class Path:
    """One training: its seed, its name in the legend, its vectors (K, V), and the index of its solution, after which
    it is perturbed and differs from its siblings (K - 1 without one)."""

    seed: int
    label: str
    vectors: Array
    branch: int


def map_figure(found: Study) -> Figure | None:
    """The map of the whole network, and beside it one of each layer; None without sketches."""
    if "sketch" not in found.plan.get("curves", ()) or COLUMN not in found.frame:
        return None
    paths = paths_of(found)
    if len(paths) < 2:
        return None
    size = int(found.plan["axes"].get("sketch_size", [paths[0].vectors.shape[1]])[0])
    layers = [slice(i, i + size) for i in range(0, paths[0].vectors.shape[1], size)]
    parts = [("whole network", slice(None))] + [(f"layer {i + 1}", part) for i, part in enumerate(layers)]
    parts = parts[:1] if len(layers) == 1 else parts
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 5.2) if len(parts) > 1 else (5.6, 5.0))
        columns = -(-(len(parts) - 1) // 2)
        names = [["whole network"] * 2 + [f"layer {row * columns + i + 1}" for i in range(columns)] for row in range(2)]
        names = [[name if name in dict(parts) else "." for name in line] for line in names]
        grid: dict[str, Axes] = figure.subplot_mosaic(names)  # type: ignore[arg-type]
        for name, part in parts:
            draw_map(grid[name], paths, part)
            grid[name].set_title(name, loc="left")
        handles, labels = grid["whole network"].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(
            [grey(handle) for handle in unique.values()], unique.keys(), loc="outside right center", fontsize=8
        )
        sign(figure, found.stamp)
    return figure


def paths_of(found: Study) -> list[Path]:
    """Every training with a sketch, thinned to MOMENTS points in all; it branches off after its last look at a stage
    up to SOLUTION."""
    frame = found.frame[found.frame[COLUMN].notna()]
    over = found.plan["over"]
    shown = [name for name, values in found.plan["axes"].items() if len(values) > 1 and name != over] or [over]
    paths = []
    for _, row in frame.iterrows():
        vectors = np.stack([np.asarray(vector, dtype=float) for vector in row[COLUMN]])
        stage = np.asarray(row["curve_stage"], dtype=float) if "curve_stage" in frame else np.zeros(len(vectors))
        branch = int(np.flatnonzero(stage <= SOLUTION)[-1])
        keep = moments(len(vectors), branch, max(4, MOMENTS // len(frame)))
        paths.append(Path(int(row["seed"]), named(row, shown), vectors[keep], int(np.sum(keep < branch))))
    return paths


def moments(length: int, branch: int, count: int) -> Array:
    """Indices of at most ``count`` moments, with the first, the branch point and the last."""
    some = np.linspace(0, length - 1, min(count, length)).round().astype(int)
    return np.unique(np.append(some, branch))


def named(row: "pd.Series[Any]", names: list[str]) -> str:
    return ", ".join(f"{name} {row[name]:g}" if isinstance(row[name], float) else f"{row[name]}" for name in names)


def scaled(vectors: Array) -> tuple[Array, float]:
    """Coordinates (N, 2) whose distances follow 1 - cosine of ``vectors`` (N, V), and the stress (Kruskal's 1) left.

    Classical scaling, refined by majorisation (SMACOF) from there: the same picture every time.
    """
    from sklearn.manifold import ClassicalMDS, smacof  # of all reports few have a map, and it takes a while

    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    apart = np.clip(1 - unit @ unit.T, 0, None)
    np.fill_diagonal(apart, 0)
    start = ClassicalMDS(metric="precomputed").fit_transform(apart)
    found, stress = smacof(apart, init=start, n_init=1, random_state=0, normalized_stress=True)
    return found, float(stress)


def draw_map(axes: Axes, paths: list[Path], part: slice) -> None:
    """Paths by seed (colour) and kind (mark at the end); a star where the branches leave a solution."""
    every = np.concatenate([path.vectors[:, part] for path in paths])
    unique, back = np.unique(every.round(12), axis=0, return_inverse=True)
    points, stress = scaled(unique)
    points = points[back.ravel()]
    seeds, labels = sorted({path.seed for path in paths}), list(dict.fromkeys(path.label for path in paths))
    start = 0
    for path in paths:
        at = points[start : start + len(path.vectors)]
        start += len(path.vectors)
        colour = INK[seeds.index(path.seed) % len(INK)]
        axes.plot(*at[: path.branch + 1].T, color=colour, lw=1.6, alpha=0.8)
        axes.plot(*at[path.branch : path.branch + 2].T, ":", color=colour, lw=0.8, alpha=0.8)
        axes.plot(*at[path.branch + 1 :].T, color=colour, lw=0.9, alpha=0.8)
        axes.plot(*at[0], "o", mfc="white", color=colour, ms=5, zorder=3, label="initial weights")
        axes.plot(*at[path.branch], "*", color=colour, ms=9, mec="black", mew=0.5, zorder=5, label="solution")
        mark = MARKS[labels.index(path.label) % len(MARKS)]
        axes.plot(*at[-1], mark, color=colour, ms=5, mec="black", mew=0.5, zorder=4, label=f"end: {path.label}")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"stress {stress:.2f}", fontsize=7, loc="right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)


def grey(handle: Any) -> Any:
    """A legend's mark without colour: colours are seeds, marks are kinds."""
    hollow = handle.get_markerfacecolor() == "white"
    return Line2D([], [], ls="", marker=handle.get_marker(), ms=6, color="0.35", mfc="white" if hollow else "0.35")
