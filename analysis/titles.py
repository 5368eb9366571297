"""What people read a plan and its settings by: "two_layer_relu n=16..512 m=2..128 d=32, 20 seeds", "d = 16"."""

from collections.abc import Mapping, Sequence
from typing import Any

USUAL = 0.5  # success probability that defines a threshold


def titled(setting: Mapping[str, Any]) -> str:
    """ "d = 16, start = random"."""
    return ", ".join(f"{n} = {v:g}" if isinstance(v, float) else f"{n} = {v}" for n, v in setting.items())


def short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def fixed(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The axes that do not vary, with their value; not the one along which an adaptive plan chooses."""
    chosen = plan["critical"] if plan.get("adaptive") else None
    return {name: values[0] for name, values in plan["axes"].items() if len(values) == 1 and name != chosen}


def off_default(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``fixed`` whose value is not the sweep's own: what tells plans of one sweep apart."""
    return {name: value for name, value in fixed(plan).items() if name in plan.get("off_default", ())}


def level(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The success probability that defines the threshold, where one is sought and it is not 1/2."""
    return {"level": plan["level"]} if plan.get("critical") and plan.get("level", USUAL) != USUAL else {}


def sweep_title(plan: Mapping[str, Any]) -> str:
    """The sweep, and what is not its own in this plan: "width_vs_n, d = 32, level = 0.9"."""
    return ", ".join(filter(None, [plan["sweep"], titled(off_default(plan) | level(plan))]))


def naming_axes(plan: Mapping[str, Any]) -> list[str]:
    """The axes that tell a plan's points apart, ``over`` and ``critical`` first; these two when none varies."""
    first = [name for name in (plan.get("over"), plan.get("critical")) if name]
    varying = [name for name, values in plan["axes"].items() if len(values) > 1]
    return [name for name in dict.fromkeys([*first, *varying]) if name in varying] or first


def plan_title(plan: Mapping[str, Any]) -> str:
    """A readable name of a plan such as "two_layer_relu n=4..16 m=4..64 d=32, 20 seeds"."""
    spans = []
    for name in dict.fromkeys([*naming_axes(plan), *off_default(plan)]):
        values = plan["axes"].get(name, [])
        if not values or (plan.get("adaptive") and name == plan["critical"]):
            continue  # the search goes where it must
        ends = dict.fromkeys(values if isinstance(values[0], str) else (min(values), max(values)))
        spans.append(f"{name}={('/' if isinstance(values[0], str) else '..').join(map(short, ends))}")
    how = "adaptive" if plan.get("adaptive") else f"{plan['seeds']} seeds"
    tuned = f", {plan['tuned']['axis']} tuned" if plan.get("tuned") else ""
    at = f", {titled(level(plan))}" if level(plan) else ""
    return f"{' '.join([plan['family'], *spans])}, {how}{tuned}{at}"


def plan_titles(plans: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sweep and title of each plan, with the beginning of its address where another has the same."""
    found = [f"{plan['sweep']} {plan_title(plan)}" for plan in plans]
    return [
        f"{title}, plan {plan['plan_id'][:6]}" if found.count(title) > 1 else title
        for title, plan in zip(found, plans, strict=True)
    ]
