"""The main job, for real: a sweep on Ray with Parquet and MLflow, interrupted in every way, ends in identical rows."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.store import records

SWEEP = Path(__file__).parent.parent / "sweeps" / "width_vs_n.py"
GRID = ["--n", "48,64", "--d", "8", "--m", "8:32:octave", "--seeds", "40", "--budget", "300"]

pytestmark = pytest.mark.cluster


def command(out, *more):
    return [sys.executable, str(SWEEP), *GRID, "--out", str(out), *more]


def sweep(out, *more, timeout=240):
    return subprocess.run(command(out, *more), capture_output=True, text=True, timeout=timeout)


def content(out):
    table, foreign = records.read_rows(str(out))
    assert not foreign
    return records.digest(table.sort_by("cell_id"))


def wait_for(condition, what, seconds=120):
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
    assert "240 trainings" in text
    (figure,) = re.findall(r"^figure +(.*pdf)$", text, re.M)
    assert Path(figure).read_bytes().startswith(b"%PDF")
    assert Path(figure).with_suffix(".png").exists()
    assert f"widthlaw ui {out}" in text and (out / "mlflow.db").exists()
    assert not (out / "tune").exists(), "checkpoints stay out of the results"
    assert "240/240 trainings" in finished.stderr


def test_the_same_command_trains_nothing_and_more_seeds_only_the_new(undisturbed):
    out, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in shards(out)}
    again = sweep(out)
    assert "240 recorded" in again.stderr and "0 to train" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in shards(out)} == before
    longer = [*command(out), "--dry-run"]
    longer[longer.index("--m") + 1] = "8:64:octave"
    planned = subprocess.run(longer, capture_output=True, text=True, timeout=120)
    assert "320 asked for, 240 recorded, 80 to train" in planned.stdout


def test_a_second_process_on_the_same_folder_is_refused(undisturbed):
    out, _ = undisturbed
    with (out / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        second = sweep(out)
    assert second.returncode == 2
    assert len(second.stderr.strip().splitlines()) == 1 and "in use" in second.stderr


def test_killed_worker_then_ctrl_c_then_killed_driver_then_the_same_command(undisturbed, tmp_path):
    reference, _ = undisturbed
    out = tmp_path / "disturbed"

    def started():
        return subprocess.Popen(command(out), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    first = started()
    training = wait_for(lambda: workers(first), "a worker")
    training[0].send_signal(signal.SIGKILL)
    wait_for(lambda: workers(first), "a worker again")
    first.send_signal(signal.SIGINT)
    _, stderr = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "Traceback" not in stderr and "go on with: python sweeps/width_vs_n.py" in stderr

    third = started()
    wait_for(lambda: workers(third), "a worker")
    third.kill()
    third.communicate()

    last = sweep(out)
    assert last.returncode == 0, last.stderr
    assert content(out) == content(reference)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [1.0, 2.0, 3.5])  # importing, planning, starting Ray; a slow machine is earlier in it
def test_a_signal_before_the_training_is_one_line(tmp_path, after, number):
    endless = command(tmp_path / "early", "--step-size", "0.0001")
    endless[endless.index("--budget") + 1] = "1000000"
    process = subprocess.Popen(endless, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr and "go on with: python" in stderr.splitlines()[-1]


def test_a_full_disk_is_told_in_a_line_and_loses_nothing(undisturbed, tmp_path):
    """A results folder of 1.5 MB: the MLflow store fits, the rows or the figures do not."""
    reference, _ = undisturbed
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no permission to mount a small file system")
    try:
        full = sweep(disk / "du")
        assert full.returncode == 2, full.stderr
        assert "Traceback" not in full.stderr
        assert "No space left" in full.stderr and "go on with" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert sweep(disk / "du").returncode == 0
        assert content(disk / "du") == content(reference)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_sweep_outlives_its_workers_and_its_tracking_server(undisturbed, tmp_path):
    reference, _ = undisturbed
    out, port = tmp_path / "orphaned", "58231"
    arguments = [sys.executable, "-m", "mlflow", "server", "--port", port, "--workers", "1"]
    arguments += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path)]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: sync(reference, uri).returncode == 0, "the MLflow server")
        running = subprocess.Popen(
            command(out, "--tracking-uri", uri), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for worker in wait_for(lambda: workers(running), "a worker"):  # all that train now: both packs are taken up
            worker.send_signal(signal.SIGKILL)
    finally:
        for process in [*psutil.Process(server.pid).children(recursive=True), server]:
            process.kill()
        server.wait()
    stdout, stderr = running.communicate(timeout=240)
    assert running.returncode == 0, stderr
    assert "widthlaw sync" in stdout
    assert content(out) == content(reference)
    late = sync(out, f"sqlite:///{tmp_path}/late.db")
    assert "6 runs created" in late.stdout


def sync(out, uri):
    arguments = [str(Path(sys.executable).parent / "widthlaw"), "sync", str(out), "--tracking-uri", uri]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120)
