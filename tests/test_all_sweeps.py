"""All sweeps in one process: one line for what cannot run, one Ray, and the same board after an interruption."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra import all_sweeps, launch
from infra.launch import Sweep

GRID = {"random_features": {"n": "4,6,8", "m": "2:12:+1", "d": "3"}}
SWEEPS = [
    Sweep(name=name, claim="How wide?", critical="m", over="n", axes=GRID, seeds=4) for name in ("first", "second")
]
SLOW = {"two_layer_relu": {"n": "64", "d": "8", "m": "8:32:octave", "budget": "3000"}}
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_all_sweeps import SLOW, SWEEPS, Sweep, launch
slow = Sweep(name="slow", claim="How wide?", critical="m", over="n", axes=SLOW, seeds=100)
sys.exit(launch.every([*SWEEPS, *([slow] if "{slow}" else [])], ["--out", {out!r}]))
"""


def started(out, slow=""):
    code = SCRIPT.format(tests=str(Path(__file__).parent), out=str(out), slow=slow)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_help_says_what_it_does(capsys):
    assert launch.every(SWEEPS, ["--help"]) == 0
    assert "verdicts.html" in capsys.readouterr().out


def test_what_cannot_run_is_one_line(capsys, tmp_path):
    for arguments, named in (
        (["--family", "two_layer_relu"], "sweeps/NAME.py"),
        (["--address", "127.0.0.1:1"], "ray status"),
        (["--dry-run", "--seeds", "0"], "--seeds"),
        (["--m", "0,4"], "--m"),
        (["--nonsense"], "--nonsense"),
    ):
        assert launch.every(SWEEPS, ["--out", str(tmp_path / "claims"), *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert named in line
    assert not (tmp_path / "claims").exists()


def test_a_dry_run_of_all_trains_and_writes_nothing(capsys, tmp_path):
    assert launch.every(SWEEPS, [f"--out={tmp_path / 'claims'}", "--dry-run", "--seeds", "2"]) == 0
    text = capsys.readouterr().out
    assert "1 of 2" in text and "2 of 2" in text and text.count("66 asked for") == 2
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_taken_out_of_what_every_sweep_gets():
    assert all_sweeps.without(["--out", "a", "--seeds", "3"], "out") == ["--seeds", "3"]
    assert all_sweeps.without(["--seeds=3", "--out=a", "--dry-run"], "out") == ["--seeds=3", "--dry-run"]


@pytest.mark.cluster
def test_interrupted_in_the_last_sweep_and_taken_up_again(tmp_path):
    out = tmp_path / "claims"
    process = started(out, slow="slow")
    for line in process.stdout:
        if line.startswith("3 of 3"):
            break
    for line in process.stderr:
        if "300 to train" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=400)
    assert process.returncode == 130
    assert "go on with: python -m sweeps" in told
    rows = {path: path.stat().st_mtime_ns for path in out.glob("*/rows/*.parquet")}
    assert {path.parent.parent.name for path in rows} >= {"first-random_features", "second-random_features"}
    finished = started(out)
    text, errors = finished.communicate(timeout=400)
    assert finished.returncode == 0, errors
    assert errors.count("132 recorded") == 2
    assert f"verdicts   {out}/verdicts.html" in text
    assert "random_features" in (out / "verdicts.html").read_text() and (out / "mlflow.db").exists()
    assert all(path.stat().st_mtime_ns == when for path, when in rows.items())
