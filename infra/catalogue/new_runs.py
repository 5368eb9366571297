"""Finished runs, written many at a time. Into a database in one transaction, by MLflow's own tables, since its calls
take some thirty statements a run; to a server by those calls.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.catalogue.mlflow_calls import parameters

AT_ONCE = 100  # runs: some 0.2 s in which nobody else can write


@dataclass(frozen=True)
class NewRun:
    """A run to be: its times in ms since 1970; of a metric with several steps the last is its value."""

    name: str
    start: int
    end: int
    tags: Mapping[str, str]
    metrics: Sequence[Any]
    parameters: Mapping[str, Any]


def at_once(mlflow: Any) -> int:
    """How many runs are best given to ``write`` at a time."""
    return AT_ONCE if database(mlflow) else 1


def write(mlflow: Any, experiment_id: str, runs: Sequence[NewRun]) -> None:
    """Create the runs, finished. Broken off, a database has none of them, a server one that is unfinished."""
    if store := database(mlflow):
        place = str(mlflow.get_experiment(experiment_id).artifact_location)
        with store.ManagedSessionMaker(read_only=False) as session:
            for table, rows in tables(experiment_id, place, runs).items():
                if rows:
                    session.execute(table.insert(), rows)
        return
    for run in runs:
        made = mlflow.create_run(experiment_id, run.start, dict(run.tags), run.name)
        mlflow.log_batch(made.info.run_id, run.metrics, parameters(run.parameters))
        mlflow.set_terminated(made.info.run_id, "FINISHED", run.end)


def database(mlflow: Any) -> Any | None:
    """MLflow's store, where it is a database that this process opens itself."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = mlflow._tracking_client.store
    return store if isinstance(store, SqlAlchemyStore) else None


def tables(experiment_id: str, place: str, runs: Sequence[NewRun]) -> dict[Any, list[dict[str, Any]]]:
    """Rows by table, in the order in which they refer to each other; what MLflow's own ``create_run``, ``log_batch``
    and ``set_terminated`` write (mlflow/store/tracking/sqlalchemy_store.py)."""
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.utils.uri import append_to_uri_path

    found: dict[Any, list[dict[str, Any]]] = {
        model.__table__: [] for model in (SqlRun, SqlTag, SqlParam, SqlMetric, SqlLatestMetric)
    }
    heads, tags, params, metrics, latest = found.values()
    for run in runs:
        of: dict[str, Any] = {"run_uuid": uuid.uuid4().hex}
        folder = append_to_uri_path(place, of["run_uuid"], SqlAlchemyStore.ARTIFACTS_FOLDER_NAME)
        heads.append(of | {
            "name": run.name, "artifact_uri": folder, "experiment_id": int(experiment_id), "source_type": "UNKNOWN",
            "source_name": "", "entry_point_name": "", "source_version": "", "user_id": "unknown",
            "status": "FINISHED", "start_time": run.start, "end_time": run.end, "lifecycle_stage": "active",
        })  # fmt: skip
        named = {"mlflow.runName": run.name, **run.tags}
        tags += [of | {"key": key, "value": value} for key, value in named.items()]
        params += [of | {"key": key, "value": str(value)} for key, value in run.parameters.items()]
        told = [of | {"key": one.key, "value": one.value, "timestamp": one.timestamp, "step": one.step, "is_nan": False}
                for one in run.metrics]  # fmt: skip
        metrics += told
        latest += {one["key"]: one for one in sorted(told, key=lambda one: one["step"])}.values()
    return found
