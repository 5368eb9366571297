"""One shard of rows: read, and checked on the way, for others may have written it."""

import pyarrow as pa
import pyarrow.parquet as pq

from infra.store.schema import HEAD, OUTCOME, SCHEMA_VERSION, VERSION_KEY
from infra.store.storage import UNREADABLE, ResultsError, locate

NEEDED = ("cell_id", "family", "outcome")  # what reading itself asks of a shard
LARGEST = 2**30  # bytes of a shard when read; ours have a few MB
AT_ONCE = 1024  # rows
PIECE = 2**15  # bytes of a table below which its pieces, one a column, take more than what is in them
SMALL, KEPT = 2**18, 2**10  # bytes of a shard that is remembered, and how many are: a quarter of a GiB in all
Expected = tuple[str, pa.Schema]  # a family and its schema
remembered: dict[tuple[str, str, int, int], pa.Table | pa.Buffer] = {}  # by folder, path, ns of the last change, bytes


def read(out: str, path: str, columns: list[str] | None, expected: Expected | None) -> pa.Table:
    """``read_once``, once more where it fails: an object store reads in parts, and a shard that another driver writes
    anew meanwhile, with the same cells and another length, then looks damaged. One that is read whole, and is small, is
    remembered while it is the same file: MLflow follows a sweep, and its end reads it all twice."""
    info = locate(out)[0].get_file_info(path)
    known = out, path, info.mtime_ns, info.size
    whole = columns is None and info.mtime_ns is not None  # not every store says when
    if whole and (kept := remembered.get(known)):
        return checked(kept if isinstance(kept, pa.Table) else pa.ipc.open_stream(kept).read_all(), expected)
    table = read_again(out, path, columns)
    if whole and table.nbytes <= SMALL and len(remembered) < KEPT:
        remembered[known] = table if table.nbytes > PIECE else buffered(table)
    return checked(table, expected)


def buffered(table: pa.Table) -> pa.Buffer:
    """A table in one piece of memory."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def read_again(out: str, path: str, columns: list[str] | None) -> pa.Table:
    try:
        return read_once(out, path, columns)
    except UNREADABLE:
        return read_once(out, path, columns)


def checked(table: pa.Table, expected: Expected | None) -> pa.Table:
    """``table``. ArrowInvalid where it is not of the family that it names, if that is the expected one."""
    if expected and table["family"].unique().to_pylist() == [expected[0]]:
        check_columns(table.schema, expected[1])
    return table


def read_once(out: str, path: str, columns: list[str] | None) -> pa.Table:
    """The rows of one shard. One of UNREADABLE if it is none, ResultsError if it has another schema version."""
    with locate(out)[0].open_input_file(path) as file:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        names = check(out, parquet.schema_arrow)
        groups = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
        values = sum(group.column(j).num_values for group in groups for j in range(group.num_columns))
        size, parts = max(8 * values, sum(group.total_byte_size for group in groups)), []
        wanted = columns and [name for name in dict.fromkeys([*NEEDED, *columns]) if name in names]
        if size <= LARGEST:  # as it says; a part is read at a time, for a few bytes may stand for many
            size = 0
            for part in parquet.iter_batches(AT_ONCE, columns=wanted or None):
                part.validate(full=True)  # texts that are none would end in an error wherever they are read
                parts.append(part)
                if (size := size + part.nbytes) > LARGEST:
                    break
    if size > LARGEST:
        raise pa.ArrowInvalid(f"it is too large for a shard of rows, more than {LARGEST / 2**30:g} GiB when read")
    return pa.Table.from_batches(parts, schema=None if parts else parquet.schema_arrow)


def check_columns(found: pa.Schema, expected: pa.Schema) -> None:
    """ArrowInvalid where a shard lacks one of its family's axes or gives a column another type."""
    axes = expected.names[: expected.names.index("outcome")]
    for field in expected:
        if field.name in axes and field.name not in found.names:
            raise pa.ArrowInvalid(f"it has no column {field.name}")
        if field.name in found.names and not found.field(field.name).type.equals(field.type):
            raise pa.ArrowInvalid(f"its column {field.name} is not {field.type}")


def check(out: str, found: pa.Schema) -> list[str]:
    """The column names of a shard. ArrowInvalid if it is not one, ResultsError if it has another schema version."""
    version = (found.metadata or {}).get(VERSION_KEY)
    if version is None:
        raise pa.ArrowInvalid("it does not carry widthlaw's schema version")
    if version != SCHEMA_VERSION.encode():
        raise ResultsError(
            f"{out} was written with schema {version.decode(errors='replace')}, this is schema {SCHEMA_VERSION}: "
            "give another --out, or use the version that wrote it"
        )
    for name, kind, *_ in [*HEAD, *OUTCOME[:4]]:
        if name not in found.names:
            raise pa.ArrowInvalid(f"it has no column {name}")
        if found.field(name).type != kind:
            raise pa.ArrowInvalid(f"its column {name} is not {kind}")
    return list(found.names)
