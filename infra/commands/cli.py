"""The command ``widthlaw``: what one does with results that are there. Sweeps are run as ``python sweeps/NAME.py``."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from json import dumps
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from analysis.paper import LICENCE
from infra.store.storage import beside, printable, tell

# Each command imports what it needs: all together takes seconds, for which a status should not wait.

app = App(
    name="widthlaw", help="Laws of training neural networks, from recorded trainings.", version=version("widthlaw")
)

Results = Annotated[str, Parameter(help="Results folder: a path, or a URI such as s3://bucket/du.")]

Json = Annotated[bool, Parameter(help="Print JSON.", negative="")]

Uri = Annotated[str | None, Parameter(help="MLflow; default MLFLOW_TRACKING_URI, else RESULTS/mlflow.db.")]


@app.command
def sync(results: Results, *, tracking_uri: Uri = None, json: Json = False) -> None:
    """Bring MLflow up to date with the rows of RESULTS: runs, laws, figures."""
    from infra.store import records

    plans = records.plans_to_report(results)  # before MLflow is imported, which takes seconds
    from infra import options
    from infra.catalogue import tracking
    from infra.commands.sync import brought

    done = []
    for one in brought(results, options.tracking_uri(tracking_uri, tracking.default_uri(results)), plans):
        done.append(asdict(one))
        if not json:
            tell(str(one))
    if json:
        tell(dumps(done, indent=1))


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


@app.command
def ui(
    results: Results, *, tracking_uri: Uri = None, port: Annotated[int, Parameter(help="Local port.")] = 5000
) -> int:
    """Open MLflow's pages on RESULTS: serves until Ctrl-C, prints where each sweep's run, table and charts are.

    MLflow opens in its view for LLM applications where these addresses are not used.
    """
    from infra import options
    from infra.catalogue import tracking
    from infra.commands import ui as uis

    return uis.serve(results, options.tracking_uri(tracking_uri, tracking.default_uri(results)), port)


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
def status(
    results: Results, *, json: Annotated[bool, Parameter(help="Print one JSON array.", negative="")] = False
) -> None:
    """How far each sweep of RESULTS is: outcomes, trainings to go, when the last row came, whether it runs now."""
    from infra.commands import status as statuses

    found = statuses.statuses(results)
    if json:
        tell(dumps([asdict(one) | {"to_go": one.to_go} for one in found], indent=1))
    else:
        tell("\n".join(map(printable, found)))


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
def replay(
    results: Results,
    cell: Annotated[str, Parameter(help="A cell's address (cell_id), or the beginning of it.")],
    /,
    *,
    json: Json = False,
) -> int:
    """Train one recorded cell again, alone: is its row reproduced bit for bit, and if not, how far off is it?

    Exit code 1 if the row is not reproduced.
    """
    from infra.commands import replay

    found = replay.replay(results, cell)
    tell(dumps(found.as_json()) if json else printable(found))
    return int(not found.same)


@app.command
def audit(
    results: Results,
    *,
    sample: Annotated[int, Parameter(help="Cells to train again. [trainings]")] = 50,
    seed: Annotated[int, Parameter(help="Of the choice of cells.")] = 0,
    json: Annotated[bool, Parameter(help="Print one JSON object a cell, one a line.", negative="")] = False,
) -> int:
    """Train a random sample of the recorded cells again, each alone, and hold the rows against it.

    Exit code 1 if a row is not reproduced.
    """
    from analysis.reading import DataError
    from infra.commands import replay

    if sample < 1:
        raise DataError(f"--sample: {sample} is too small; it must be at least 1")
    found = []
    for one in replay.audit(results, sample, seed):
        found.append(one)
        tell(dumps(one.as_json()) if json else printable(one))
    same = sum(one.same for one in found)
    if not json:
        tell(f"{same} of {len(found)} rows reproduced bit for bit")
    return int(same < len(found))


@app.command
def doctor(
    *,
    address: Annotated[
        str | None, Parameter(help="Ray cluster, 'auto' or host:port; RAY_ADDRESS also counts; none: this machine.")
    ] = None,
    out: Annotated[
        str, Parameter(help="Results folder that the nodes are to write to; it is made, and so is its MLflow store.")
    ] = "",
    tracking_uri: Uri = None,
    json: Annotated[
        bool, Parameter(help="Print one JSON object a line: well (true, false), text.", negative="")
    ] = False,
) -> int:
    """Look at a cluster before a sweep: versions and code on every node, GPUs, storage, clocks, MLflow, open doors.

    One line for what is well or what to mend; exit code 1 if there is something to mend.
    """
    from infra import environment, options
    from infra.catalogue import tracking

    address = environment.prepare(address)
    environment.reachable(address)
    from infra.commands import doctor  # imports Ray, which reads its environment then

    uri, well = options.tracking_uri(tracking_uri, tracking.default_uri(out) if out and "://" not in out else ""), True
    for finding in doctor.examine(address, out, uri):
        tell(dumps(asdict(finding)) if json else str(finding))
        well = well and finding.well
    return 0 if well else 1


@app.command
def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Of which shell.")], /) -> None:
    """Print a shell's completion of this command's words, to be kept in a file that the shell reads as it starts (a
    start of this command takes seconds): widthlaw completion bash > ~/.local/share/bash-completion/completions/widthlaw
    """
    tell(app.generate_completion(shell=shell))


def refusals() -> tuple[type[Exception], ...]:
    """Errors that one clear line tells."""
    from analysis.reading import DataError
    from infra.catalogue.mlflow_calls import TrackingError
    from infra.environment import EngineError
    from infra.planning.axes import PlanError
    from infra.store.storage import ResultsError

    return CycloptsError, DataError, EngineError, PlanError, ResultsError, TrackingError


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 where ``doctor`` finds something to mend, 2 after one clear line."""
    try:
        return app(argv, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except refusals() as error:  # evaluated where there is one
        print(f"widthlaw: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
