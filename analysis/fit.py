"""Laws of anybody's data: a CSV or Parquet table, or a sweep's results folder -> a law as one JSON object.

widthlaw fit outcomes.parquet --critical m --over n        # single trainings, 0/1 outcomes
widthlaw fit counts.csv --critical m --over n --successes k --trials N
widthlaw fit metrics.csv --metric drift --over m           # a power law

The object's ``data_sha256`` is over the bytes of a file, and over the rows of a results folder. JSON has no infinity:
null in an interval or an envelope, which always are pairs, means unbounded on that side; null for a number (exponent,
prefactor, m*) means not known. ``status`` and ``notes`` say which and why.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.laws_file import law_json, plain
from analysis.pages.fit_in_words import power_law_in_words, threshold_in_words
from analysis.powerlaws.fitting import fit_power_law
from analysis.powerlaws.law import PowerLaw
from analysis.reading import DataError, Table, column_of, read, select, taken
from analysis.thresholds.fitting import ThresholdLaw, fit_threshold
from analysis.thresholds.outcomes import Contradiction, tally, tally_counts
from analysis.thresholds.plane import PlaneLaw, fit_plane

__all__ = ["Columns", "DataError", "Table", "columns_of", "fit", "in_words", "read", "select"]

AXES = ("n", "m", "d", "depth", "init_scale", "noise", "step_size", "budget", "alpha", "k")  # of sweeps, by name


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


def columns_of(over: str, *, robust: bool = False, level: float | None = None, **options: str | None) -> Columns:
    """The columns that the options name. ``over`` is one axis or two ("n,d"); ``options`` holds the options of
    ``widthlaw fit`` by name, None where one was not given. DataError for options that exclude each other."""
    first, *more = (name.strip() for name in over.split(","))
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    threshold_only = [name for name in given if name in ("outcome", "successes", "trials")]
    threshold_only += ["level"] if level is not None else []
    if ("metric" in given) == ("critical" in given):
        raise DataError("name either --metric (a power law) or --critical (a threshold), and not both")
    if "metric" in given and threshold_only:
        raise DataError(f"--{threshold_only[0]} belongs to --critical (a threshold), not to --metric: leave it out")
    if "metric" in given and more:
        raise DataError(f"--metric is fitted over one axis, not over {over}: give --over {first}")
    if robust and "metric" not in given:
        raise DataError("--robust belongs to --metric (a power law), not to a threshold: leave it out")
    for name in ("outcome", "seed"):
        if name in given and "successes" in given:
            raise DataError(f"--{name} is of single trainings, --successes of counted ones: give one of them")
    if not first or "" in more or len(more) > 1:
        raise DataError(f"--over {over}: give one axis, or two as n,d")
    if first in more:
        raise DataError(f"--over {over}: the two axes must differ")
    for name in ("critical", "metric"):
        if given.get(name) in (first, *more):
            raise DataError(f"--{name} {given[name]} is also what --over names: they must differ")
    return Columns(first, second=more[0] if more else None, robust=robust, **given)


def fit(table: Table, columns: Columns, level: float = 0.5) -> tuple[Any, dict[str, Any]]:
    """The law, and as a JSON object: law, thresholds (for a critical width), counts, data_sha256.

    DataError for a missing column, an outcome outside {0, 1}, an axis that is not positive, more successes than trials,
    or axes of a results folder that vary and are neither fitted nor fixed. Poor data end in a status, not here.
    """
    for name in pooled(table, columns):
        values = taken(sorted(table.frame[name].dropna().unique()))
        raise DataError(f"{name} varies ({values}) but is not fitted; fix it with --where {name}=VALUE")
    try:
        law: Any = power_law(table.frame, columns) if columns.metric else threshold_law(table.frame, columns, level)
    except ValueError as error:
        raise DataError(" ".join(str(error).split())) from None
    told = {**law_json(law), "counts": counts(law, len(table.frame)), "data_sha256": table.sha256}
    if isinstance(law, PlaneLaw):  # the keys of a law over one axis, too: they tell of the first
        told["law"] = told["law"] | {"exponent": law.exponents[0], "interval": law.intervals[0]}
    return law, plain(told)


def pooled(table: Table, columns: Columns) -> list[str]:
    """Axes that vary and are neither fitted nor named: those of a results folder, and in any table a column with
    the name of an axis that takes several values within one cell (or at one x of a metric)."""
    frame = table.frame
    cell = [name for name in (columns.over, columns.second, columns.critical) if name is not None]
    named = {*cell, columns.seed, columns.metric, columns.outcome, columns.successes, columns.trials, "seed"}
    found = [name for name in table.axes if name not in named]
    if any(name not in frame.columns for name in (*cell, columns.metric or columns.over)):
        return found  # said in a clearer line where it is read
    others = [name for name in AXES if name in frame.columns and name not in (*named, *found)]
    numeric = [name for name in others if pd.api.types.is_numeric_dtype(frame[name])]
    return found + [name for name in numeric if (frame.groupby(cell)[name].nunique() > 1).any()]


def power_law(frame: pd.DataFrame, columns: Columns) -> PowerLaw:
    clusters = None if columns.seed is None else column_of(frame, columns.seed).to_numpy()
    x, y = (numbers(frame, name) for name in (columns.over, str(columns.metric)))
    return fit_power_law(x, y, cluster=clusters, robust=columns.robust)


def threshold_law(frame: pd.DataFrame, columns: Columns, level: float) -> ThresholdLaw | PlaneLaw:
    if columns.critical is None:
        raise DataError("no column is named whose threshold is sought: give --critical")
    critical, over = numbers(frame, columns.critical), numbers(frame, columns.over)
    second = None if columns.second is None else numbers(frame, columns.second)
    names = {"critical_name": columns.critical, "over_name": columns.over, "second_name": columns.second or "d"}
    if (columns.successes is None) != (columns.trials is None):
        raise DataError("--successes and --trials go together")
    if columns.successes is not None and columns.trials is not None:
        k, trials = numbers(frame, columns.successes), numbers(frame, columns.trials)
        data = tally_counts(critical, over, k, trials, second=second, **names)
    else:
        seed = columns.seed or ("seed" if "seed" in frame.columns else None)
        seeds = None if seed is None else column_of(frame, seed).to_numpy()
        clustered, outcome = columns.seed is not None, numbers(frame, columns.outcome)
        try:
            data = tally(critical, over, outcome, seeds, clustered=clustered, second=second, **names)
        except Contradiction as error:
            raise DataError(f"{error}; {differing(frame, error, columns.outcome)}") from None
    return fit_threshold(data, level) if second is None else fit_plane(data, level)


def differing(frame: pd.DataFrame, error: Contradiction, outcome: str) -> str:
    """What else differs between the two rows of one training: by that one can tell them apart."""
    rows = frame.iloc[[error.first, error.second]]
    names = [str(name) for name in frame.columns if name != outcome and rows[name].nunique(dropna=False) > 1]
    if not names:
        return "remove the wrong row"
    return f"they differ in {', '.join(names[:6])}: if it is another kind of training, keep one with --where"


def in_words(law: Any, columns: Columns) -> str:
    """The law, its envelope and its status; thresholds as a table."""
    if isinstance(law, PowerLaw):
        return power_law_in_words(law, str(columns.metric), columns.over)
    return threshold_in_words(law)


def numbers(frame: pd.DataFrame, name: str) -> Any:
    """A column as floats, missing values as NaN. DataError names the first row that is not a number."""
    column = column_of(frame, name)
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
    return {"rows": rows, "trainings": law.trainings, "dropped": law.dropped, "repeated": law.repeated}
