"""What a row is: the content address of its cell, and its typed columns."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = "1"
VERSION_KEY = b"widthlaw.schema"
OUTCOMES = ("fit", "unfit", "diverged", "stalled", "failed")

HEAD = [
    ("cell_id", pa.string(), "content address of the training: family, numerics version and all axes", "1"),
    ("point_id", pa.string(), "content address of the grid point: the same without the seed", "1"),
    ("family", pa.string(), "model family", "1"),
    ("numerics", pa.string(), "numerics version of the family", "1"),
]
OUTCOME = [
    (
        "outcome",
        pa.string(),
        "fit, unfit (within the budget), diverged, stalled (stopped before, being out of reach) or failed",
        "1",
    ),
    ("success", pa.int8(), "1 for fit, 0 for unfit, diverged and stalled, empty for failed", "1"),
    ("reason", pa.string(), "why a training failed or was stopped", "1"),
    (
        "steps",
        pa.int64(),
        "steps taken: the first point of the measuring grid (9% apart), or the budget, with this outcome",
        "steps",
    ),
    (
        "stalled_at",
        pa.int64(),
        "step at which the training was found out of reach; one that was not stopped there went on to its end",
        "steps",
    ),
]
PROVENANCE = [
    ("compute_seconds", pa.float64(), "the cell's share of its pack's computing time", "s"),
    ("pack_seconds", pa.float64(), "wall time of the whole pack", "s"),
    ("started", pa.string(), "when the worker that wrote the row took its pack up, UTC, ISO 8601", "1"),
    ("finished", pa.string(), "when the pack's rows were written, UTC, ISO 8601", "1"),
    ("host", pa.string(), "host name", "1"),
    ("worker", pa.int64(), "process that trained the pack, its number on its host", "1"),
    ("device", pa.string(), "device of the training", "1"),
    ("threads", pa.int16(), "CPU threads", "threads"),
    ("code", pa.string(), "hash of the package's source files", "1"),
    (
        "commit",
        pa.string(),
        "git commit of the code, with '-dirty' when the tree differs; empty outside a checkout",
        "1",
    ),
    ("packages", pa.string(), "versions of python, torch, ray, numpy and the platform", "1"),
]
CURVE = pa.list_(pa.float64())
TYPES = {"int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_()}
TYPES |= {"curve": CURVE, "vectors": pa.list_(CURVE)}


@dataclass(frozen=True)
class Column:
    name: str
    type: str  # of TYPES
    meaning: str
    unit: str


CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def cell_id(family: str, numerics: str, fields: Mapping[str, Any]) -> str:
    """Content address of a cell: 80 bits of SHA-256 over the canonical JSON of family, numerics version and fields.

    A whole float counts as the integer, so that 1 and 1.0, 0.0 and -0.0 are the same cell.
    """

    def canonical(value: Any) -> Any:
        return int(value) if isinstance(value, float) and value.is_integer() else value

    fields = {name: canonical(value) for name, value in fields.items()}
    return hashlib.sha256(CANONICAL.encode([family, numerics, fields]).encode()).hexdigest()[:20]


def point_id(family: str, numerics: str, fields: Mapping[str, Any]) -> str:
    """Content address of a cell's grid point: the cell without its seed."""
    return cell_id(family, numerics, {name: value for name, value in fields.items() if name != "seed"})


def of_rows(axes: Sequence[Column], numbers: Sequence[Column]) -> pa.Schema:
    """The schema of one family's rows; each field's metadata carries ``meaning`` and ``unit``."""

    def make(name: str, type_: pa.DataType, meaning: str, unit: str) -> pa.Field:
        return pa.field(name, type_, metadata={"meaning": meaning, "unit": unit})

    fields = [make(*head) for head in HEAD]
    fields += [make(c.name, TYPES[c.type], c.meaning, c.unit) for c in axes]
    fields += [make(*outcome) for outcome in OUTCOME]
    fields += [make(c.name, TYPES[c.type], c.meaning, c.unit) for c in numbers]
    fields += [make(*provenance) for provenance in PROVENANCE]
    return pa.schema(fields, metadata={VERSION_KEY: SCHEMA_VERSION.encode()})
