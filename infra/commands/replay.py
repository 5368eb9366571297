"""Recorded trainings done again, each alone, and held against their rows bit for bit."""

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import trainables
from infra import provenance
from infra.packing import pack
from infra.store import records
from infra.store.schema import PROVENANCE
from infra.store.storage import ResultsError, first_line

NOT_COMPARED = {name for name, *_ in PROVENANCE} | {"stalled_at"}  # who trained it, where and how fast; by which rule
SHORTEST = 4  # characters of a cell's address that are enough where they are its own


@dataclass(frozen=True)
class Replayed:
    """One cell trained again. ``differences``: of each column that is not the same in every bit the largest relative
    difference, infinite where it is none of numbers; ``made`` and ``here``: packages and device then and now;
    ``untrained``: why it could not be trained again, "" where it was."""

    cell_id: str
    outcome: str
    differences: dict[str, float]
    made: str
    here: str
    untrained: str = ""

    @property
    def same(self) -> bool:
        """Whether the row is reproduced bit for bit."""
        return not self.differences and not self.untrained

    def as_json(self) -> dict[str, Any]:
        """As ``--json`` prints it: a difference that is none of numbers is null."""
        told = {name: by if math.isfinite(by) else None for name, by in self.differences.items()}
        return dataclasses.asdict(self) | {"same": self.same, "differences": told}

    def __str__(self) -> str:
        if self.untrained:
            return f"{self.cell_id}  {self.outcome}: {self.untrained}"
        if self.same:
            return f"{self.cell_id}  {self.outcome}: reproduced bit for bit"
        largest = sorted(self.differences.items(), key=lambda entry: -entry[1])[:4]
        told = ", ".join(f"{name} {'otherwise' if by == math.inf else f'by {by:.1e}'}" for name, by in largest)
        more = f" and {len(self.differences) - 4} more" if len(self.differences) > 4 else ""
        where = f" (recorded with {self.made}; here {self.here})" if self.made != self.here else ""
        return f"{self.cell_id}  {self.outcome}: differs in {told}{more}{where}"


def replay(out: str, cell_id: str) -> Replayed:
    """Train the cell whose address is, or begins with, ``cell_id`` again. ResultsError where there is no such, where
    there are several, or for one of another numerics version."""
    table = records.sound_rows(out)
    known = table["cell_id"].to_pylist() if len(table) else []
    if not known:
        raise ResultsError(f"{out} holds no training; is the path right?")
    found = [i for i, identity in enumerate(known) if str(identity).startswith(cell_id)]
    if len(cell_id) < SHORTEST or len(found) != 1:
        few = f"{len(found)} cells begin so; write more of it" if found else "no such cell; report.html names them"
        raise ResultsError(f"{out}: {cell_id!r}: {few}")
    return again(out, table.slice(found[0], 1).to_pylist()[0])


def audit(out: str, sample: int, seed: int) -> Iterator[Replayed]:
    """Train a random sample of the cells of all sweeps in ``out`` again, failed ones left out; one that cannot be
    trained says why, and the rest goes on."""
    table = records.sound_rows(out)
    outcomes = table["outcome"].to_pylist() if len(table) else []
    trained = [i for i, outcome in enumerate(outcomes) if outcome != "failed"]
    if not trained:
        raise ResultsError(f"{out} holds no training; is the path right?")
    for i in random.Random(seed).sample(trained, min(sample, len(trained))):
        (row,) = table.slice(i, 1).to_pylist()
        try:
            yield again(out, row)
        except ResultsError as error:
            why = str(error).removeprefix(f"{out}: ").removeprefix(f"{row['cell_id']} ")
            yield Replayed(str(row["cell_id"]), str(row["outcome"]), {}, str(row.get("packages")), "", why)


def again(out: str, row: Mapping[str, Any]) -> Replayed:
    """Train the cell of a row alone, stopped where it was when it was recorded. ResultsError where its family or its
    numerics version is another, or where what the row says cannot be trained."""
    try:
        module = trainables.load(row["family"])
    except ValueError as error:
        raise ResultsError(f"{out}: {' '.join(str(error).split())}") from None
    if row["numerics"] != module.VERSION:
        needed = f"numerics {row['numerics']} of {row['family']} (commit {row.get('commit') or 'unknown'})"
        raise ResultsError(
            f"{out}: {row['cell_id']} was recorded with {needed}, this is {module.VERSION}: install that"
        )
    if lacking := [axis.name for axis in dataclasses.fields(module.Cell) if row.get(axis.name) is None]:
        raise ResultsError(f"{out}: {row['cell_id']} cannot be trained again: its row says nothing of {lacking[0]}")
    try:
        found = trained(module, row)
    except Exception as error:  # rows may be anybody's: what they ask for may fail in any way
        why = f"{type(error).__name__}: {first_line(error)}"
        raise ResultsError(f"{out}: {row['cell_id']} cannot be trained as its row says ({why})") from None
    made = f"{row.get('packages')}, {row.get('device')}"
    return Replayed(
        str(row["cell_id"]), str(row["outcome"]), differences(row, found), made, f"{provenance.packages()}, cpu"
    )


def trained(module: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row that training the cell of ``row`` alone leaves behind. One that was stopped is trained to that step."""
    cell = module.Cell(**{axis.name: row[axis.name] for axis in dataclasses.fields(module.Cell)})
    run, stopped = pack.start(row["family"], [cell]), row["outcome"] == "stalled"
    if stopped:
        run.budgets[0] = row["steps"]
    while not pack.finished(run):
        pack.advance(run)
    (found,) = pack.rows(run)
    return found | ({"outcome": "stalled", "reason": row["reason"]} if stopped and found["outcome"] == "unfit" else {})


def differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> dict[str, float]:
    """Of each column that is not the same in every bit, by how much; who trained it, and where, is left out."""
    names = (recorded.keys() | replayed.keys()) - NOT_COMPARED
    pairs = {name: (recorded.get(name), replayed.get(name)) for name in names}
    return {name: apart(*pair) for name, pair in sorted(pairs.items()) if repr(pair[0]) != repr(pair[1])}


def apart(a: Any, b: Any) -> float:
    """The largest relative difference of two numbers or lists of numbers; infinite where they cannot be compared."""
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max((apart(x, y) for x, y in zip(a, b, strict=True) if repr(x) != repr(y)), default=0.0)
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)) or not math.isfinite(a - b):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0
