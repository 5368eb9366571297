"""``widthlaw ui`` where MLflow's store is gone: it is made anew from the rows, and served."""

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import planted_rows as planted

from infra.catalogue import tracking


def test_a_store_that_was_moved_away_is_made_anew_and_served(tmp_path: Path) -> None:
    axes = {"m": [4, 8, 16], "n": [8], "d": [8]}
    planted.plan(tmp_path, axes)
    planted.write(tmp_path, planted.rows(axes))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "infra.commands.cli", "ui", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            lines = iter(server.stdout.readline, "")  # type: ignore[union-attr]
            assert "knows nothing" in next(lines) and "3 runs created, 0 updated, 0 unchanged" in next(lines)
            plan = next(line for line in lines if "/runs/" in line)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
                assert page.read().startswith(b"<!doctype html>")
            runs = tracking.client(f"http://127.0.0.1:{port}").search_runs(["1"])
            assert len(runs) == 4 and sum(run.info.run_id in plan for run in runs) == 1
        finally:
            server.send_signal(signal.SIGTERM)
    assert server.returncode == 0
