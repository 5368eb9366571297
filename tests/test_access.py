"""Who gets at a sweep: nothing listens but on loopback, and no secret is in what it writes, says or is called with."""

import ipaddress
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from test_object_store import KEYS, server, uri
from test_sweep import SWEEP, answers, wait_for, workers

pytestmark = pytest.mark.cluster

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "TOPSECRET-store", "AWS_SESSION_TOKEN": "TOPSECRET-session",
    "MLFLOW_TRACKING_PASSWORD": "TOPSECRET-mlflow", "MLFLOW_FLASK_SERVER_SECRET_KEY": "TOPSECRET-flask",
    "RAY_AUTH_TOKEN": "TOPSECRET" + 23 * "0", "HF_TOKEN": "TOPSECRET-other",
}  # fmt: skip
GRID = ["--n", "48", "--d", "8", "--m", "8,16", "--seeds", "40", "--step-size", "0.05", "--budget", "300"]
GRID += ["--to-the-end"]


def family(process):
    """A process and all below it that are there."""
    found = [psutil.Process(process.pid)]
    return found + found[0].children(recursive=True)


def listening(process):
    """(name, address) of every port that a process and those below it listen on, or receive datagrams at."""
    found = set()
    for one in family(process):
        try:
            for port in one.net_connections("inet"):
                if port.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and port.laddr and not port.raddr:
                    found.add((one.name(), port.laddr.ip))
        except psutil.NoSuchProcess:
            continue
    return found


def loopback(address):
    address = ipaddress.ip_address(address)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def command_lines(process):
    lines = []
    for one in family(process):
        try:
            lines.append(" ".join(one.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return lines


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A sweep into an S3 store, secrets all around it, and MLflow by an address with a password: its folder, Ray's,
    what it said, what it listened on, and its command lines."""
    folder, ray = tmp_path_factory.mktemp("access"), Path(tempfile.mkdtemp(prefix="wl", dir="/tmp"))  # sockets: short
    mlflow = [sys.executable, "-m", "mlflow", "server", "--port", "0", "--workers", "1", "--backend-store-uri"]
    mlflow += [f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts")]
    port = free_port()
    mlflow[mlflow.index("--port") + 1] = str(port)
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    tracker = subprocess.Popen(
        mlflow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | quiet, start_new_session=True
    )
    environment = os.environ | KEYS | SECRETS | {"RAY_TMPDIR": str(ray), "TMPDIR": str(ray), "RAY_AUTH_MODE": "token"}
    environment |= {"MLFLOW_TRACKING_URI": f"http://me:TOPSECRET-uri@127.0.0.1:{port}"}
    try:
        with server() as store, pytest.MonkeyPatch.context() as patch:
            for name, value in KEYS.items():
                patch.setenv(name, value)
            made = subprocess.run([sys.executable, "-c", MAKE, store], env=environment, capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
            wait_for(lambda: answers(port), "MLflow")
            command = [sys.executable, str(SWEEP), *GRID, "--out", uri(store, "du")]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
            )
            wait_for(lambda: workers(process), "a worker")
            ports, lines = listening(process), command_lines(process)
            stdout, stderr = process.communicate(timeout=400)
            assert process.returncode == 0, stderr
            copied = subprocess.run(
                [sys.executable, "-c", COPY, uri(store, "du"), str(folder / "copy")], env=environment
            )
            assert copied.returncode == 0
        yield folder, ray, stdout + stderr, ports, lines
    finally:
        for one in family(tracker):
            one.kill()
        tracker.wait()
        shutil.rmtree(ray, ignore_errors=True)


MAKE = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1] + '/bucket', method='PUT')).close()"
COPY = """
import sys
import pyarrow.fs as pafs
from infra.store import storage
filesystem, root = storage.locate(sys.argv[1])
pafs.copy_files(root, sys.argv[2], filesystem, pafs.LocalFileSystem())
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_sweep_on_its_own_ray_listens_on_loopback_alone(ran):
    ports = ran[3]
    assert {"gcs_server", "raylet"} <= {name for name, _ in ports}, "Ray was not there when it was looked at"
    assert not [one for one in ports if not loopback(one[1])]


def test_no_secret_is_in_what_a_sweep_writes_says_or_is_called_with(ran):
    folder, ray, said, _, lines = ran
    files = [path for top in (folder, ray) for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
    written = {path.relative_to(folder).parts[0] for path in files if folder in path.parents}
    assert {"copy", "server.db", "artifacts"} <= written and any(path.suffix == ".parquet" for path in files)
    assert any("raylet" in path.name for path in files), "Ray's own files are looked at too"
    found = {path.name: re.findall(rb".{,300}TOPSECRET.{,20}", path.read_bytes())[:1] for path in files}
    assert {name: text for name, text in found.items() if text} == {}
    assert "TOPSECRET" not in said
    assert len(lines) > 5 and not [line for line in lines if "TOPSECRET" in line]


COMMANDS = """
import sys
from infra.store import records
from infra.commands.cli import main
copy, folder = sys.argv[1:]
cell = records.read_rows(copy)[0]["cell_id"][0].as_py()
lines = f'''status {copy} --json
sync {copy} --tracking-uri sqlite:///{folder}/other.db
replay {copy} {cell}
audit {copy} --sample 2 --json
diff {copy} {copy}
fit {copy} --over n --critical m
export {copy} --paper {folder}/paper'''
for line in lines.splitlines():
    print(line.split()[0], main(line.split()))
"""


def test_no_secret_is_in_what_the_commands_write_and_say(ran):
    folder, environment = ran[0], os.environ | SECRETS | {"MLFLOW_TRACKING_URI": "http://me:TOPSECRET-uri@127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(folder / "copy"), str(folder)],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert re.findall(r"^(?:status|sync|replay|audit|diff|fit|export) (\S+)$", done.stdout, re.M) == ["0"] * 7, (
        done.stdout + done.stderr
    )
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"report.html", "other.db", "datapackage.json"} <= {path.name for path in files}
    assert not [path for path in files if b"TOPSECRET" in path.read_bytes()]
    assert "TOPSECRET" not in done.stdout + done.stderr
