"""A tracking server that hangs, refuses or is not there: told in one line, soon, without secrets."""

import http.server
import os
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from infra.catalogue import mlflow_calls, tracking
from infra.catalogue.tracking import TrackingError


def test_a_hung_server_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tries of CHECK_SECONDS and a pause between them, here of a second each."""
    assert 1 < mlflow_calls.CHECK_SECONDS <= 5
    monkeypatch.setattr(mlflow_calls, "CHECK_SECONDS", 1)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        began = time.monotonic()
        with pytest.raises(TrackingError, match=r"no answer in time") as caught:
            tracking.check(f"http://me:secret@127.0.0.1:{listening.getsockname()[1]}")
    assert time.monotonic() - began < 30, "MLflow alone waits 120 s, seven times"
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_credentials_are_named() -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        with pytest.raises(TrackingError, match=r"refuses \(401\): set MLFLOW_TRACKING_USERNAME"):
            tracking.check(f"http://127.0.0.1:{refusing.server_port}")
        refusing.shutdown()


@pytest.mark.parametrize(
    "uri", ["sqlite:////proc/nowhere/mlflow.db", "postgresql://me:secret@127.0.0.1:1/x", "file:///tmp"]
)
def test_a_store_that_cannot_be_opened_is_told_at_once(uri: str) -> None:
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        tracking.check(uri)
    assert time.monotonic() - began < 10
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["garbage", "folder", "store", "none"])
def test_what_is_no_store_is_told_with_the_way_on(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mlflow.db"
    if kind == "garbage":
        path.write_text("garbage" * 100)
    elif kind == "folder":
        path.mkdir()
    elif kind == "store":
        sqlite3.connect(path).close()
    if kind in ("garbage", "folder"):
        with pytest.raises(TrackingError, match=f"move {path} away, it is made anew from the rows"):
            tracking.look(f"sqlite:///{path}")
    else:
        tracking.look(f"sqlite:///{path}")


def test_the_environment_that_another_thread_copies_loses_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in mlflow_calls.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(mlflow_calls.TIMEOUT, "7")
    mlflow_calls.prepare()
    names = set(os.environ)
    with mlflow_calls.calls("sqlite:///x", 3):
        assert os.environ[mlflow_calls.TIMEOUT] == "3" and set(os.environ) == names
    assert os.environ[mlflow_calls.TIMEOUT] == "7" and set(os.environ) == names


def test_default_uri() -> None:
    assert tracking.default_uri("/a/b") == "sqlite:////a/b/mlflow.db"
    assert tracking.default_uri("s3://bucket/a") == f"sqlite:///{Path.cwd()}/mlflow.db"
