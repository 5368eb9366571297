"""A plan and its rows <-> the Parquet files of a data set: one row a training, nothing of the machine that trained it.

A file tells everything about itself: columns carry meaning, unit and role, the table its title, licence, citation, hash
and the plan. R, Julia and DuckDB see only the table's metadata, so that the columns are told there a second time. What
was recorded along a training are lists; they are in a file of their own, for readers that know no lists.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.claims.theory import claims
from infra.store import records, shards
from infra.store.manifest import REPORTED, check_plan
from infra.store.schema import HEAD, OUTCOME, PROVENANCE, SCHEMA_VERSION, TYPES, VERSION_KEY
from infra.store.storage import UNREADABLE, ResultsError, first_line

PLAN_KEY, COLUMNS_KEY = b"widthlaw.plan", b"columns"
OF_THE_MACHINE = ("host", "worker", "started", "pack_seconds")  # columns that are not published
DROPPED, REPLACED = ("--out", "--address", "--tracking-uri"), ("--data-dir",)  # of the command
PATHS = re.compile(r"(?<![\w/.)\]|*])(?:~\w*|[A-Za-z]:)?(?:[/\\][^\s/\\'\":,;()\[\]]+)+[/\\]?")
PLACES = re.compile(r"\w+://[^\s'\"]+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")  # addresses of stores, clusters and hosts
PLAIN = (*TYPES.values(), pa.int8(), pa.int16(), pa.int32(), pa.float32())
ROW_GROUP = 65_536  # rows
Metadata = Mapping[str, str]


def stem(plan: Mapping[str, Any]) -> str:
    """The start of the names of a plan's files, as in a report."""
    return f"{plan['sweep']}-{plan['plan_id'][:6]}"


def published_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan in valid Unicode, with a command that says nothing of where it ran."""
    text = json.dumps({**plan, "command": command(plan["command"])}, ensure_ascii=False)
    found: dict[str, Any] = json.loads(text.encode(errors="replace"))
    return found


def command(text: str) -> str:
    """A command line without results folder, cluster and MLflow, and with the last part of other paths."""
    try:
        parts = shlex.split(text)
    except ValueError:
        return anonymous(text)
    kept: list[str] = []
    skip = False
    for part in parts:
        name, equals, _ = part.partition("=")
        name = name.replace("_", "-") if name.startswith("--") else name
        if not skip and name in DROPPED + REPLACED:
            kept += [name, "DIR"] if name in REPLACED else []
            skip = not equals
            continue
        kept += [] if skip else [anonymous(part)]
        skip = False
    return shlex.join(kept)


def anonymous(text: str, hosts: Sequence[str] = ()) -> str:
    """Text without addresses and hosts, and with the last part of paths alone."""
    text = PATHS.sub(lambda path: re.split(r"[/\\]", path[0].rstrip("/\\"))[-1], PLACES.sub("ADDRESS", text))
    for host in hosts:
        text = re.sub(rf"(?<![\w-]){re.escape(host)}(?![\w-])", "HOST", text)
    return text


def published_rows(plan: Mapping[str, Any], rows: pa.Table) -> pa.Table:
    """The rows in the order of their axes, as they are published; each column with meaning, unit and role.

    ResultsError names a column of a type that not every reader of Parquet knows.
    """
    hosts = [one for one in set(rows["host"].to_pylist()) if one] if "host" in rows.column_names else []
    rows = rows.drop_columns([name for name in OF_THE_MACHINE if name in rows.column_names])
    if "reason" in rows.column_names and pa.types.is_string(rows["reason"].type):
        reasons = [text and anonymous(text, hosts) for text in rows["reason"].to_pylist()]
        field = rows.schema.field("reason")
        rows = rows.set_column(rows.schema.get_field_index("reason"), field, pa.array(reasons, field.type))
    fields = []
    for field in rows.schema:
        if field.type not in PLAIN:
            raise ResultsError(
                f"column {field.name} of plan {plan['plan_id']} is {field.type}; no rows of ours have that"
            )
        told = {key.decode(): value.decode(errors="replace") for key, value in (field.metadata or {}).items()}
        meaning = told.get("meaning") or plan["meanings"].get(field.name, "")
        metadata = {"meaning": meaning, "unit": told.get("unit", "1"), "role": role(plan, field)}
        fields.append(pa.field(field.name, field.type, metadata=metadata))
    rows = rows.select([field.name for field in fields]).cast(pa.schema(fields))
    order = [plan["over"], plan["critical"], *plan["axes"], "seed", "cell_id"]
    names = [name for name in dict.fromkeys(order) if name in rows.column_names]
    return rows.sort_by([(name, "ascending") for name in names]).combine_chunks()


def role(plan: Mapping[str, Any], field: pa.Field) -> str:
    """What a column is there for, a key of ``dictionary.ROLES``."""
    groups = (("identifier", HEAD), ("outcome", OUTCOME), ("provenance", PROVENANCE))
    for name, columns in groups:
        if field.name in {column for column, *_ in columns}:
            return name
    if field.name == "seed":
        return "seed"
    if field.name in {*plan["axes"], *plan["meanings"], (plan.get("tuned") or {}).get("axis")}:
        return "axis"
    if pa.types.is_list(field.type):
        return "curve"
    if field.name in {name for one in claims(plan) for name in (one.bound, one.needed)}:
        return "bound"
    return "computed" if field.name in plan.get("computed", ()) else "measurement"


def lists(rows: pa.Table) -> list[str]:
    """The columns that are lists."""
    return [field.name for field in rows.schema if pa.types.is_list(field.type)]


def told(schema: pa.Schema) -> list[dict[str, str]]:
    """Name, type, unit, role and meaning of each column."""
    keys = ("unit", "role", "meaning")
    return [
        {"name": field.name, "type": str(field.type).replace("element: ", "").replace("item: ", "")}
        | {key: (field.metadata or {}).get(key.encode(), b"").decode() for key in keys}
        for field in schema
    ]


def encoded(table: pa.Table, metadata: Metadata) -> bytes:
    """The table as a Parquet file that says what it is; the same rows give the same bytes."""
    columns = json.dumps(told(table.schema), ensure_ascii=False)
    full = {key.encode(): value.encode() for key, value in metadata.items()} | {COLUMNS_KEY: columns.encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(full | {VERSION_KEY: SCHEMA_VERSION.encode()}), sink,
        compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True,
    )  # fmt: skip
    content: bytes = sink.getvalue().to_pybytes()
    return content


def files(plan: Mapping[str, Any], rows: pa.Table, metadata: Metadata) -> dict[str, bytes]:
    """The data of a plan, by name: trainings, and their curves if they have any. rows: as ``published_rows`` gives."""
    curves, name = lists(rows), f"data/{stem(plan)}"
    recipe = {PLAN_KEY.decode(): json.dumps(plan, sort_keys=True, ensure_ascii=False)}
    made = {f"{name}.parquet": encoded(rows.drop_columns(curves), {**metadata, **recipe})}
    if curves:
        made[f"{name}-curves.parquet"] = encoded(rows.select(["cell_id", *curves]), metadata)
    return made


def read(folder: Path) -> list[tuple[dict[str, Any], pa.Table, Metadata]]:
    """The plans of a data set, oldest first, each with rows and metadata. ResultsError names what is not one."""
    found = []
    for path in sorted(folder.glob("data/*.parquet")):
        try:
            table = read_table(path)
            metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
            if PLAN_KEY.decode() not in metadata:
                continue
            plan = json.loads(metadata[PLAN_KEY.decode()])
            check_plan(plan)
            if lacking := [name for name in (*REPORTED, "plan_id") if name not in plan]:
                raise ValueError(f"its plan says nothing of {lacking[0]}")
            if path.stem != stem(plan):
                raise ValueError(f"it is the data of {stem(plan)}")
            shards.check(str(folder), table.schema)
            if lacking := sorted({*plan["axes"], "seed"} - set(table.column_names)):
                raise ValueError(f"it has no column {lacking[0]}")
            curves = path.with_name(f"{path.stem}-curves.parquet")
            table = joined(table, read_table(curves)) if curves.exists() else table
            if records.digest(table) != metadata.get("rows_sha256"):
                raise ValueError("its rows are not those that were exported")
            found.append((plan.get("created", ""), plan["plan_id"], plan, table, metadata))
        except (*UNREADABLE, ValueError, TypeError, LookupError, RecursionError) as error:
            raise ResultsError(f"{path}: {first_line(error)}; export it again") from None
    if not found:
        raise ResultsError(f"{folder} holds no exported data (data/*.parquet); is the path right?")
    return [entry[2:] for entry in sorted(found, key=lambda entry: entry[:2])]


def read_table(path: Path) -> pa.Table:
    with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
        return parquet.read()


def joined(rows: pa.Table, curves: pa.Table) -> pa.Table:
    """Trainings and their curves, which stand in the same order."""
    if not rows["cell_id"].equals(curves["cell_id"]):
        raise ValueError("its curves are those of other trainings")
    for field in curves.schema:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, curves[field.name])
    return rows
