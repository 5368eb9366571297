"""Reaching MLflow: where it is, whether it answers, and calls that are quiet, bounded in time and fail in a line."""

import contextlib
import logging
import os
import re
import shlex
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.store.storage import first_line, secret

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported, which takes 2 s: see client

CHECK_SECONDS, CALL_SECONDS = 4, 15  # patience with one answer; one retry each. MLflow's own: 120 s and 7 retries
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
SETTINGS = {
    TIMEOUT: str(CALL_SECONDS),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class TrackingError(Exception):
    """MLflow cannot be reached or refuses; the message is one line, without credentials."""


def default_uri(out: str) -> str:
    """The MLflow store of a results folder: an SQLite file in it, or in the working directory when ``out`` is a URI."""
    return f"sqlite:///{(Path() if '://' in out else Path(out)).absolute() / 'mlflow.db'}"


def ui_command(tracking_uri: str, port: int = 5000) -> str:
    """The shell command that opens the catalogue: MLflow's pages over a database, a browser on a server."""
    uri = redacted(tracking_uri)
    if uri.startswith(("http://", "https://")):
        return shlex.join(["python", "-m", "webbrowser", uri])
    here = Path(sys.executable).parent
    program = ["mlflow"] if shutil.which("mlflow") == str(here / "mlflow") else [sys.executable, "-m", "mlflow"]
    command = [*program, "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", uri] if uri == tracking_uri else []  # else the environment has it: see cli.ui
    if folder := artifact_folder(tracking_uri):
        command += ["--artifacts-destination", str(folder)]
    return f"MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false {shlex.join(command)}"


def artifact_folder(tracking_uri: str) -> Path | None:
    """``mlartifacts`` beside an SQLite store; any other store decides by itself."""
    path = tracking_uri.removeprefix("sqlite:///")
    return None if path == tracking_uri else Path(path).absolute().parent / "mlartifacts"


def redacted(text: str) -> str:
    """``text`` with the user:password of every URI in it replaced, and the options of one that carry a secret."""
    text = re.sub(r"://[^\s'\"]+@", "://***@", text)
    return re.sub(r"(://[^\s'\"?]*\?)([^\s'\"]+)", lambda uri: uri[1] + ("***" if secret(uri[0]) else uri[2]), text)


def prepare() -> None:
    """Put the settings of ``calls`` into the environment, so that calls in a thread add none while Ray copies it."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def look(tracking_uri: str) -> None:
    """TrackingError where what is in the place of an SQLite store is none. Without MLflow: its import takes seconds."""
    path = Path(tracking_uri.removeprefix("sqlite:///"))
    if not artifact_folder(tracking_uri) or not path.exists():
        return
    try:
        if not path.is_file():
            raise sqlite3.OperationalError("it is no file")
        with contextlib.closing(sqlite3.connect(path, timeout=CHECK_SECONDS)) as store:
            store.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise TrackingError(
            f"MLflow at {redacted(tracking_uri)}: {error}; move {path} away, it is made anew from the rows"
        ) from None


def check(tracking_uri: str) -> None:
    """TrackingError, within about 10 s, when MLflow cannot be reached at ``tracking_uri`` or refuses. A store of
    SQLite is made where there is none; half made, as on a full disk, it would stay useless, and is deleted."""
    if not re.match(r"(https?|sqlite|postgresql|mysql|mssql|databricks)(\+\w+)?:", tracking_uri):
        where = redacted(tracking_uri)
        raise TrackingError(f"MLflow at {where}: not an address; write http://HOST:PORT or sqlite:///PATH/mlflow.db")
    store = Path(tracking_uri.removeprefix("sqlite:///")) if artifact_folder(tracking_uri) else None
    new = store is not None and not store.exists()
    try:
        with calls(tracking_uri, CHECK_SECONDS):
            if tracking_uri.startswith(("sqlite:", "postgresql", "mysql")):
                open_database(tracking_uri)
            client(tracking_uri).search_experiments(max_results=1)
    except TrackingError:
        if store and new:
            store.unlink(missing_ok=True)
        raise


def open_database(uri: str) -> None:
    """Connect once: MLflow itself would try for 100 s."""
    from sqlalchemy import create_engine

    patience = "timeout" if uri.startswith("sqlite") else "connect_timeout"
    if folder := artifact_folder(uri):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for path in (Path(uri.removeprefix("sqlite:///")), folder):
            if path.is_symlink():
                raise TrackingError(f"MLflow at {uri}: {path.name} is a link; give the place itself as --tracking-uri")
    engine = create_engine(uri, connect_args={patience: CHECK_SECONDS})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA schema_version" if uri.startswith("sqlite") else "SELECT 1")
    finally:
        engine.dispose()


def client(tracking_uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri)


@contextlib.contextmanager
def calls(tracking_uri: str, seconds: int) -> Iterator[None]:
    """MLflow calls inside are quiet, wait at most about twice ``seconds``, and fail with TrackingError."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    prepare()
    settings = SETTINGS | {TIMEOUT: str(seconds)}
    before = {name: os.environ[name] for name in settings}
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "sqlalchemy.pool", "urllib3.connectionpool")]
    levels = [logger.level for logger in loggers]
    try:
        os.environ.update(settings)
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)  # what goes wrong is raised, in one line
        yield
    except (MlflowException, RequestException, SQLAlchemyError, OSError, ModuleNotFoundError) as error:
        raise TrackingError(explained(tracking_uri, error)) from None
    finally:
        os.environ.update(before)  # none is taken out: another thread may be copying them
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def explained(tracking_uri: str, error: Exception) -> str:
    """One line: where, what is the matter, what to do about it."""
    where, text = f"MLflow at {redacted(tracking_uri)}", redacted(str(error))
    status = re.search(r"error code (\d{3})", text)
    code = int(status[1]) if status else getattr(error, "get_http_status_code", lambda: 0)()
    if code in (401, 403):
        matter = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)"
        if "host" in text.lower():
            matter = "start the server with --allowed-hosts naming the host in this address"
        return f"{where} refuses ({code}): {matter}"
    if "failed with exception" in text or "timed out" in text or "timeout" in text:
        cause = "no answer in time" if "timed out" in text or "timeout" in text else "cannot be reached"
        return f"{where}: {cause}; is the server running, and is the address right?"
    return f"{where}: {redacted(first_line(error))}"


def metric(key: str, value: float, step: int = 0) -> Any:
    from mlflow.entities import Metric

    return Metric(key, value, time.time_ns() // 10**6, step)


def parameters(values: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in values.items()]


def tags(values: Mapping[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(name, value) for name, value in values.items()]
