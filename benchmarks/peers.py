"""The ways in which a sweep is trained today: the same cells, one process or Ray or Optuna around an ordinary loop.

    python benchmarks/peers.py PEER CELLS.json RESULT.json [cpu|cuda]

Reads a list of cells of ``two_layer_relu``, trains them, writes seconds (imports and the start of Ray not counted) and
[outcome, steps] of each. On a GPU those of Ray share the card, AT_ONCE at a time. The loop draws the same data and
weights as the family and looks at the same steps; its gradient is autograd's.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from cyclopts import run
from cyclopts.types import ExistingFile

from infra.packing.pack import DIVERGED, GRID
from trainables import two_layer_relu as family

AT_ONCE = 8  # on a card
LENT = {"cpu": {"cpu": 1.0}, "cuda": {"cpu": 1.0, "gpu": 1 / AT_ONCE}}  # to a training

Result = tuple[str, int]
LOOKS = frozenset(GRID)


def outputs(W: torch.Tensor, X: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return torch.relu(X @ W.T) @ a / math.sqrt(len(a))


def halved_squares(W: torch.Tensor, X: torch.Tensor, a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return ((outputs(W, X, a) - y) ** 2).sum() / 2


def train_one(axes: dict[str, Any], device: str = "cpu") -> Result:
    """A training as one writes it: forward, backward, step, and a look at the loss now and then."""
    cell = family.Cell(**axes)
    s = family.State(*(tensor.to(device) for tensor in family.draw(cell, form="plain")))
    W, eta, budget = s.W.clone().requires_grad_(), float(s.eta), int(s.budget)
    first = float(halved_squares(s.W, s.X, s.a, s.y))
    for k in range(budget + 1):
        loss = halved_squares(W, s.X, s.a, s.y)
        if k in LOOKS or k == budget:
            value = float(loss.detach())
            if not math.isfinite(value) or value > DIVERGED * first:
                return "diverged", k
            if 2 * value / cell.n <= cell.tolerance:
                return "fit", k
        if k < budget:
            (gradient,) = torch.autograd.grad(loss, W)
            with torch.no_grad():
                W -= eta * gradient
    return "unfit", budget


def serial(cells: Sequence[dict[str, Any]], device: str = "cpu") -> list[Result]:
    return [train_one(cell, device) for cell in cells]


def joblib(cells: Sequence[dict[str, Any]]) -> list[Result]:
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=2)(delayed(one_thread)(cell) for cell in cells))


def one_thread(cell: dict[str, Any], device: str = "cpu") -> Result:
    torch.set_num_threads(1)
    return train_one(cell, device)


def optuna(cells: Sequence[dict[str, Any]]) -> list[Result]:
    """A trial a cell, two at a time."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results: dict[int, Result] = {}

    def objective(trial: optuna.Trial) -> float:
        i = trial.suggest_int("cell", 0, len(cells) - 1)
        results[i] = train_one(cells[i])
        return float(results[i][0] == "fit")

    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"cell": list(range(len(cells)))}))
    study.optimize(objective, n_jobs=2)
    return [results[i] for i in range(len(cells))]


def vmap_grad(cells: Sequence[dict[str, Any]]) -> list[Result]:
    """Ensembles of equal shape by torch.func, two processes."""
    from joblib import Parallel, delayed

    shapes: dict[tuple[int, int, int], list[int]] = {}
    for i, cell in enumerate(cells):
        shapes.setdefault((cell["n"], cell["m"], cell["d"]), []).append(i)
    dearest = sorted(shapes.items(), key=lambda one: -math.prod(one[0]))  # first, so that both have work to the end
    found = Parallel(n_jobs=2, batch_size=1)(delayed(ensemble)([cells[i] for i in one]) for _, one in dearest)
    results = {i: result for (_, members), part in zip(dearest, found, strict=True)
               for i, result in zip(members, part, strict=True)}  # fmt: skip
    return [results[i] for i in range(len(cells))]


def ensemble(cells: Sequence[dict[str, Any]]) -> list[Result]:
    """Cells of one shape; all go on until the last is done."""
    torch.set_num_threads(1)
    gradient = torch.func.vmap(torch.func.grad(halved_squares))
    losses = torch.func.vmap(halved_squares)
    states = [family.draw(family.Cell(**cell), form="plain") for cell in cells]
    W, X, a, y = (torch.stack([getattr(s, name) for s in states]) for name in ("W", "X", "a", "y"))
    eta = torch.stack([s.eta for s in states])[:, None, None]
    budgets = [int(s.budget) for s in states]
    goals = [len(s.y) * float(s.tolerance) / 2 for s in states]
    first, open_ = losses(W, X, a, y).tolist(), set(range(len(cells)))
    results: list[Result] = [("", 0)] * len(cells)
    for k in range(max(budgets) + 1):
        if k in LOOKS or k in budgets:
            for j, value in enumerate(losses(W, X, a, y).tolist()):
                if j in open_ and (outcome := ended(k, value, first[j], goals[j], budgets[j])):
                    results[j] = outcome, k
                    open_.discard(j)
            if not open_:
                break
        W = W - eta * gradient(W, X, a, y)
    return results


def ended(k: int, loss: float, first: float, goal: float, budget: int) -> str:
    if k not in LOOKS and k != budget:
        return ""
    if not math.isfinite(loss) or loss > DIVERGED * first:
        return "diverged"
    return "fit" if loss <= goal else "unfit" if k == budget else ""


def ray_tasks(cells: Sequence[dict[str, Any]], device: str = "cpu") -> list[Result]:
    import ray

    task = ray.remote(one_thread).options(num_gpus=LENT[device].get("gpu", 0))
    return list(ray.get([task.remote(cell, device) for cell in cells]))


def tune_function(cells: Sequence[dict[str, Any]], device: str = "cpu") -> list[Result]:
    """Ray Tune as its documentation begins: one config a trial, a function."""
    from ray import tune

    def trainable(config: dict[str, Any]) -> None:
        outcome, steps = one_thread(config["cell"], device)
        tune.report({"outcome": outcome, "steps": steps})

    return tuned(trainable, cells, device, reuse=False)


def tune_reused(cells: Sequence[dict[str, Any]], device: str = "cpu") -> list[Result]:
    """One config a trial, a class whose actors serve the next trial."""
    from ray import tune

    class Trial(tune.Trainable):  # type: ignore[misc]
        def step(self) -> dict[str, Any]:
            outcome, steps = one_thread(self.config["cell"], device)
            return {"outcome": outcome, "steps": steps, "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing: a class without it fails at its end, and its actor is not used again."""

    return tuned(Trial, cells, device, reuse=True)


def tuned(trainable: Any, cells: Sequence[dict[str, Any]], device: str, reuse: bool) -> list[Result]:
    from tempfile import TemporaryDirectory

    from ray import tune

    with TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, LENT[device]),
            param_space={"cell": tune.grid_search(list(cells))},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        if results.errors:  # a trial that fails costs its actor
            raise SystemExit(f"{len(results.errors)} trials failed: {results.errors[0]}")
        found = {json.dumps(r.config["cell"]): (r.metrics["outcome"], r.metrics["steps"]) for r in results}
    return [found[json.dumps(cell)] for cell in cells]


PEERS: dict[str, Callable[..., list[Result]]] = {
    "Ray Tune, one config a trial": tune_function,
    "Ray Tune, reused actors": tune_reused,
    "Ray tasks": ray_tasks,
    "Optuna, n_jobs = 2": optuna,
    "serial loop, one core": serial,
    "joblib, 2 processes": joblib,
    "vmap(grad), 2 processes": vmap_grad,
}


def main(name: str, source: ExistingFile, target: Path, device: Literal["cpu", "cuda"] = "cpu") -> None:
    if name not in PEERS:
        raise SystemExit(f"no such way: {name}; there are {', '.join(PEERS)}")
    cells = json.loads(source.read_text())
    torch.set_num_threads(1)
    if "Ray" in name:
        import ray

        ray.init(address="local", include_dashboard=False, log_to_driver=False)
    if "processes" in name:
        joblib(cells[:2])  # its processes start and import torch
    how = {"device": device} if device != "cpu" else {}
    began = time.perf_counter()
    results = PEERS[name](cells, **how)
    target.write_text(json.dumps({"seconds": time.perf_counter() - began, "results": results}))


if __name__ == "__main__":
    run(main)
