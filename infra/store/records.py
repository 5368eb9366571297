"""Rows: what finished cells leave behind. Atomic shards, reading, plans.

A results folder holds ``rows/*.parquet`` (one shard per finished pack, named by its content), ``plans/*.json`` (one per
requested sweep) and ``set-aside/`` (files found in ``rows/`` that are not rows). ``--out`` may be a local path or any
pyarrow filesystem URI.
"""

import hashlib
import json
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from infra.store import shards
from infra.store.manifest import REPORTED, check_plan
from infra.store.schema import PROVENANCE
from infra.store.shards import Expected
from infra.store.storage import (
    UNREADABLE,
    Foreign,
    ResultsError,
    first_line,
    is_local,
    list_folder,
    locate,
    move,
    within,
    write_bytes,
)

DUPLICATES_KEY = b"widthlaw.duplicates"
TUNING_SEED = 1_000_000  # seeds from here on are those of trainings that tune a knob: no law uses them
RANKS = {"failed": 0, "stalled": 1}  # of a cell's rows the one of the highest rank counts; 2 for the others
LARGEST_PLAN = 2**26  # bytes
JOINED = 64  # shards that are joined to one piece, where they are small, while others are read
READERS = 4  # shards read at a time: those of an object store are waited for


def write_shard(out: str, rows: Sequence[Mapping[str, Any]], row_schema: pa.Schema) -> str:
    """Write one pack's rows as ``rows/NAME.parquet``, NAME the content address of its cells, which is returned."""
    name = hashlib.sha256("".join(sorted(row["cell_id"] for row in rows)).encode()).hexdigest()[:20]
    table = pa.Table.from_pylist([{key: row.get(key) for key in row_schema.names} for row in rows], row_schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    write_bytes(out, f"rows/{name}.parquet", sink.getvalue().to_pybytes())
    return name


def read_rows(
    out: str,
    family: str | None = None,
    columns: list[str] | None = None,
    expected: Expected | None = None,
) -> tuple[pa.Table, list[Foreign]]:
    """All rows of a results folder, one per cell, and what is in ``rows/`` and is not a shard of rows.

    A cell recorded twice counts once (a ``failed`` row yields to any other). ResultsError when a shard was written with
    another schema version. With no rows: an empty table with no columns.
    """
    filesystem, root = locate(out)
    files, foreign = list_folder(filesystem, f"{root}/rows")

    def one(path: str) -> pa.Table | Foreign | None:
        try:
            table = shards.read(out, path, columns, expected)
        except UNREADABLE as error:  # one that is not there another driver has set aside meanwhile
            return Foreign(path, first_line(error)) if is_there(filesystem, path) else None
        return only(table, pc.equal(table["family"], family)) if family else table

    tables: list[pa.Table] = []
    joined: list[pa.Table] = []
    try:
        with ThreadPoolExecutor(READERS) as threads:
            for found in threads.map(one, files):
                if isinstance(found, Foreign):
                    foreign.append(found)
                elif found is not None and len(found):
                    tables.append(found)
                if len(tables) == JOINED:
                    small = sum(table.nbytes for table in tables) < JOINED * shards.PIECE
                    joined += [together(tables).combine_chunks()] if small else tables
                    tables = []
        tables = joined + tables
        return (deduplicated(together(tables)) if tables else pa.table({})), foreign
    except pa.ArrowException as error:
        raise ResultsError(f"the rows in {out} do not fit together: {first_line(error)}; read one family") from None


def together(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="permissive")


def sound_rows(out: str, family: str | None = None, columns: list[str] | None = None) -> pa.Table:
    """The rows of ``read_rows``. ResultsError where a shard is damaged: the rest is not what was recorded."""
    table, foreign = read_rows(out, family, columns)
    if damaged := [file for file in foreign if file.path.endswith(".parquet")]:
        raise ResultsError(
            f"{damaged[0].path} is damaged ({damaged[0].why}); run the sweep again: it trains what is missing"
        )
    return table


def only(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    """The rows that a mask names; where these are all, the table itself, for a copy takes its time."""
    return table if pc.all(mask, skip_nulls=False).as_py() else table.filter(mask)


def by_cell(table: pa.Table) -> pa.Table:
    """The rows in the order of their cells' addresses."""
    ids = table["cell_id"]
    return table if pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py() else table.sort_by("cell_id")


def is_there(filesystem: pafs.FileSystem, path: str) -> bool:
    return bool(filesystem.get_file_info(path).type != pafs.FileType.NotFound)


def deduplicated(table: pa.Table) -> pa.Table:
    """One row per cell; among several the first that did not fail, one that went to its end before one that was
    stopped. The schema's metadata counts those left out."""
    rank = [RANKS.get(outcome, 2) for outcome in table["outcome"].to_pylist()]
    best: dict[str, int] = {}
    for i, identity in enumerate(table["cell_id"].to_pylist()):
        if identity not in best or rank[i] > rank[best[identity]]:
            best[identity] = i
    left_out = len(table) - len(best)
    if not left_out:
        return table
    metadata = {**(table.schema.metadata or {}), DUPLICATES_KEY: str(left_out).encode()}
    return table.take(pa.array(sorted(best.values()))).replace_schema_metadata(metadata)


def duplicates(table: pa.Table) -> int:
    """How many rows ``read_rows`` left out because their cell was recorded more than once."""
    return int((table.schema.metadata or {}).get(DUPLICATES_KEY, b"0"))


def set_aside(out: str, foreign: Iterable[Foreign], expected: Expected | None = None) -> None:
    """Move what is not a shard out of ``rows/`` into ``set-aside/``, so that it is asked about once.

    In an object store another driver may have replaced it by a shard meanwhile, which stays.
    """
    for path, _ in foreign:
        name = path.rsplit("/", 1)[1]
        filesystem, source = within(out, f"rows/{name}")
        target = within(out, f"set-aside/{name}")[1]
        try:
            if is_shard(out, filesystem, source, expected):
                continue
            if is_there(filesystem, target):
                target = within(out, f"set-aside/{uuid.uuid4().hex[:8]}-{name}")[1]
            move(filesystem, source, target)
        except UNREADABLE as error:
            raise ResultsError(f"cannot set aside {path}: {first_line(error)}; move it out of rows/ yourself") from None


def is_shard(out: str, filesystem: pafs.FileSystem, path: str, expected: Expected | None) -> bool:
    """Whether a file of an object store is a shard by now."""
    try:
        return not is_local(filesystem) and len(shards.read(out, path, None, expected)) >= 0
    except UNREADABLE:
        return False


def set_aside_files(out: str) -> list[Foreign]:
    """What earlier runs moved out of ``rows/``."""
    filesystem, root = locate(out)
    return [Foreign(path, "set aside earlier") for path in list_folder(filesystem, f"{root}/set-aside")[0]]


def recorded(out: str, expected: Expected | None = None, *, to_the_end: bool = False) -> tuple[set[str], list[Foreign]]:
    """Content addresses of the cells that need no training (failed ones are tried again, stalled ones where all are to
    go ``to_the_end``), and what is not a shard.

    Every byte is read, so that a damaged shard is found before its rows are relied on. ``expected``: a family and its
    schema; a shard of that family must have its axes and no column of another type.
    """
    table, foreign = read_rows(out, expected=expected)
    if not len(table):
        return set(), foreign
    again = pa.array(["failed", "stalled"] if to_the_end else ["failed"])
    return set(table.filter(pc.invert(pc.is_in(table["outcome"], again)))["cell_id"].to_pylist()), foreign


def write_plan(out: str, plan: Mapping[str, Any]) -> None:
    """Record what was asked for as ``plans/<plan_id>.json``: sweep, claim, family, axes, seeds, command."""
    write_bytes(out, f"plans/{plan['plan_id']}.json", json.dumps(plan, indent=1, sort_keys=True).encode())


def read_plans(out: str) -> list[dict[str, Any]]:
    """All plans of a results folder, oldest first. ResultsError names a plan that is not readable."""
    filesystem, root = locate(out)
    plans = []
    for path in list_folder(filesystem, f"{root}/plans")[0]:
        try:
            with filesystem.open_input_file(path) as file:
                if file.size() > LARGEST_PLAN:
                    raise ValueError(f"it has more than {LARGEST_PLAN / 2**20:g} MiB")
                plan = json.loads(file.read())
            check_plan(plan)
            plans.append((plan["created"], plan["plan_id"], plan))
        except (*UNREADABLE, ValueError, TypeError, LookupError, RecursionError) as error:
            raise ResultsError(f"{path} is not a plan: {first_line(error)}; delete it and run again") from None
    return [plan for *_, plan in sorted(plans, key=lambda entry: entry[:2])]


def plans_to_report(out: str) -> list[dict[str, Any]]:
    """All plans, at least one, each with all that a report needs. ResultsError otherwise."""
    if not (plans := read_plans(out)):
        raise ResultsError(f"{out} holds no sweep; is the path right?")
    for plan in plans:
        if lacking := [name for name in REPORTED if name not in plan]:
            raise ResultsError(f"plan {plan['plan_id']} of {out} says nothing of {lacking[0]}; delete it and run again")
    return plans


def read_plan(out: str, plan_id: str) -> dict[str, Any]:
    """One plan. ResultsError when the folder has no such plan."""
    for plan in read_plans(out):
        if plan["plan_id"] == plan_id:
            return plan
    raise ResultsError(f"{out} holds no plan {plan_id}; run the sweep first")


def plan_rows(out: str, plan: Mapping[str, Any], columns: list[str] | None = None) -> pa.Table:
    """The recorded rows of one plan: its family and numerics, its axis values, its seeds; sorted by cell_id.

    An adaptive plan chooses the values of its critical axis and the seeds as it goes: all of them are its own. One with
    a tuned axis has a value of it at each grid point, and so names its ``points``, none before they are known.
    """
    needed = columns and [*columns, "point_id", "numerics", "seed", *plan["axes"]]
    table = sound_rows(out, plan["family"], needed)
    if not len(table) or not {"seed", *plan["axes"]} <= set(table.column_names):
        return table.slice(0, 0)
    try:
        return by_cell(only(table, chosen(plan, table)))
    except (pa.ArrowException, TypeError) as error:
        raise ResultsError(f"the rows in {out} are not those of plan {plan['plan_id']}: {first_line(error)}") from None


def chosen(plan: Mapping[str, Any], table: pa.Table) -> pa.ChunkedArray:
    """Which rows are the plan's."""
    adaptive = plan.get("adaptive", False)
    inside = pc.equal(table["numerics"], plan["numerics"])
    inside = pc.and_(inside, pc.less(table["seed"], TUNING_SEED if adaptive else plan["seeds"]))
    for name, values in plan["axes"].items():
        if adaptive and name == plan["critical"]:
            continue
        inside = pc.and_(inside, pc.is_in(table[name], pa.array(values, table[name].type)))
    if plan.get("tuned"):
        inside = pc.and_(inside, pc.is_in(table["point_id"], pa.array(plan.get("points", []), pa.string())))
    return inside


def asked(plan: Mapping[str, Any], recorded: int) -> int:
    """How many trainings a plan asks for; an adaptive one, what it has so far."""
    return recorded if plan.get("adaptive") else math.prod(map(len, plan["axes"].values())) * int(plan["seeds"])


def unnamed(kind: pa.DataType) -> pa.DataType:
    """A type whose list items have the default name: Parquet names them otherwise."""
    return pa.list_(unnamed(kind.value_type)) if pa.types.is_list(kind) else kind


def digest(table: pa.Table) -> str:
    """SHA-256 of what rows say, in whatever order and whoever computed them: provenance columns do not count."""
    provenance = {name for name, *_ in PROVENANCE}
    if len(table):
        table = by_cell(table)
    content = table.select(sorted(set(table.column_names) - provenance)).replace_schema_metadata().combine_chunks()
    bare = pa.schema([(field.name, unnamed(field.type)) for field in content.schema])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, bare) as stream:
        stream.write_table(content.cast(bare))
    return hashlib.sha256(sink.getvalue()).hexdigest()
