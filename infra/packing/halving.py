"""A pack that does not fit into memory goes on as two halves, one after the other, and each as halves of its own if
need be; a training that does not fit alone is ``failed``, and the others go on.

The parts of a pack are runs (see ``pack``) that share everything told by cell, and each has its own live cells, state
and step. Numbers depend on the cell alone, so the rows are those of the whole pack, bit for bit.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

import trainables
from infra.packing import pack
from infra.packing.pack import Run
from infra.planning import memory

REASON = "too little memory for one training"


@dataclass
class Parts:
    """A pack under way: ``whole`` holds what all parts share; the first part trains and the others wait."""

    whole: Run
    parts: list[Run]
    device: str
    largest: int  # trainings in a part, at most; below the pack's size where memory was short
    why: str = ""  # what was said when it was


def start(
    family: str, cells: Sequence[Any], device: str = "cpu", *, to_the_end: bool = True, largest: int = 0
) -> Parts:
    """A pack in parts of at most ``largest`` cells (0: whole), of which nothing is drawn."""
    whole = pack.waiting(family, cells, to_the_end)
    packed = Parts(whole, [replace(whole)], device, len(cells))
    if largest:
        limit(packed, largest)
    return packed


def finished(packed: Parts) -> bool:
    """Whether every cell of the pack has its row."""
    return not packed.parts


def advance(packed: Parts) -> None:
    """One block of the first part (see ``pack.advance``); where memory is short, the part is halved instead.

    Nothing to do once ``finished``.
    """
    if not packed.parts:
        return
    part = packed.parts[0]
    before = Mark(part)
    if why := short(part, packed):
        packed.why = why
        before.restore(part)
        count = len(part.live)
        if count == 1:
            part.rows[part.live[0]] = pack.failed_row(part, part.live[0], f"{REASON}: {why}")
            part.live = []
        else:
            packed.largest = min(packed.largest, -(-count // 2))
            packed.parts[:1] = halves(part)
    packed.parts = [part for part in packed.parts if not pack.finished(part)]


def short(part: Run, packed: Parts) -> str:
    """Let a part do its next block. Why memory was too short for it; "" if it was not."""
    try:
        if part.state is None:
            pack.enter(part, packed.device)
        elif owed(part):
            with pack.one_thread():
                pack.look(part)
        else:
            pack.advance(part)
        return ""
    except (MemoryError, RuntimeError) as error:
        if not memory.lacking(error):
            raise
        why = memory.told(error)
    gc.collect()  # the error held what the block had made
    if packed.device == "cuda":
        torch.cuda.empty_cache()
    return why


def owed(part: Run) -> bool:
    """Whether a look is due that was not taken to its end."""
    return any(part.curves[i]["step"][-1] < part.k for i in pack.due_now(part))


class Mark:
    """Where a part stands before a block."""

    def __init__(self, part: Run):
        self.drawn = part.state is not None
        self.steps = self.drawn and not owed(part)  # the block is one of steps and a look
        self.live, self.k = part.live, part.k
        self.looks = {i: len(part.curves[i].get("step", [])) for i in part.live}
        self.strikes, self.stalled_at = dict(part.strikes), dict(part.stalled_at)

    def restore(self, part: Run) -> None:
        """Undo what a block has told of the cells. Its steps stay if all were taken; else a part of a family that works
        in place starts anew, for one may have been broken off in the middle, and any other starts the block anew."""
        part.live = self.live
        in_place = hasattr(trainables.load(part.family), "steps_packed")
        if not self.drawn or (in_place and self.steps and part.k == self.k):
            part.state, part.graph, part.slots, part.k = None, None, [], 0
            self.looks = dict.fromkeys(self.looks, 0)
        for i in self.live:
            part.rows.pop(i, None)
            part.curves[i] = {name: values[: self.looks[i]] for name, values in part.curves[i].items()}
            for told, was in ((part.strikes, self.strikes), (part.stalled_at, self.stalled_at)):
                told.pop(i, None)
                if i in was and part.state is not None:
                    told[i] = was[i]


def halves(part: Run) -> list[Run]:
    """A part of two cells or more as two. The states are views: there may be no memory for copies."""
    middle = len(part.live) // 2
    return [cut(part, part.live[:middle]), cut(part, part.live[middle:])]


def cut(part: Run, live: list[int]) -> Run:
    """The part with the cells ``live``, neighbours in it, alone."""
    part = replace(part, live=live, graph=None)
    if part.state is None:
        return part
    first, last = part.slots.index(live[0]), part.slots.index(live[-1])
    if first == last:  # a batch is never smaller than two
        return replace(part, slots=live * 2, state=pack.select(part.state, [first, first]))
    slots = slice(first, last + 1)
    return replace(part, slots=part.slots[slots], state=type(part.state)(*(x[slots] for x in part.state)))


def limit(packed: Parts, largest: int) -> None:
    """Cut all parts to at most ``largest`` cells."""
    while any(len(part.live) > max(1, largest) for part in packed.parts):
        packed.parts = [
            half for part in packed.parts for half in (halves(part) if len(part.live) > max(1, largest) else [part])
        ]
    packed.largest = min(packed.largest, max(1, largest))


def save(packed: Parts) -> dict[str, Any]:
    """A pack as plain containers and tensors, so that it can be read back with ``weights_only=True``."""
    parts = [{name: saved[name] for name in ("k", "slots", "live", "state")} for saved in map(pack.save, packed.parts)]
    return pack.save(packed.whole) | {"parts": parts, "told": [packed.largest, packed.why]}


def resume(saved: dict[str, Any], cells: Sequence[Any], device: str = "cpu") -> Parts:
    """The pack that ``save`` wrote, for the same cells; it goes on bit for bit as if it had not stopped."""
    shared = {name: value for name, value in saved.items() if name not in ("parts", "told")}
    whole, *parts = (pack.resume(shared | own, cells, device) for own in [{}, *saved["parts"]])
    return Parts(whole, parts, device, *saved["told"])
