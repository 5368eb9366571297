"""What MLflow's pages show of a plan: prepared views of its grid points, and the notes with links that lead to them.

MLflow 3.17 keeps a prepared view (filter, order, columns, charts) as JSON in a tag of the experiment and opens it from
an address with its key. Without that address its pages open in a view for LLM applications, the table without columns.
"""

import json
import math
import re
import struct
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from analysis.series import share
from analysis.titles import naming_axes, plan_title
from infra.catalogue.grid_points import laws

PLAN, POINT, ORDER, VERDICT = "widthlaw.plan", "widthlaw.point", "widthlaw.order", "verdict"
SHARED = "mlflow.sharedViewState."
MODEL_TRAINING = "workflowType=machine_learning"
LOADED = 100  # runs that MLflow's table and charts load at first


def order(axes: Mapping[str, Any], names: Iterable[str]) -> str:
    """A text that sorts as the values of the axes ``names`` do: MLflow sorts parameters as texts, 16 before 4."""
    return " ".join(sortable(axes[name]) for name in names if name in axes)


def sortable(value: Any) -> str:
    if isinstance(value, str):
        return value
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # IEEE 754 sorts as integers, negative ones reversed
    return f"{bits ^ (0xFFFFFFFFFFFFFFFF if bits >> 63 else 1 << 63):016x}"


def verdict(counts: Mapping[str, float], level: float) -> str:
    """Whether a grid point's trainings fit at least as often as ``level``, by the 95% interval of its success rate."""
    return judged(int(counts["fit"]), int(counts["trainings"] - counts["failed"]), level)


@lru_cache(maxsize=4096)
def judged(fits: int, trials: int, level: float) -> str:
    if not trials:
        return "failed"
    _, low, high = share(fits, trials)
    return "fits" if low > level else "does not fit" if high < level else "undecided"


def views(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The prepared views of a plan: "table" and "charts" of all its grid points, and "slice" where more than two axes
    vary: charts over the first two, the others at their middle value."""
    names = [name for name in naming_axes(plan) if name in plan["axes"]]
    here = f"tags.`{PLAN}` = '{plan['plan_id']}' and tags.`{POINT}` != ''"
    middle = {name: sorted(plan["axes"][name])[len(plan["axes"][name]) // 2] for name in names[2:]}
    cut = "".join(f" and params.`{name}` = '{value}'" for name, value in middle.items())
    columns = [f"params.`{name}`" for name in names] + ["metrics.`success rate`", "metrics.`median loss`"]
    columns += [f"tags.`{VERDICT}`", *(f"metrics.`median {name}`" for name in plan.get("metrics") or ["steps"])]
    columns += ["metrics.`trainings`"]
    widths = {f"params.`{name}`": 30 + 8 * max(len(name), 4) for name in names} | {"metrics.`median loss`": 130}
    common = {
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {column: widths.get(column, 105) for column in columns},
        "orderByKey": f"tags.`{ORDER}`",  # any order but the default one shows points without unfolding the plan
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": "sweep", "name": "Sweep", "display": True, "isReordered": True},
            {"uuid": "rest", "name": "Model metrics", "display": False, "isReordered": False, "isGenerated": True},
        ],
    }
    whole = common | {"searchFilter": here, "compareRunCharts": charts(plan, names)}
    # more points than are loaded: the first ones by address are spread over the grid, the first ones in order are not
    many = math.prod(len(plan["axes"][name]) for name in names) > LOADED
    found = {"table": whole, "charts": whole | ({"orderByKey": f"tags.`{POINT}`"} if many else {})}
    cut_charts = {"searchFilter": here + cut, "compareRunCharts": charts(plan, names[:2])}
    return found | ({"slice": common | cut_charts} if middle else {})


def charts(plan: Mapping[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Loss curves; a number over the axis that is sought (or ``over``); all axes in parallel; two axes as a map."""
    critical, measured = plan.get("critical"), [f"median {name}" for name in plan.get("metrics") or ()]
    ends = ["success rate"] if critical or not measured else measured[:2]
    along = critical if critical in names else names[0] if names else ""
    found: list[dict[str, Any]] = [
        {"type": "LINE", "metricKey": "median loss", "selectedMetricKeys": ["median loss"], "scaleType": "log"}
        | {"xAxisKey": "step", "xAxisScaleType": "linear", "lineSmoothness": 0, "range": {}, "yAxisKey": "metric"}
        | {"yAxisExpressions": [], "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
    ]
    for end in ends:
        x, y = {"key": along, "type": "PARAM"}, {"key": end, "type": "METRIC"}
        found += [{"type": "SCATTER", "xaxis": x, "yaxis": y}]
        if len(names) == 2 and not any(isinstance(value, str) for name in names for value in plan["axes"][name]):
            other = next(name for name in names if name != along)
            found += [{"type": "CONTOUR", "xaxis": {"key": other, "type": "PARAM"}, "yaxis": x, "zaxis": y}]
    found += [{"type": "PARALLEL", "selectedParams": names, "selectedMetrics": ends, "showAllRuns": True}]
    fixed = {"runsCountToCompare": LOADED, "metricSectionId": "sweep", "deleted": False, "isGenerated": False}
    return [{"uuid": f"widthlaw-{number}"} | fixed | one for number, one in enumerate(found)]


def key(plan: Mapping[str, Any], view: str) -> str:
    return f"widthlaw-{plan['plan_id']}" + ("" if view == "table" else f"-{view}")


def shared_views(plan: Mapping[str, Any]) -> dict[str, str]:
    """The tags of the experiment that hold the views."""
    return {SHARED + key(plan, name): json.dumps(view, separators=(",", ":")) for name, view in views(plan).items()}


def links(plan: Mapping[str, Any], experiment_id: str, run_id: str) -> dict[str, str]:
    """Addresses, from MLflow's own page, of the plan's run (description, figure, report) and of its views."""
    here = f"#/experiments/{experiment_id}/runs"
    found = {"plan": f"{here}/{run_id}?{MODEL_TRAINING}"}
    for name in views(plan):
        mode = "" if name == "table" else "&compareRunsMode=CHART"
        found[name] = f"{here}?{MODEL_TRAINING}&viewStateShareKey={key(plan, name)}{mode}"
    return found


def plain(text: str) -> str:
    """Text for Markdown in which nothing becomes an image, HTML, or a link under another name."""
    return re.sub(r"([\\\[\]])", r"\\\1", text).replace("<", "&lt;")


def in_a_line(found: Mapping[str, str]) -> str:
    return " · ".join(f"[{name}]({address})" for name, address in found.items())


def entry(plan: Mapping[str, Any], experiment_id: str, run_id: str) -> str:
    """The plan's part of the note of its experiment; links first, for MLflow shows one line until it is unfolded."""
    return f"{in_a_line(links(plan, experiment_id, run_id))} of {plain(plan_title(plan))}"


def points(plan: Mapping[str, Any]) -> int:
    """How many grid points a plan has at most."""
    return math.prod(map(len, plan["axes"].values()))


def description(
    plan: Mapping[str, Any], law: Mapping[str, Any] | None, experiment_id: str, run_id: str, files: Collection[str] = ()
) -> str:
    """Markdown: claim, links, law and verdicts where there are any, and the command that says it all again."""
    pages = {name: address for name, address in links(plan, experiment_id, run_id).items() if name != "plan"}
    for name in sorted(files):
        title = {".png": "figure", ".html": "report"}.get(PurePath(name).suffix)
        if title and title not in pages:
            pages[title] = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(name)}?{MODEL_TRAINING}"
    if sum(PurePath(name).suffix == ".png" for name in files) > 1:
        pages["all figures"] = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts?{MODEL_TRAINING}"
    lines = [f"**{plain(plan['claim'])}**", "", in_a_line(pages), ""]
    for title, part in laws(law).items() if law else ():
        exponent, (low, high) = part["exponent"], part.get("interval") or (None, None)
        ends = ", ".join("?" if end is None else f"{end:.3f}" for end in (low, high))
        value = "no exponent" if exponent is None else f"exponent {exponent:.3f}"
        about = f"Law of {plan.get('critical')}\\*({plan.get('over')}){f', {plain(title)}' if title else ''}"
        lines += [f"- {about}: **{value}**, 95% interval [{ends}]. {plain(part.get('status', ''))}".rstrip()]
    for one in (law or {}).get("claims", ()):
        where = f" ({plain(one['where'])})" if one.get("where") else ""
        said = f"; {plain(one['remark'])}" if one.get("remark") else ""
        lines += [f"- {plain(one['claim'])}{where}: **{plain(one['label'])}**{said} [{plain(one['tag'])}]"]
    level = f"{VERDICT}: whether a grid point's success rate is above {plan['level']:g}, by its 95% interval"
    count = points(plan)
    if count > LOADED:
        level += f". MLflow shows the first {LOADED} of {count:,} grid points, its table more on demand, the report all"
    ticks = "`" * (1 + max([0, *map(len, re.findall("`+", plan["command"]))]))
    return "\n".join([*lines, "", level, "", f"{ticks} {plan['command']} {ticks}"])  # in a block it would not wrap
