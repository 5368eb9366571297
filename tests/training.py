"""Helpers: train cells in a pack and compare rows in the words of the project."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from infra.packing import pack

Row = dict[str, Any]


def seeds(cell: Any, count: int) -> list[Any]:
    """The same cell with seeds 0 .. count - 1."""
    return [replace(cell, seed=seed) for seed in range(count)]


def trained(family: str, cells: Sequence[Any]) -> dict[str, Row]:
    """Rows of ``cells`` trained as one pack, by cell_id, without the time they took."""
    run = pack.start(family, cells)
    while not pack.finished(run):
        pack.advance(run)
    rows = by_id(pack.rows(run))
    assert len(rows) == len(cells), "one row per cell"
    return rows


def by_id(rows: Sequence[Row]) -> dict[str, Row]:
    return {row["cell_id"]: {k: v for k, v in row.items() if k != "compute_seconds"} for row in rows}


def assert_same_bits(rows: dict[str, Row], reference: dict[str, Row]) -> None:
    """Every row equals the reference row of the same cell in every bit of every column (repr also tells NaN and -0)."""
    assert rows, "nothing to compare"
    for identity, row in rows.items():
        assert set(row) == set(reference[identity]), f"cell {identity}: other columns"
        different = [name for name in row if repr(row[name]) != repr(reference[identity][name])]
        assert not different, f"cell {identity}: {', '.join(different)} differ"
