"""Commands about trainings: how far they are, MLflow's view of them, whether they come out the same again, and the
cluster they are to run on."""

from dataclasses import asdict
from json import dumps
from typing import Annotated

from cyclopts import Parameter

from infra.commands.app import Json, Results, Uri, app
from infra.store.storage import printable, tell

# Each command imports what it needs: all together takes seconds, for which a status should not wait.


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

    Exit code 1 if a row is not reproduced, or cannot be trained.
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
        left = sum(bool(one.untrained) for one in found)
        tell(f"{same} of {len(found)} rows reproduced bit for bit" + (f", {left} could not be trained" if left else ""))
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
