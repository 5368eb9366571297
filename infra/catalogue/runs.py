"""What MLflow's experiment, parent run and child runs say of a plan and its grid points, and how they come to."""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.titles import naming_axes, plan_title
from infra.catalogue import grid_points as catalogue
from infra.catalogue import views
from infra.catalogue.mlflow_calls import TrackingError, artifact_folder, metric, parameters, redacted, tags
from infra.catalogue.new_runs import NewRun, write

PLAN, POINT, DIGEST = views.PLAN, views.POINT, "widthlaw.digest."
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # for the list of experiments; see views
LOSS = "median loss"  # the one metric with steps
PAGE = 200  # runs that MLflow gives at a time, with all their numbers
TAG_LENGTH = 8000  # MLflow's limit on a tag's value


def experiment(mlflow: Any, tracking_uri: str, plan: Mapping[str, Any]) -> str:
    """Id of the sweep's experiment, made or restored if need be, with the views of the plan."""
    found = mlflow.get_experiment_by_name(plan["sweep"])
    if found is None:
        folder, claim = artifact_folder(tracking_uri), views.plain(plan["claim"])[:TAG_LENGTH]
        number = mlflow.create_experiment(plan["sweep"], folder and folder.as_uri(), MODEL_TRAINING | {NOTE: claim})
        found = mlflow.get_experiment(number)
    if found.lifecycle_stage == "deleted":
        mlflow.restore_experiment(found.experiment_id)
    kind = {} if "mlflow.experimentKind" in found.tags else MODEL_TRAINING
    for name, value in (kind | views.shared_views(plan)).items():
        if found.tags.get(name) != value:
            mlflow.set_experiment_tag(found.experiment_id, name, value)
    return str(found.experiment_id)


def note(mlflow: Any, parent: Any, plan: Mapping[str, Any]) -> None:
    """Add the plan's links to the experiment's note, which is at the top of all its pages; what is there stays."""
    number, run_id = parent.info.experiment_id, parent.info.run_id
    text = mlflow.get_experiment(number).tags.get(NOTE, "")
    between = "\n" if "](#/" in text else " — " if text else ""  # the first plan's are in the line that is always seen
    whole = text + between + views.entry(plan, number, run_id)
    if run_id not in text and len(whole) <= TAG_LENGTH:
        mlflow.set_experiment_tag(number, NOTE, whole)


def check_place(tracking_uri: str, run: Any) -> None:
    """TrackingError where a store beside the rows, perhaps made by others, has its files put elsewhere."""
    folder, place = artifact_folder(tracking_uri), str(run.info.artifact_uri)
    if not folder:
        return
    parts = urlsplit(place)
    inside = parts.scheme == "file" and Path(unquote(parts.path)).resolve().is_relative_to(folder.resolve())
    if parts.netloc or not (inside or parts.scheme == "mlflow-artifacts"):  # the latter: where its server decides
        raise TrackingError(
            f"MLflow at {redacted(tracking_uri)} was made in another place, or leads out of its own by a link, and "
            f"writes to {place}: move {folder.parent}/mlflow.db away; widthlaw ui and widthlaw sync make it "
            "anew from the rows"
        )


@dataclass(frozen=True)
class Found:
    """What is kept of a grid point's run: MLflow's own objects, with all numbers, would take much memory."""

    run_id: str
    finished: bool
    tags: dict[str, str]
    counts: dict[str, float]  # trainings and outcomes


def find_runs(mlflow: Any, experiment_id: str, plan: Mapping[str, Any]) -> tuple[Any, dict[str, list[Found]]]:
    """The plan's own run, created if need be, and its points' runs by point_id."""
    parents: list[Any] = []
    children: dict[str, list[Found]] = {}
    token, query = None, f"tags.`{PLAN}` = '{plan['plan_id']}'"
    while token != "":
        page = mlflow.search_runs([experiment_id], query, max_results=PAGE, page_token=token)
        for run in page:
            if point := run.data.tags.get(POINT):
                counts = {name: run.data.metrics[name] for name in catalogue.COUNTS if name in run.data.metrics}
                found = Found(run.info.run_id, run.info.status == "FINISHED", dict(run.data.tags), counts)
                children.setdefault(point, []).append(found)
            else:
                parents.append(run)
        token = page.token or ""
    if parents:
        return min(parents, key=lambda run: (run.info.start_time, run.info.run_id)), children
    labels = {PLAN: plan["plan_id"]}
    return mlflow.create_run(experiment_id, tags=labels, run_name=plan_title(plan)), children


def child(
    parent: Any, plan: Mapping[str, Any], point: catalogue.Point, found: Sequence[Found]
) -> tuple[NewRun | None, list[Found]]:
    """The run to be written for a grid point, if none of those ``found`` says what its rows say, and those of them that
    go then. A run counts as written once it is FINISHED."""
    own = {PARENT: parent.info.run_id, views.ORDER: views.order(point.axes, naming_axes(plan))}
    own |= {PLAN: plan["plan_id"], POINT: point.point_id, views.VERDICT: views.verdict(point.counts, plan["level"])}
    good = [run for run in found if run.finished and run.tags.items() >= own.items() and run.counts == point.counts][:1]
    stale = [run for run in found if run not in good]
    if good:
        return None, stale
    noted = found[0].tags if found else {}  # what a reader noted on the old run stays
    labels = {name: value for name, value in noted.items() if name != "mlflow.runName"} | own
    numbers = catalogue.numbers(point)
    curve = [metric(LOSS, value, step) for step, value in catalogue.loss_curve(point.rows)]
    metrics = [metric(name, value) for name, value in numbers.items() if not (curve and name == LOSS)] + curve
    start, end = catalogue.time_span(point.rows)
    return NewRun(point.name, start, end, labels, metrics, point.axes), stale


def write_children(
    mlflow: Any,
    parent: Any,
    plan: Mapping[str, Any],
    points: Sequence[catalogue.Point],
    found: Mapping[str, Sequence[Found]],
) -> Counter[str]:
    """Make the runs of grid points say what their rows say: how many were ``created``, ``updated``, ``unchanged``."""
    made = [child(parent, plan, point, found.get(point.point_id, [])) for point in points]
    write(mlflow, parent.info.experiment_id, [new for new, _ in made if new])
    for _, stale in made:
        for run in stale:
            mlflow.delete_run(run.run_id)
    known = [bool(found.get(point.point_id)) for point in points]
    return Counter(
        "unchanged" if not new else "updated" if old else "created" for (new, _), old in zip(made, known, strict=True)
    )


def much_is_new(plan: Mapping[str, Any], point: catalogue.Point, found: Sequence[Found]) -> bool:
    """Whether a grid point has no run yet, all of its trainings, or twice as many as its run tells of: so that none is
    written anew for each pack while the sweep goes on."""
    told = max((run.counts.get("trainings", 0.0) for run in found), default=0.0)
    return bool(point.counts["trainings"] >= (2 * told if plan.get("adaptive") else min(2 * told, plan["seeds"])))


def write_parent(
    mlflow: Any,
    run: Any,
    plan: Mapping[str, Any],
    rows: pa.Table,
    law: Mapping[str, Any] | None,
    files: Mapping[str, bytes],
    final: bool,
) -> None:
    """Totals of the plan; at the end also its rows, law and files, each only where its digest changed."""
    parts: dict[str, dict[str, bytes]] = {}
    if final:
        parts = {"rows": {"rows.parquet": parquet(rows)} if len(rows) else {}, "files": dict(files)}
        parts["law"] = {"laws.json": json.dumps(law, indent=1, sort_keys=True).encode()} if law else {}
    text = views.description(plan, law, run.info.experiment_id, run.info.run_id, files)[:TAG_LENGTH]
    if law or DIGEST + "note" not in run.data.tags:  # a description without the law does not replace one with it
        parts["note"] = {NOTE: text.encode()}
    digests = {DIGEST + part: digest(named) for part, named in parts.items() if named}
    changed = {name: value for name, value in digests.items() if run.data.tags.get(name) != value}
    numbers = catalogue.totals(plan, rows)
    with tempfile.TemporaryDirectory() as folder:
        for part, named in parts.items():
            if part != "note" and DIGEST + part in changed:
                for name, content in named.items():
                    Path(folder, name).write_bytes(content)
                    mlflow.log_artifact(run.info.run_id, str(Path(folder, name)))
    if law and DIGEST + "law" in changed:
        numbers |= catalogue.law_numbers(law)
    if DIGEST + "note" in changed:
        changed[NOTE] = text
    metrics = [metric(name, value) for name, value in numbers.items() if run.data.metrics.get(name) != value]
    params = {} if run.data.params else catalogue.settings(plan)
    if metrics or params or changed:
        mlflow.log_batch(run.info.run_id, metrics, parameters(params), tags(changed))
    if final and run.info.status != "FINISHED":
        mlflow.set_terminated(run.info.run_id)


def parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def digest(named: Mapping[str, bytes]) -> str:
    return hashlib.sha256(b"".join(name.encode() + b"\0" + content for name, content in named.items())).hexdigest()
