"""Steps of a pack. On a GPU a step is captured once and replayed (CUDA graphs).

A step is dozens of small kernels, and a GPU is done with each before Python has asked for the next: on an H100 replayed
steps of the families' smallest cells took a fourth to a twentieth of the time. The kernels are the same, and so are the
bits. A step with a solver of linear algebra is not captured: it asks the CPU how it went, and a capture that it breaks
leaves cuSOLVER broken.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import vmap

import trainables
from infra.planning import memory
from infra.planning.counting import Watch

SOLVER = re.compile(r"linalg_(?!vector_norm)|cholesky")
WORTH = 32  # steps to go from which a capture, 2 to 3 ms, pays


@dataclass
class Graph:
    """A captured step: ``replay`` takes ``state`` one step on, in place."""

    state: Any
    graph: torch.cuda.CUDAGraph


refused: set[str] = set()  # families of which a step could not be captured in this process


def stepped(family: str, state: Any, count: int) -> Any:
    """A stacked state ``count`` steps on; it may have been worked on in place."""
    module = trainables.load(family)
    if hasattr(module, "steps_packed"):
        return module.steps_packed(state, count)

    def steps(state: Any) -> Any:
        for _ in range(count):
            state = module.step(state)
        return state

    return vmap(steps)(state)  # around all steps: to enter and leave it takes as long as a small step


def replayed(family: str, state: Any, count: int, to_go: int, graph: Graph | None) -> tuple[Any, Graph | None]:
    """``stepped`` by the graph of an earlier call, if it is of this very ``state``, or by a new one where the steps
    ``to_go`` to the pack's last budget are worth it. Also the graph for the next call."""
    if graph is None or graph.state is not state:
        graph = None
        if to_go < WORTH or family in refused or not state[0].is_cuda:
            return stepped(family, state, count), None
        with Solvers() as solvers:
            state, count = stepped(family, state, 1), count - 1  # what is made at a first call cannot be captured
        graph = None if solvers.seen else captured(family, state)
        if graph is None:
            refused.add(family)
            return stepped(family, state, count), None
    for _ in range(count):
        graph.graph.replay()
    return graph.state, graph


class Solvers(Watch):
    """Sees whether a solver of linear algebra is called under it."""

    seen = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen = self.seen or bool(SOLVER.search(function.name()))
        return function(*args, **(kwargs or {}))


def captured(family: str, state: Any) -> Graph | None:
    """The step from a copy of ``state``; None if it cannot be captured."""
    graph, state = torch.cuda.CUDAGraph(), type(state)(*(tensor.clone() for tensor in state))
    try:
        with torch.cuda.graph(graph):
            in_place(family, state)
    except RuntimeError as error:
        if memory.lacking(error):
            raise
        torch.cuda.synchronize()
        return None
    return Graph(state, graph)


def in_place(family: str, state: Any) -> None:
    """One step, written into the tensors of ``state``."""
    held = {tensor.untyped_storage().data_ptr() for tensor in state}
    after = stepped(family, state, 1)
    moved = [(old, new) for old, new in zip(state, after, strict=True) if new.data_ptr() != old.data_ptr()]
    copies = [
        (old, new.clone() if new.untyped_storage().data_ptr() in held else new) for old, new in moved
    ]  # before it is written over
    for old, new in copies:
        old.copy_(new)
