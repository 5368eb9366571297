"""``laws.json``: every law of every plan of a results folder, with counts, hashes, claims and verdicts."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.board.held import Board, Held
from analysis.claims.verdict import Verdict
from analysis.study import Study
from analysis.titles import fixed
from infra.store import storage

NAME = "laws.json"
PARTS = {"forms": ("name", "exponent", "aicc", "surprise"), "local": ("over", "exponent", "interval")}


def write(out: str, entries: Sequence[dict[str, Any]]) -> None:
    """Write the file anew, one entry per plan."""
    text = json.dumps({"plans": list(entries)}, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(out, NAME, text.encode())


def entry(found: Study, held: Board | None = None) -> dict[str, Any]:
    """A plan's laws as plain JSON, with its counts, its hash and, given the board, every verdict."""
    plan = found.plan
    told: dict[str, Any] = {
        name: plan[name] for name in ("plan_id", "sweep", "family", "numerics", "critical", "over", "claim", "command")
    }
    told |= {"fixed": fixed(plan) | {"level": plan["level"]}, "data_sha256": found.sha256, "counts": found.counts}
    groups = {
        group.title or "all": law_json(group.law)
        | {"counts": group.counts, "data_sha256": group.sha256, "verdicts": [verdict_json(v) for v in group.verdicts]}
        for group in found.groups
    }
    verdicts = [held_json(one) for one in held.held] if held else []
    unanswered = [{"claim": claim.name, "why": why} for claim, why in held.unanswered] if held else []
    result: dict[str, Any] = plain(
        told | {"groups": groups} | ({"claims": verdicts, "unanswered": unanswered} if held else {})
    )
    return result


def law_json(law: Any) -> dict[str, Any]:
    """A law of any kind (threshold, plane, power law) and its points, if it has any."""
    names = "exponent interval exponents intervals total envelope prefactor offset status notes level form over_range"
    names += " scatter lapse axis"
    of_point = ("over", "second", "critical", "interval", "censored", "separated", "trainings")
    points = [{name: getattr(point, name) for name in of_point} for point in getattr(law, "points", ())]
    told = {name: getattr(law, name) for name in names.split() if hasattr(law, name)}
    for name, fields in PARTS.items():
        if hasattr(law, name):
            told[name] = [{field: getattr(part, field) for field in fields} for part in getattr(law, name)]
    if getattr(law, "alternatives", ()):
        told["forms"] = [
            {"name": fit.form, "exponent": fit.exponent, "interval": fit.interval, "aicc": fit.aicc}
            for fit in law.alternatives
        ]
    if law.status == "broken":
        told["broken"] = {name: getattr(law.broken, name) for name in ("before", "after", "at", "interval")}
    return {"law": told, "thresholds": points}


def held_json(held: Held) -> dict[str, Any]:
    """A claim with its verdict and, for a metric, the law at each value of the other axes."""
    names = ("exponent", "interval", "envelope", "prefactor", "offset", "status", "notes", "over_range", "n_points")
    parts = {
        part.title or "all": {name: getattr(part.law, name) for name in names} | {"kind": part.verdict.kind}
        for part in held.parts
    }
    found = verdict_json(held.verdict) | {
        "label": held.label,
        "where": held.where,
        "predicted": held.predicted,
        "remark": held.remark,
    }
    return found | ({"metric": held.claim.metric, "laws": parts} if parts else {})


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as one would quote it."""
    claim = verdict.claim
    told = {"claim": claim.name, "statement": claim.statement, "source": str(claim.source), "tag": claim.tag}
    return told | {name: getattr(verdict, name) for name in ("kind", "label", "sentence", "gates")}


def plain(value: Any) -> Any:
    """For JSON: tuples become lists, numpy's numbers Python's, NaN and infinity null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
