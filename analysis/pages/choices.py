"""What an adaptive or a tuned plan chose by itself, in words: for the page, the terminal and the catalogue."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from analysis.series import settings
from analysis.titles import titled


def values(plan: Mapping[str, Any], name: str, rows: pa.Table) -> str:
    """The values of an axis: those asked for, or, of the critical axis of an adaptive plan, what was chosen."""
    asked = plan["axes"][name]
    if not (plan.get("adaptive") and name == plan["critical"]):
        return ", ".join(map(str, asked))
    first = f"first range {min(asked):g} to {max(asked):g}"
    taken = set(rows[name].to_pylist()) if len(rows) else set()
    if not taken:
        return f"chosen, none yet ({first})"
    return f"chosen between {min(taken):g} and {max(taken):g}, {len(taken)} values ({first})"


def seeds(plan: Mapping[str, Any], rows: pa.Table) -> str:
    """How many trainings a grid point has, as asked for or at most."""
    if not plan.get("adaptive"):
        return f"{plan['seeds']} seeds"
    most = max(Counter(rows["point_id"].to_pylist() if len(rows) else []).values(), default=0)
    return f"seeds chosen, at most {most:,} trainings at one grid point"


def search(plan: Mapping[str, Any]) -> str:
    """Why the search of an adaptive plan ended, by setting where reasons differ, and what it took; "" where it does not
    say."""
    told = plan.get("search")
    if not told:
        return ""
    reasons, parts = list(told.get("ended", ())), settings(plan, plan["critical"])
    lines = list(dict.fromkeys(reasons)) or ["not ended"]
    if len(lines) > 1 and len(parts) == len(reasons) and len(parts[0]) == 1:
        lines = [f"{titled(part)}: {why}" for part, why in zip(parts, reasons, strict=True)]
    elif len(lines) > 1:  # plans keep no order between axes, and so none of their combinations
        lines = [f"{why} (at {reasons.count(why)} of {len(reasons)} settings)" for why in lines]
    if told.get("target_se") is not None:
        lines.append(f"target: standard error {told['target_se']:g}")
    if told.get("trainings") is not None:
        lines.append(f"{told['trainings']:,} trainings")
    if told.get("flops") is not None:
        lines.append(f"{told['flops']:.2g} FLOPs")
    return "; ".join(lines)


def tuning(plan: Mapping[str, Any]) -> str:
    """How the tuned axis of a plan was tuned, and what that took where it is known; "" for a plan without one."""
    knob = plan.get("tuned")
    if not knob:
        return ""
    best = f"at each grid point the best of {knob['values']} values, by {knob['seeds']} trainings each"
    text = f"between {knob['low']:g} and {knob['high']:g}: {best} with seeds of their own"
    spent = [f"{knob['trainings']:,} trainings"] if knob.get("trainings") is not None else []
    spent += [f"{knob['seconds']:,.1f} s of compute time"] if knob.get("seconds") is not None else []
    return f"{text}; besides those above, the tuning took {', '.join(spent)}" if spent else text
