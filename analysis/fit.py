"""Laws of anybody's data: a CSV or Parquet table, or a sweep's results folder -> a law as one JSON object.

widthlaw fit outcomes.parquet --critical m --over n        # single trainings, 0/1 outcomes
widthlaw fit counts.csv --critical m --over n --successes k --trials N
widthlaw fit metrics.csv --metric drift --over m           # a power law
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.laws import law_json, plain
from analysis.outcomes import tally, tally_counts
from analysis.plane import PlaneLaw, fit_plane
from analysis.powerlaws import PowerLaw, fit_power_law
from analysis.thresholds import ThresholdLaw, fit_threshold
from infra import records


class DataError(ValueError):
    """Data or columns that are wrong; the message is one line that says where and what to do."""


@dataclass(frozen=True)
class Table:
    """Columns, the SHA-256 of where they came from, and (results folders) the axes that vary."""

    frame: pd.DataFrame
    sha256: str
    axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """Which columns mean what. Either ``metric`` is given, or ``critical`` with an outcome or with counts."""

    over: str
    critical: str | None = None
    metric: str | None = None
    outcome: str = "success"
    successes: str | None = None
    trials: str | None = None
    seed: str | None = None
    second: str | None = None
    robust: bool = False


def read(source: str) -> Table:
    """A CSV file, a Parquet file or a results folder. DataError names what cannot be read."""
    path = Path(source)
    if "://" in source or path.is_dir():
        rows, _ = records.read_rows(source)
        if not len(rows):
            raise DataError(f"{source} holds no rows; is the path right?")
        names = {name for plan in records.read_plans(source) for name in plan["axes"]} & set(rows.column_names)
        frame = rows.to_pandas()
        return Table(frame, records.digest(rows), tuple(sorted(n for n in names if frame[n].nunique() > 1)))
    try:
        content = path.read_bytes()
        frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source}: {reason}; give a .csv, a Parquet file or a results folder") from None
    return Table(frame, hashlib.sha256(content).hexdigest())


def select(table: Table, where: Sequence[str]) -> Table:
    """The rows in which every ``name=value`` of ``where`` holds."""
    frame = table.frame
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals:
            raise DataError(f"--where {condition}: write name=value, for instance d=16")
        column = numbers_or_text(frame, name)
        try:
            wanted: Any = float(value) if pd.api.types.is_numeric_dtype(column) else value
        except ValueError:
            raise DataError(f"--where {condition}: column {name} holds numbers, '{value}' is not one") from None
        frame = frame[column == wanted]
    fixed = {condition.partition("=")[0] for condition in where}
    return Table(frame, table.sha256, tuple(name for name in table.axes if name not in fixed))


def fit(table: Table, columns: Columns, level: float = 0.5) -> tuple[Any, dict[str, Any]]:
    """The law, and as a JSON object: law, thresholds (for a critical width), counts, data_sha256.

    DataError for a missing column, an outcome outside {0, 1}, an axis that is not positive, more successes than trials,
    or axes of a results folder that vary and are neither fitted nor fixed. Poor data end in a status, not here.
    """
    named = (columns.over, columns.critical, columns.second, columns.seed, "seed")
    loose = [name for name in table.axes if name not in named]
    if loose:
        values = ", ".join(f"{value}" for value in sorted(table.frame[loose[0]].unique())[:6])
        raise DataError(f"{loose[0]} varies ({values}) but is not fitted; fix it with --where {loose[0]}=VALUE")
    try:
        law: Any = power_law(table.frame, columns) if columns.metric else threshold_law(table.frame, columns, level)
    except ValueError as error:
        raise DataError(" ".join(str(error).split())) from None
    told = {**law_json(law), "counts": counts(law, len(table.frame)), "data_sha256": table.sha256}
    return law, plain(told)


def power_law(frame: pd.DataFrame, columns: Columns) -> PowerLaw:
    clusters = None if columns.seed is None else numbers_or_text(frame, columns.seed).to_numpy()
    x, y = (numbers(frame, name) for name in (columns.over, str(columns.metric)))
    return fit_power_law(x, y, cluster=clusters, robust=columns.robust)


def threshold_law(frame: pd.DataFrame, columns: Columns, level: float) -> ThresholdLaw | PlaneLaw:
    if columns.critical is None:
        raise DataError("name either --metric (a power law) or --critical (a threshold)")
    critical, over = numbers(frame, columns.critical), numbers(frame, columns.over)
    second = None if columns.second is None else numbers(frame, columns.second)
    names = {"critical_name": columns.critical, "over_name": columns.over, "second_name": columns.second or "d"}
    if (columns.successes is None) != (columns.trials is None):
        raise DataError("--successes and --trials go together")
    if columns.successes is not None and columns.trials is not None:
        k, trials = numbers(frame, columns.successes), numbers(frame, columns.trials)
        data = tally_counts(critical, over, k, trials, second=second, **names)
    else:
        seeds = None if columns.seed is None else numbers_or_text(frame, columns.seed).to_numpy()
        data = tally(critical, over, numbers(frame, columns.outcome), seeds, second=second, **names)
    return fit_threshold(data, level) if second is None else fit_plane(data, level)


def in_words(law: Any, columns: Columns) -> str:
    """A line for the law and one for its status."""
    if not isinstance(law, PowerLaw):
        return str(law.summary())
    if np.isfinite(law.exponent):
        floor = f" + {law.offset:.3g}" if law.offset else ""
        (low, high), (start, end) = law.interval, law.over_range
        found = f"{columns.metric} = {law.prefactor:.3g} {columns.over}^{law.exponent:.3f}{floor}"
        found += f"  [{low:.3f}, {high:.3f}], {columns.over} in [{start:.4g}, {end:.4g}]"
    else:
        found = f"no exponent of {columns.metric}({columns.over})"
    return f"{found} ({law.n_points} points)\nstatus: " + "; ".join([law.status, *law.notes])


def numbers_or_text(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
    if name not in frame.columns:
        raise DataError(f"no column '{name}'; the data have {', '.join(map(str, frame.columns[:20]))}")
    return frame[name]


def numbers(frame: pd.DataFrame, name: str) -> Any:
    """A column as floats, missing values as NaN. DataError names the first row that is not a number."""
    column = numbers_or_text(frame, name)
    values = pd.to_numeric(column, errors="coerce")
    wrong = values.isna() & column.notna() & ~column.astype(str).str.strip().str.lower().isin(["nan", ""])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"row {row}: {name} is '{column.iloc[row]}', not a number")
    return values.to_numpy(dtype=float)


def counts(law: Any, rows: int) -> dict[str, int]:
    """What became of the rows."""
    if isinstance(law, PowerLaw):
        dropped = {"dropped_nonpositive": law.dropped_nonpositive, "dropped_nonfinite": law.dropped_nonfinite}
        return {"rows": rows, "points": law.n_points, **dropped}
    return {"rows": rows, "trainings": law.trainings, "dropped": law.dropped}
