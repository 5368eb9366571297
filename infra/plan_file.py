"""What is asked for, as a plan records it: ``plans/<plan_id>.json``."""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import trainables
from infra import families
from infra.choosing import tuning
from infra.options import Request, values_of


def manifest(request: Request) -> dict[str, Any]:
    """What ``plans/<plan_id>.json`` holds. The id is the content address of what is asked for, not of where or when:
    the same request is the same plan, resumed."""
    module = trainables.load(request.family)
    content = {
        "sweep": request.sweep.name,
        "family": request.family,
        "numerics": module.VERSION,
        "axes": {name: sorted(values) for name, values in request.axes.items()},
        "seeds": request.options.seeds,
        "level": request.options.level,
    }
    if request.options.adaptive:  # whose widths and seeds are chosen on the way: one search, whatever it began with
        content |= {
            "axes": {k: v for k, v in content["axes"].items() if k != request.sweep.critical},
            "seeds": "chosen",
        }
    axes = {name: sorted(values) for name, values in request.axes.items() if name != request.options.tune}
    if request.options.tune:
        knob = tuning.protocol(request.options.tune, *request.axes[request.options.tune])
        content |= {"axes": axes, "tuned": knob}
    return content | {
        "plan_id": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20],
        "claim": request.sweep.claim,
        "axes": axes,
        "seeds": request.options.seeds,
        "adaptive": request.options.adaptive,
        "critical": request.sweep.critical,
        "falling": request.sweep.falling,
        "over": request.sweep.over,
        "by": request.sweep.by,
        "metrics": (*request.sweep.metrics, *filter(None, [request.options.tune])),
        "curves": request.sweep.curves,
        "paper": families.head(module),
        "claims": module.CLAIMS,
        "equations": inspect.getdoc(module),
        "criterion": module.CRITERION,
        "computed": sorted(module.theory(module.draw(module.SMALL))),
        "meanings": {field.name: field.metadata["meaning"] for field in dataclasses.fields(module.Cell)},
        "off_default": off_default(request),
        "command": request.command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def off_default(request: Request) -> list[str]:
    """The axes of one value that is not the sweep's own: what tells this plan from others of the sweep."""
    grid = request.sweep.axes.get(request.family, {})
    found = []
    for axis in dataclasses.fields(trainables.load(request.family).Cell):
        given = request.axes.get(axis.name, ())
        usual = axis.name in grid or axis.default is not dataclasses.MISSING
        if len(given) == 1 and (not usual or given != values_of(axis, None, grid.get(axis.name), request.family)):
            found.append(axis.name)
    return found


def found_before(plans: Sequence[dict[str, Any]], plan_id: str) -> dict[str, Any]:
    """What earlier runs of a plan have left in it: the end of a search, the points of a tuning."""
    same = [one for one in plans if one["plan_id"] == plan_id]
    return {key: one[key] for one in same for key in ("search", "points", "tuned") if one.get(key)}
