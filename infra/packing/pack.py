"""One pack: cells of one family and shape, trained together as stacked tensors.

``start`` draws and stacks the cells, ``advance`` trains to the next point of the measuring grid and retires what is
solved, out of budget or diverged, ``rows`` returns one row per cell. A cell's numbers depend on the cell alone: not on
its neighbours, the pack's size, the order, the number of threads or an interruption. Four things keep that promise on
a CPU: each cell draws from its own generator, no batch is ever smaller than two (kernels for one matrix differ from
batched ones), the grid of steps is the same for every cell, and MKL_CBWR (set in ``trainables``) stops MKL from
rounding by memory address.
A family helps by writing products of a matrix and a vector as a product and a sum, and powers as multiplications.
"""

import bisect
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch.func import vmap

import trainables
from infra.packing import stalls, steps
from infra.store.schema import cell_id, point_id

GRID = sorted({round(2 ** (j / 8)) for j in range(8 * 40)} | {0})  # eight points an octave: resolution 9%
DIVERGED = 1e6  # a training has diverged when its loss is not finite or this many times its first loss
LETTERS = {"fit": "f", "unfit": "u", "diverged": "d", "stalled": "s", "failed": "x"}  # outcomes, short, for reports
ENDED = "fuds"  # those of a training that took place

Row = dict[str, Any]
Result = tuple[str, float, float]  # outcome letter, steps, last loss


@dataclass
class Run:
    """A pack under way. ``slots[j]`` is the index of the cell in slot j of ``state`` (padding repeats the last one).

    Without a state the ``live`` cells are yet to be drawn.
    """

    family: str
    cells: list[Any]
    k: int
    slots: list[int]
    state: Any
    live: list[int]
    curves: list[dict[str, list[Any]]]
    theory: dict[int, dict[str, float]]
    budgets: dict[int, int]
    rows: dict[int, Row] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    to_the_end: bool = True  # what is out of reach goes on
    reach: dict[int, dict[str, float]] = field(default_factory=dict)  # see stalls; empty: the family tells nothing
    strikes: dict[int, int] = field(default_factory=dict)  # looks in a row at which a cell was out of reach
    stalled_at: dict[int, int] = field(default_factory=dict)
    graph: steps.Graph | None = None  # on a GPU: the step of ``state``, captured


@contextmanager
def one_thread() -> Iterator[None]:
    """LAPACK's solvers round differently on several threads; packs run side by side instead."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def start(family: str, cells: Sequence[Any], device: str = "cpu", *, to_the_end: bool = True) -> Run:
    """Draw and stack ``cells``; measure step 0. A cell that cannot be drawn becomes a ``failed`` row, alone. Unless all
    go ``to_the_end`` trainings that are out of reach are stopped (see ``stalls``); their rows tell in either case.

    ValueError if the cells differ in a field of the family's SHAPE.
    """
    module = trainables.load(family)
    if len({tuple(getattr(cell, name) for name in module.SHAPE) for cell in cells}) > 1:
        raise ValueError(f"the cells of a pack of {family} must agree in {', '.join(module.SHAPE)}")
    run = waiting(family, cells, to_the_end)
    enter(run, device)
    return run


def waiting(family: str, cells: Sequence[Any], to_the_end: bool) -> Run:
    """A pack of which nothing is drawn."""
    live, seconds = list(range(len(cells))), [0.0] * len(cells)
    return Run(family, list(cells), 0, [], None, live, [{} for _ in cells], {}, {}, {}, seconds, to_the_end)


@one_thread()
def enter(run: Run, device: str) -> None:
    """Draw and stack the live cells of a run that has no state; measure step 0."""
    module, began = trainables.load(run.family), time.perf_counter()
    drawn, states = [], []
    for i in run.live:
        try:
            states.append(placed(module.draw(run.cells[i]), device))
            drawn.append(i)
        except (ArithmeticError, ValueError, torch.linalg.LinAlgError) as error:
            run.rows[i] = failed_row(run, i, f"draw: {error}")
    run.live = drawn
    if run.live:
        run.slots = padded(run.live)
        stacked = [torch.stack(tensors) for tensors in zip(*padded(states), strict=True)]
        del states  # held twice no longer than it takes
        run.state = module.State(*stacked)
        run.theory |= zip(run.live, per_cell(module.theory, run.state, len(run.live)), strict=True)
        budgets = vmap(module.budget)(run.state)[: len(run.live)].tolist()
        run.budgets |= zip(run.live, budgets, strict=True)
        if hasattr(module, "reach"):
            run.reach |= zip(run.live, per_cell(module.reach, run.state, len(run.live)), strict=True)
        live = list(run.live)
        look(run)
        charge(run, live, began)


@one_thread()
def advance(run: Run) -> None:
    """One block: train to the next point of GRID, or to the next cell's budget if that is nearer; observe, retire.

    Nothing to do once ``finished``.
    """
    if not run.live:
        return
    began = time.perf_counter()
    target = min(GRID[bisect.bisect_right(GRID, run.k)], *(run.budgets[i] for i in run.live))
    to_go = max(run.budgets[i] for i in run.live) - run.k
    with torch.no_grad():
        run.state, run.graph = steps.replayed(run.family, run.state, target - run.k, to_go, run.graph)
    run.k = target
    live = list(run.live)
    look(run)
    charge(run, live, began)


def finished(run: Run) -> bool:
    """Whether every cell of the pack has its row."""
    return not run.live


def rows(run: Run) -> list[Row]:
    """The rows of a finished pack, in the order of its cells."""
    return [run.rows[i] | {"compute_seconds": run.seconds[i]} for i in range(len(run.cells))]


def result(row: Mapping[str, Any]) -> Result:
    """What a search wants to know of a row; the loss is not a number where there is none."""
    loss = row.get("loss")
    return LETTERS[row["outcome"]], row["steps"], math.nan if loss is None else loss


def on_grid(k: int) -> bool:
    return k == GRID[bisect.bisect_left(GRID, k)]


def due_now(run: Run) -> list[int]:
    """The cells to be observed at this step: on GRID all, else those at their budget."""
    return [i for i in run.live if on_grid(run.k) or run.k == run.budgets[i]]


def look(run: Run) -> None:
    """Observe the cells that are due, write rows for those that are done, and shrink the batch when half of it is.

    A cell is due at the points of GRID and at its own budget, whatever its neighbours do.
    """
    module, due = trainables.load(run.family), due_now(run)
    where = {i: slot for slot, i in reversed(list(enumerate(run.slots)))}
    state = run.state if len(due) == len(run.slots) else select(run.state, padded([where[i] for i in due]))
    count = len(due)
    observed = per_cell(module.observe, state, count)
    solved = vmap(module.solved)(state)[:count].tolist()
    outcomes: dict[int, str] = {}
    for i, values, is_solved in zip(due, observed, solved, strict=True):
        for name, value in ({"step": float(run.k)} | values).items():
            run.curves[i].setdefault(name, []).append(value)
        first = run.curves[i]["loss"][0]
        if not math.isfinite(values["loss"]) or values["loss"] > DIVERGED * first:
            outcomes[i] = "diverged"
        elif is_solved:
            outcomes[i] = "fit"
        elif run.k >= run.budgets[i]:
            outcomes[i] = "unfit"
    if run.reach and on_grid(run.k):
        outcomes |= {i: "stalled" for i in due if i not in outcomes and stalled(run, i)}
    retire(run, outcomes, dict(zip(due, range(count), strict=True)), state)
    if run.live and 2 * len(run.live) <= len(run.slots) and len(run.slots) > 2:
        run.state, run.graph = select(run.state, padded([where[i] for i in run.live])), None
        run.slots = padded(run.live)


def stalled(run: Run, i: int) -> bool:
    """Whether cell ``i`` stops here because it is out of reach."""
    curve = run.curves[i]
    hopeless = stalls.out_of_reach(curve["step"], curve["loss"], run.reach[i], run.budgets[i])
    run.strikes[i] = run.strikes.get(i, 0) + 1 if hopeless else 0
    if run.strikes[i] == stalls.LOOKS:
        run.stalled_at.setdefault(i, run.k)
    return run.stalled_at.get(i) == run.k and not run.to_the_end and not stalls.audited(identity(run, i))


def identity(run: Run, i: int) -> str:
    """Content address of cell ``i``."""
    return cell_id(run.family, trainables.load(run.family).VERSION, asdict(run.cells[i]))


def retire(run: Run, outcomes: dict[int, str], where: dict[int, int], state: Any) -> None:
    """Rows for the cells in ``outcomes``; ``where`` says in which slot of ``state`` each cell stands."""
    sane = [i for i, outcome in outcomes.items() if outcome != "diverged"]
    measured = dict(zip(sane, measurements(run.family, state, [where[i] for i in sane]), strict=True))
    for i, outcome in outcomes.items():
        result = measured.get(i, {})
        if isinstance(result, str):
            run.rows[i] = failed_row(run, i, f"measure: {result}")
        else:
            reason = stalls.REASON if outcome == "stalled" else None
            run.rows[i] = head(run, i, outcome, reason) | result | run.theory[i] | curve_columns(run.curves[i])
    run.live = [i for i in run.live if i not in outcomes]


def measurements(family: str, state: Any, slots: list[int]) -> list[dict[str, float] | str]:
    """Final metrics of the cells in ``slots``; where the batch fails, one by one, and an error's text instead."""
    measure = trainables.load(family).measure
    if not slots:
        return []
    try:
        return list(per_cell(measure, select(state, padded(slots)), len(slots)))
    except torch.linalg.LinAlgError as error:
        if len(slots) == 1:
            return [str(error)]
        return [result for slot in slots for result in measurements(family, state, [slot])]


def head(run: Run, i: int, outcome: str, reason: str | None = None) -> Row:
    """Identity, axes and outcome of cell ``i``; ``success`` is 1 for fit, None for failed, else 0."""
    module, fields = trainables.load(run.family), asdict(run.cells[i])
    return {
        "cell_id": identity(run, i),
        "point_id": point_id(run.family, module.VERSION, fields),
        "family": run.family,
        "numerics": module.VERSION,
        **fields,
        "outcome": outcome,
        "success": None if outcome == "failed" else int(outcome == "fit"),
        "reason": reason,
        "steps": run.k,
        "stalled_at": run.stalled_at.get(i),
    }


def failed_row(run: Run, i: int, reason: str) -> Row:
    return head(run, i, "failed", " ".join(reason.split()))


def curve_columns(curve: dict[str, list[float]]) -> Row:
    """A row's curves (``curve_NAME``, one value per grid step) and the last value of each that is a number."""
    last = {name: values[-1] for name, values in curve.items() if name != "step" and not isinstance(values[-1], list)}
    return last | {f"curve_{name}": values for name, values in curve.items()}


def per_cell(function: Any, state: Any, count: int) -> list[dict[str, Any]]:
    """``function`` (one cell -> dict of tensors) on the first ``count`` slots of a stacked state."""
    with torch.no_grad():
        columns = {name: tensor.double().tolist()[:count] for name, tensor in vmap(function)(state).items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def padded(items: list[Any]) -> list[Any]:
    """At least two: a batch of one would take other kernels, and so other bits."""
    return items * 2 if len(items) == 1 else list(items)


def placed(state: Any, device: str) -> Any:
    """A state on a device; a tensor that stands in it twice is sent once."""
    sent = {id(tensor): tensor.to(device) for tensor in state}
    return type(state)(*(sent[id(tensor)] for tensor in state))


def select(state: Any, slots: list[int]) -> Any:
    return type(state)(*(tensor[slots] for tensor in state))


def charge(run: Run, cells: Sequence[int], began: float) -> None:
    """Divide the time since ``began``, last measurements included, evenly over the cells that it was spent on."""
    share = (time.perf_counter() - began) / len(cells)
    for i in cells:
        run.seconds[i] += share


def save(run: Run) -> dict[str, Any]:
    """A run as plain containers and tensors, so that it can be read back with ``weights_only=True``."""
    names = ("family", "k", "slots", "live", "curves", "theory", "budgets", "rows", "seconds",
             "to_the_end", "reach", "strikes", "stalled_at")  # fmt: skip
    parts = {name: getattr(run, name) for name in names}
    return parts | {"state": None if run.state is None else list(run.state)}


def resume(saved: dict[str, Any], cells: Sequence[Any], device: str = "cpu") -> Run:
    """The run that ``save`` wrote, for the same cells; it goes on bit for bit as if it had not stopped."""
    module, state = trainables.load(saved["family"]), saved["state"]
    if state is not None:
        state = module.State(*(tensor.to(device) for tensor in state))
    return Run(**{**saved, "state": state, "cells": list(cells)})
