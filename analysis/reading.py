"""The data of ``widthlaw fit``: a table read from a file or a results folder, and the rows that are wanted."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from infra.store import records

SEPARATORS = {".csv": ",", ".tsv": "\t"}
OTHERS = {"semicolons": ";", "tabs": "\t", "commas": ","}
HINT = "a .csv has commas, a .tsv has tabs"


class DataError(ValueError):
    """Data or columns that are wrong; the message is one line that says where and what to do."""


@dataclass(frozen=True)
class Table:
    """Columns, the SHA-256 of where they came from, and (results folders) the axes that vary."""

    frame: pd.DataFrame
    sha256: str
    axes: tuple[str, ...] = ()


def read(source: str) -> Table:
    """A CSV file, a Parquet file or a results folder. DataError names what cannot be read."""
    path = Path(source)
    if "://" in source or path.is_dir():
        rows = records.sound_rows(source)
        if not len(rows):
            raise DataError(f"{source} holds no rows; is the path right?")
        names = {name for plan in records.read_plans(source) for name in plan["axes"]} & set(rows.column_names)
        frame = rows.to_pandas()
        return Table(frame, records.digest(rows), tuple(sorted(n for n in names if frame[n].nunique() > 1)))
    if path.exists() and not path.is_file():  # a pipe would never end
        raise DataError(f"{source}: not a file; give a .csv, a .tsv, a Parquet file or a results folder")
    try:
        content = path.read_bytes()
        separator = SEPARATORS.get(path.suffix.lower())
        frame = csv(content, separator) if separator else pd.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{source}: no such file or folder; give a .csv, a .tsv, a Parquet file or a folder") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source}: {reason}; give a .csv, a .tsv, a Parquet file or a results folder") from None
    if separator and len(frame.columns) == 1:
        header = str(frame.columns[0])
        other = next((name for name, sign in OTHERS.items() if sign in header and sign != separator), None)
        if other is not None:
            raise DataError(f"{source}: one column '{header.expandtabs(1)}': separated by {other}? {HINT}")
    if frame.columns.has_duplicates:
        raise DataError(
            f"{source}: two columns are called '{frame.columns[frame.columns.duplicated()][0]}'; rename one"
        )
    return Table(frame, hashlib.sha256(content).hexdigest())


def csv(content: bytes, separator: str = ",") -> pd.DataFrame:
    """A CSV file's rows under the names that its first line has, repeated ones too."""
    frame = pd.read_csv(io.BytesIO(content), sep=separator)
    header = pd.read_csv(io.BytesIO(content), sep=separator, header=None, nrows=1, dtype=str).iloc[0]
    return frame.set_axis(list(header.fillna("")), axis=1) if header.duplicated().any() else frame


def select(table: Table, where: Sequence[str]) -> Table:
    """The rows in which every ``name=value`` or ``name=value,value`` of ``where`` holds."""
    frame = table.frame
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals:
            raise DataError(f"--where {condition}: write name=value, for instance d=16")
        column = column_of(frame, name)
        try:
            numeric = pd.api.types.is_numeric_dtype(column)
            whole = not numeric and (column == value).any()  # a text with a comma in it
            wanted: list[Any] = [float(one) if numeric else one for one in ([value] if whole else value.split(","))]
        except ValueError:
            raise DataError(f"--where {condition}: column {name} holds numbers, '{value}' is not one") from None
        if len(frame) and not all((column == one).any() for one in wanted):
            among = taken(sorted(column.dropna().unique()))
            raise DataError(f"--where {condition}: no row has it; {name} takes {among}")
        frame = frame[column.isin(wanted)]
    fixed = {name for name in (one.partition("=")[0] for one in where) if frame[name].nunique() <= 1}
    return Table(frame, table.sha256, tuple(name for name in table.axes if name not in fixed))


def column_of(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
    if name not in frame.columns:
        raise DataError(f"no column '{name}'; the data have {', '.join(map(str, frame.columns[:20]))}")
    return frame[name]


def taken(values: Sequence[object]) -> str:
    """The first six of the values that a column takes."""
    return ", ".join(f"{value}" for value in list(values)[:6]) + (", ..." if len(values) > 6 else "")
