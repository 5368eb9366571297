"""MLflow's pages on a results folder: its server, which ends with us, and the addresses once it answers."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

from analysis.titles import plan_titles
from infra.catalogue import tracking, views
from infra.catalogue.tracking import TrackingError
from infra.store import records, storage

PATIENCE = 120  # seconds that a server may take to answer
REMARK = (
    "Opened without these addresses, MLflow shows its view for LLM applications; its tables are under Model training."
)


def serve(results: str, uri: str, port: int) -> int:
    """Print the addresses of each sweep's run, table and charts and serve until a signal; the server's exit code.

    A store that knows nothing of the sweeps is made from the rows before. TrackingError when the port is taken, or when
    the store cannot be read or was made in another place.
    """
    plans = records.plans_to_report(results)
    if not uri.startswith("http"):
        free(port)
        if tracking.lacking(results, uri):
            from infra.commands.sync import brought  # imports what draws figures

            storage.tell(f"MLflow knows nothing of {results} yet: bringing it up to date from the rows")
            for one in brought(results, uri, plans):
                storage.tell(str(one))
    found = {name: tracking.pages(uri, plan, port) for name, plan in zip(plan_titles(plans), plans, strict=True)}
    command = ["/bin/sh", "-c", f"exec env {tracking.ui_command(uri, port)}"]
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": uri}
    log = tempfile.TemporaryFile()  # noqa: SIM115  what the server says, of use where it fails
    server = subprocess.Popen(command, env=environment, start_new_session=True, stdout=log, stderr=log)

    def end(*_: object) -> None:
        os.killpg(server.pid, signal.SIGTERM)  # the server and the workers that it started

    before = {which: signal.signal(which, end) for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        if uri.startswith("http") or answers(server, port):
            tell(found, max(views.points(plan) for plan in plans))
        code = server.wait()
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
        if server.poll() is None:
            end()
    well = code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    if not well:
        log.seek(0)
        print(log.read().decode(errors="replace")[-2000:], file=sys.stderr)
    return 0 if well else 2


def free(port: int) -> None:
    """TrackingError unless a server can listen on this port of loopback."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        why = "is taken" if isinstance(error, OSError) else "is none: 1 to 65535"
        raise TrackingError(f"--port {port} {why}; give another") from None


def answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; False when it ends before."""
    began = time.monotonic()
    while server.poll() is None and time.monotonic() - began < PATIENCE:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return server.poll() is None


def tell(found: Mapping[str, Mapping[str, str]], most: int) -> None:
    """The addresses, a sweep after the other. ``most``: grid points of the largest."""
    lines: Sequence[str] = [
        line for name, pages in found.items() for line in (name, *(f"  {key:6} {page}" for key, page in pages.items()))
    ]
    remarks = [REMARK]
    if most > views.LOADED:
        remarks.append(f"Its charts draw {views.LOADED} of {most:,} grid points; report.html has all.")
    print(*lines, *remarks, sep="\n", flush=True)
