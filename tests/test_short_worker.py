"""On Ray: a worker that runs out of memory, and one that is killed, as the kernel and Ray do for want of memory."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from test_sweep import wait_for, workers
from training import seeds, trained

from infra.store import records
from trainables import identity_mapping

pytestmark = pytest.mark.cluster

CELL = identity_mapping.Cell(d=160, teacher_norm=0.5, step_size=0.01, tolerance=1e-12, budget=200)
SWEEP = ["teacher_norm.py", "--d", "160", "--teacher_norm", "0.5", "--start", "zero", "--step_size", "0.01"]
MORE = ["--tolerance", "1e-12", "--budget", "200", "--seeds", "8", "--init_scale", str(CELL.init_scale)]


def test_a_worker_out_of_memory_and_one_killed_leave_the_rows_of_an_undisturbed_sweep(tmp_path):
    script = Path(__file__).parent.parent / "sweeps" / SWEEP[0]
    command = [sys.executable, str(script), *SWEEP[1:], *MORE, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(workers(process)) == 2, "two workers that train")
    short, killed = (psutil.Process(worker.pid) for worker in workers(process))
    more = int(5.5 * 160**3 * 8)  # the last measurement takes two such cubes a training: eight in a pack of four
    short.rlimit(psutil.RLIMIT_AS, (short.memory_info().vms + more, -1))
    killed.send_signal(signal.SIGKILL)
    _, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    said = sorted(line for line in stderr.splitlines() if re.match(r"pack \d: ", line))
    assert sum("its worker was lost" in line for line in said) == 1, stderr
    assert sum("too little memory" in line and "could not be had" in line for line in said) == 1, stderr
    rows = records.read_rows(str(tmp_path / "out"))[0].to_pylist()
    reference = trained("identity_mapping", seeds(CELL, 8))
    assert {row["cell_id"]: (row["outcome"], row["loss"], row["distance_permuted"]) for row in rows} == {
        key: (row["outcome"], row["loss"], row["distance_permuted"]) for key, row in reference.items()
    }
