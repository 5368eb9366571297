"""Memory: how much a pack may take, how much a training needs at its peak, and how an error for want of it looks.

A peak is counted, not estimated: every function of a family runs once on a pack of two while the bytes of all living
tensors are summed. Above SMALL the pack has shapes and no numbers (torch's meta device): it costs neither time nor
memory. What a kernel takes for itself is not seen; benchmarks/memory.py holds the count against measured peaks.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.func import vmap

from infra.planning.counting import Live

SHARE = 0.7  # of the free memory for packs and their workers; the rest is for the driver, files, the unforeseen
WORKER = 2**29  # bytes of a worker beside its pack: Python, torch, Ray, on a card CUDA's context, what allocators keep
SMALL = 4 * 2**20  # bytes of a state up to which running is quicker than following shapes, which first loads a compiler
CGROUPS = Path("/sys/fs/cgroup")
LACKING = re.compile(
    "allocate memory|out of memory|not enough memory|ALLOC_FAILED|Unable to allocate|MemoryError", re.IGNORECASE
)


def lacking(error: BaseException | str) -> bool:
    """Whether an error, or its text, says that memory ran out: Python's, numpy's, torch's on a CPU or a GPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or bool(LACKING.search(str(error)))


def told(error: BaseException) -> str:
    """In a few words what a ``lacking`` error says."""
    wanted = re.search(r"tried to allocate ([\d.]+ \w+)", " ".join(str(error).split()), re.IGNORECASE)
    return f"{wanted[1]} more could not be had" if wanted else str(error).strip()[:100] or "no more could be had"


@dataclass(frozen=True)
class Budget:
    """What packs may take that run side by side on one machine, or on one card."""

    free: float  # bytes, for all of them and their workers
    side_by_side: float

    @property
    def of_pack(self) -> int:
        """Bytes that a pack may take; 0 if there is only room for its worker."""
        return max(0, int(min(SHARE * self.free / self.side_by_side, 2**62)) - WORKER)

    def most(self, size: int) -> int:
        """How many packs of ``size`` bytes there is room for."""
        return int(min(SHARE * self.free, 2**62) / (size + WORKER))


def free() -> int:
    """Bytes that this machine can give without swapping, or the control group that we are in if that is less."""
    return min([int(psutil.virtual_memory().available), *left_to_groups()])


def left_to_groups(groups: str = "/proc/self/cgroup", root: Path = CGROUPS) -> Iterator[int]:
    """Bytes that the control groups of this process (of either version), and those above them, still allow."""
    try:
        lines = Path(groups).read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = root / controllers
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        place = top / path.strip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(top):
                break
            try:
                limit, used = (int((folder / name).read_text()) for name in names)
                cached = re.search(r"^(?:total_)?inactive_file (\d+)", (folder / "memory.stat").read_text(), re.M)
            except (OSError, ValueError):  # no such group, or "max"
                continue
            yield max(0, limit - used + (int(cached[1]) if cached else 0))


def here(device: str, side_by_side: float) -> Budget:
    """The budget on this machine or its card; where the driver sees no card, a cluster's are not known: no limit."""
    if device == "cpu":
        return Budget(free(), side_by_side)
    return Budget(torch.cuda.mem_get_info()[1] if torch.cuda.is_available() else math.inf, side_by_side)


def peak(module: Any, cell: Any) -> int:
    """Bytes that a training takes at its peak as one of a pack, with its share of what the pack has in common.

    The pack is held twice while its states are stacked, and while the finished are measured.
    """
    with Live() as drawing:
        state = module.draw(cell)
    size = held(state)
    if size > SMALL:
        stacked = module.State(*(torch.empty((2, *x.shape), dtype=x.dtype, device="meta") for x in state))
    else:
        stacked = module.State(*(torch.stack([x, x]) for x in state))

    def of(function: Callable[[Any], Any]) -> int:
        with Live() as live, torch.no_grad():
            function(stacked)
        return -(-int(live.most) // 2)

    def steps(stacked: Any) -> None:  # two: the state before a block is held until its last step
        if hasattr(module, "steps_packed"):
            module.steps_packed(stacked, 2)
        else:
            vmap(module.step)(vmap(module.step)(stacked))

    beside = [of(vmap(getattr(module, name))) for name in ("observe", "solved", "theory")]
    copied = of(vmap(module.measure))
    beside.append(of(steps))  # the last: it may work in place
    return max(2 * size, (size + int(drawing.most)) // 2, size + max(beside), 2 * size + copied)


def held(state: Any) -> int:
    """Bytes of a state."""
    return sum(int(tensor.numel() * tensor.element_size()) for tensor in state)
