"""Commands about laws: those of recorded trainings, written, exported, compared; those of anybody's data."""

from dataclasses import asdict
from json import dumps
from typing import Annotated

from cyclopts import Parameter

from analysis.paper import LICENCE
from infra.commands.app import Json, Results, app
from infra.store.storage import beside, tell

# Each command imports what it needs: all together takes seconds, for which a status should not wait.


@app.command
def report(
    *results: Annotated[str, Parameter(help="Results folders of sweeps.")],
    page: Annotated[str | None, Parameter(help="Where the page over several folders goes.")] = None,
    json: Json = False,
) -> None:
    """Write RESULTS/report.html, laws.json, figures and LaTeX tables from the rows; prints the path of the page.

    With --page FILE.html, one page over all the folders.
    """
    from analysis import laws_file
    from analysis import report as reports
    from analysis.reading import DataError

    if page is None and len(results) != 1:
        raise DataError("report: give one results folder, or several with --page FILE.html")
    made = reports.write_report(results[0]) if page is None else reports.write_board(results, page)
    laws = [beside(out, laws_file.NAME) for out in results]
    tell(dumps({"page": made, "laws": laws}, indent=1) if json else made)


@app.command
def export(
    results: Results,
    *,
    paper: Annotated[str, Parameter(help="Folder to write, new or an earlier export, which it replaces.")],
    licence: Annotated[str, Parameter(help="An SPDX identifier, or a text.")] = LICENCE,
    author: Annotated[
        list[str] | None,
        Parameter(help="'Family, Given', or a name as it stands; may be given more than once.", negative=""),
    ] = None,
    json: Json = False,
) -> None:
    """Write the data set that goes with a paper: Parquet, dictionary, figures, tables, and a Makefile that makes them.

    The folder stands for itself: README.md says how to read it with pandas, polars, DuckDB, R and Julia.
    """
    from analysis import export as exports

    made = exports.export(results, paper, licence, author or [])
    tell(dumps(asdict(made) | {"folder": str(made.folder)}, indent=1) if json else str(made))


@app.command
def fit(
    data: Annotated[str, Parameter(help="A .csv, .tsv or Parquet file, or a sweep's results folder.")],
    *,
    over: Annotated[str, Parameter(help="Axis of the law; two axes as n,d.")],
    critical: Annotated[str | None, Parameter(help="Axis whose threshold is sought: m*(n).")] = None,
    metric: Annotated[str | None, Parameter(help="Column of a power law y = a x^e + c.")] = None,
    outcome: Annotated[str | None, Parameter(help="Column of 0/1 outcomes; default success.")] = None,
    successes: Annotated[str | None, Parameter(help="Column of counted successes, with --trials.")] = None,
    trials: Annotated[str | None, Parameter(help="Column of counted trainings, with --successes.")] = None,
    seed: Annotated[str | None, Parameter(help="Column of seeds, where they are shared between widths.")] = None,
    level: Annotated[
        float | None, Parameter(help="Success probability that defines the threshold; default 0.5.")
    ] = None,
    where: Annotated[
        list[str] | None,
        Parameter(help="Only rows with name=value or name=value,value; may come several times.", negative=""),
    ] = None,
    robust: Annotated[bool, Parameter(help="Huber's loss for a power law, against outliers.", negative="")] = False,
    json: Annotated[bool, Parameter(help="Print one JSON object.", negative="")] = False,
) -> None:
    """Fit a law to anybody's data: a threshold m*(n) (--critical) or a power law (--metric). Trains nothing.

    data_sha256 in the JSON object is over a file's bytes, or over the rows of a results folder. null there: unbounded
    on that side, or not known; status and notes say which.
    """
    from analysis import fit as fits

    columns = fits.columns_of(
        over, robust=robust, level=level, critical=critical, metric=metric, outcome=outcome,
        successes=successes, trials=trials, seed=seed,
    )  # fmt: skip
    table = fits.select(fits.read(data), where or [])
    law, found = fits.fit(table, columns, 0.5 if level is None else level)
    tell(dumps(found, indent=1) if json else fits.in_words(law, columns))


@app.command
def diff(
    first: Annotated[str, Parameter(help="Results folder a.")],
    second: Annotated[str, Parameter(help="Results folder b.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Hold the laws of two sweeps against each other: exponents and thresholds, with the interval of their difference.

    The two are taken for independent: trainings that both have in common make the true interval shorter.
    """
    from analysis import difference
    from analysis.reading import DataError

    try:
        found = list(difference.differences(first, second))
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError):
        raise DataError("a laws.json there is not one of ours: write it anew with: widthlaw report FOLDER") from None
    if json:
        told = [{"law": law, "differences": list(map(asdict, apart)), "remarks": said} for law, apart, said in found]
        tell(dumps(told, indent=1))
    else:
        tell("\n\n".join(difference.in_words(*one) for one in found))


@app.command
def families(
    name: Annotated[str | None, Parameter(help="One of them, with its equations.")] = None, /, *, json: Json = False
) -> None:
    """List the model families: papers, axes, claims."""
    from infra.families import as_data, listed

    try:
        tell(dumps(as_data(name), indent=1, ensure_ascii=False) if json else listed(name))
    except ValueError as error:
        from analysis.reading import DataError

        raise DataError(str(error)) from None
