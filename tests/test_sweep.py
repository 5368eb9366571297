"""The main job, for real: a sweep on Ray with Parquet and MLflow, interrupted in every way, ends in identical rows."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from infra.catalogue import tracking
from infra.launch import main
from infra.store import records
from sweeps import width_vs_n

SWEEP = Path(__file__).parent.parent / "sweeps" / "width_vs_n.py"
GRID = ["--n", "48,64", "--d", "8", "--m", "8:32:octave", "--seeds", "10", "--budget", "300"]
GRID += ["--to-the-end"]

PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

pytestmark = pytest.mark.cluster


def arguments(out, *more):
    return [*GRID, "--out", str(out), *more]


def command(out, *more):
    return [sys.executable, str(SWEEP), *arguments(out, *more)]


def sweep(out, *more, timeout=400):
    return subprocess.run(command(out, *more), capture_output=True, text=True, timeout=timeout)


def content(out):
    table, foreign = records.read_rows(str(out))
    assert not foreign
    return records.digest(table.sort_by("cell_id"))


def wait_for(condition, what, seconds=300):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")


def shards(out):
    return list(Path(out, "rows").glob("*.parquet"))


def workers(process):
    """The processes that train packs for this driver."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "ResourceTrainable.train" in child.name():  # Ray names a worker after the method that it runs
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweeps") / "undisturbed"
    finished = sweep(out)
    assert finished.returncode == 0, finished.stderr
    return out, finished


def test_ends_with_the_law_the_theorem_and_where_everything_lies(undisturbed):
    out, finished = undisturbed
    text = finished.stdout
    assert re.search(r"n\s+m\*\s+95% interval\s+trainings", text)
    assert "theorem" in text and "exponent 6" in text and "verdict" in text
    assert "60 trainings" in text
    (figure,) = re.findall(r"^figure +(.*pdf)$", text, re.M)
    assert Path(figure).read_bytes().startswith(b"%PDF")
    assert Path(figure).with_suffix(".png").exists()
    assert f"widthlaw ui {out}" in text and (out / "mlflow.db").exists()
    assert not (out / "tune").exists(), "checkpoints stay out of the results"
    assert "60/60 trainings" in finished.stderr


def test_the_same_command_trains_nothing_and_more_widths_only_the_new(undisturbed, capsys):
    out, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in shards(out)}
    assert main(width_vs_n.SWEEP, arguments(out)) == 0
    told = capsys.readouterr().err
    assert "60 recorded" in told and "0 to train" in told
    assert {path: path.stat().st_mtime_ns for path in shards(out)} == before
    longer = [*arguments(out), "--dry-run"]
    longer[longer.index("--m") + 1] = "8:64:octave"
    assert main(width_vs_n.SWEEP, longer) == 0
    assert "80 asked for, 60 recorded, 20 to train" in capsys.readouterr().out


def test_a_second_process_on_the_same_folder_is_refused(undisturbed, capsys):
    out, _ = undisturbed
    first = subprocess.Popen(["flock", "--exclusive", str(out / ".lock"), "sh", "-c", "echo; read wait"], **PIPES)
    try:
        first.stdout.readline()
        assert main(width_vs_n.SWEEP, arguments(out)) == 2
    finally:
        first.communicate()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "in use" in line


def test_killed_worker_ctrl_c_killed_driver_then_without_workers_and_tracking_server_it_ends(undisturbed, tmp_path):
    """The same command goes on each time. In its last run its workers and the MLflow server are killed."""
    reference, _ = undisturbed
    out = tmp_path / "disturbed"
    with server(tmp_path) as (uri, kill):

        def started():
            return subprocess.Popen(command(out, "--tracking-uri", uri), **PIPES)

        first = started()
        training = wait_for(lambda: workers(first), "a worker")
        training[0].send_signal(signal.SIGKILL)
        wait_for(lambda: workers(first), "a worker again")
        first.send_signal(signal.SIGINT)
        _, stderr = first.communicate(timeout=120)
        assert first.returncode == 130
        assert "Traceback" not in stderr and "go on with: python sweeps/width_vs_n.py" in stderr

        second = started()
        wait_for(lambda: workers(second), "a worker")
        second.kill()
        second.communicate()

        last = started()
        for worker in wait_for(lambda: workers(last), "a worker"):  # all that train now: both packs are taken up
            worker.send_signal(signal.SIGKILL)
        kill()
    stdout, stderr = last.communicate(timeout=400)
    assert last.returncode == 0, stderr
    assert "widthlaw sync" in stdout
    assert content(out) == content(reference)
    late = tracking.sync(str(out), f"sqlite:///{tmp_path}/late.db")
    assert late.created == 6


@contextmanager
def server(folder):
    """An MLflow server that answers: its address, and what kills it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    call = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", "--backend-store-uri"]
    call += [f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder)]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)

    def kill():
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            one.kill()
        process.wait()

    try:
        wait_for(lambda: answers(port), "the MLflow server")
        yield f"http://127.0.0.1:{port}", kill
    finally:
        if process.poll() is None:
            kill()


def answers(port):
    """Whether there is a healthy MLflow server at a port of this machine."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("after", "number"), [(1.0, signal.SIGINT), (4.0, signal.SIGTERM), (8.0, signal.SIGTERM)]
)  # importing, planning, starting Ray; a slow machine is earlier in it
def test_a_signal_before_the_training_is_one_line(tmp_path, after, number):
    endless = command(tmp_path / "early", "--step-size", "0.0001")
    endless[endless.index("--budget") + 1] = "1000000"
    process = subprocess.Popen(endless, **PIPES)
    time.sleep(after)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr and "go on with: python" in stderr.splitlines()[-1]


def test_a_full_disk_is_told_in_a_line_and_loses_nothing(undisturbed, tmp_path, capsys):
    """It is full from when the training starts: the MLflow store fits, the rows of the one pack that lacks do not."""
    reference, _ = undisturbed
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no permission to mount a small file system")
    try:
        out = disk / "du"
        shutil.copytree(reference / "rows", out / "rows")
        shards(out)[0].unlink()
        tracking.check(tracking.default_uri(str(out)))
        full = subprocess.Popen(command(out), **PIPES)
        told = next(line for line in full.stderr if "to train" in line)
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        stderr = full.communicate(timeout=400)[1]
        assert "50 recorded" in told and full.returncode == 2, stderr
        assert "Traceback" not in stderr
        assert "No space left" in stderr and "go on with" in stderr
        assert len(shards(out)) == 5, "the rows did not fit"
        (disk / "filler").unlink()
        assert main(width_vs_n.SWEEP, arguments(out, "--dry-run")) == 0
        assert "60 asked for, 50 recorded, 10 to train" in capsys.readouterr().out, "and it goes on as it says"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
