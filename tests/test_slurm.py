"""The Slurm script on a Slurm of three hosts: on two nodes, taken away in the middle, on three nodes to the end."""

import re
import subprocess

import pytest
from hosts import ROOT, Hosts, find, run, skip_unless, wait
from test_clusters import LONG, check_rows, long, processes

pytestmark = pytest.mark.cluster

CONFIG = """
ClusterName=test
SlurmctldHost=head
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=60
MpiDefault=none
StateSaveLocation=/tmp/slurm/state
SlurmdSpoolDir=/tmp/slurm/slurmd
SlurmctldPidFile=/tmp/slurm/slurmctld.pid
SlurmdPidFile=/tmp/slurm/slurmd.pid
SlurmctldLogFile=/tmp/slurm/slurmctld.log
SlurmdLogFile=/tmp/slurm/slurmd.log
NodeName=head,w2 CPUs=1 State=UNKNOWN
NodeName=w1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""
MUNGE = "munged --force --key-file=/root/munge.key --seed-file=/tmp/munge/seed --log-file=/tmp/munge/log"


@pytest.fixture(scope="module")
def slurm(hosts: Hosts) -> Hosts:
    """slurmctld on the head; head and w2 take jobs with one CPU each, w1 with two."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if not find(name)]
    skip_unless(f"not installed: {', '.join(missing)} (make hosts)" if missing else "")
    (hosts.shared / "slurm").mkdir()
    (hosts.shared / "slurm/slurm.conf").write_text(CONFIG)
    (hosts.shared / "slurm/cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    for name in ("head", "w1", "w2"):
        (hosts[name].home / "munge.key").write_bytes(b"k" * 128)
        (hosts[name].home / "munge.key").chmod(0o600)
        # PYTHONPATH stands for a package that is installed on a shared file system
        settings = {"SLURM_CONF": hosts.shared / "slurm/slurm.conf", "PYTHONPATH": ROOT}
        settings |= {"WIDTHLAW_VENV": "/root/.widthlaw/venv", "OMP_NUM_THREADS": 1}
        exports = " ".join(f"{key}={value}" for key, value in settings.items())
        (hosts[name].home / ".bashrc").write_text(f"export {exports}\ncd {ROOT}\n")
        run(hosts[name], f"umask 022; mkdir -p /run/munge /tmp/munge /tmp/slurm; {MUNGE}")
    run(hosts["head"], "slurmctld")
    for name in ("head", "w1", "w2"):
        run(hosts[name], "slurmd")
    wait(lambda: run(hosts["head"], "sinfo -h -t idle -o %D", code=None).strip() == "3", "three idle nodes")
    return hosts


def job(slurm: Hosts, number: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S*)", run(slurm["head"], f"scontrol show job {number}")))


def left_behind(slurm: Hosts) -> list[str]:
    """Processes and files of Ray on the hosts."""
    found = []
    for name in ("head", "w1", "w2"):
        found += [text for process in processes(slurm[name]) if "ray" in (text := told(process))]
        found += run(slurm[name], "ls -d /tmp/*ray* /tmp/widthlaw* /dev/shm/* 2>/dev/null", code=None).split()
    return found


def told(process) -> str:
    try:
        return " ".join(process.cmdline())
    except Exception:
        return ""


def test_a_job_that_is_requeued_goes_on_and_leaves_nothing_behind(slurm):
    head, out = slurm["head"], slurm.shared / "du"
    command = f"sbatch --parsable --nodes=2 --output={slurm.shared}/job.log infra/clusters/slurm.sh"
    number = run(head, f"{command} sweeps/width_vs_n.py {' '.join(LONG)} --out {out}").strip()
    try:
        for name, cpus in (("head", "CPU,1"), ("w1", "CPU,2")):
            wait(lambda: any(cpus in told(one) for one in processes(slurm[name])), f"Ray with {cpus} on {name}")  # noqa: B023
        before = wait(lambda: {path: path.stat().st_mtime_ns for path in out.glob("rows/*.parquet")}, "rows")
        assert job(slurm, number)["NumNodes"] == "2"
        run(head, f"scontrol requeue {number}")
        wait(lambda: job(slurm, number)["JobState"] == "PENDING", "the job to wait")
        wait(lambda: not left_behind(slurm), f"Ray to end: {left_behind(slurm)}")
        run(head, f"scontrol update jobid={number} NumTasks=3 NumNodes=3-3 StartTime=now")
        wait(lambda: job(slurm, number)["JobState"] in ("COMPLETED", "FAILED", "CANCELLED"), "the job to end")
    except (AssertionError, subprocess.CalledProcessError) as error:
        raise AssertionError((slurm.shared / "job.log").read_text()[-4000:]) from error
    log, after = (slurm.shared / "job.log").read_text(), job(slurm, number)
    assert (after["JobState"], after["ExitCode"], after["Restarts"], after["NumNodes"]) == (
        "COMPLETED",
        "0:0",
        "1",
        "3",
    ), log
    assert "\ninterrupted; " in log, "the driver has ended by itself before Slurm kills it"
    assert re.search(r"40 trainings asked for, ([1-3]?5|[1-3]0) recorded", log), log
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was recorded is not written again"
    check_rows(out, "two_layer_relu", long())
    assert not left_behind(slurm)
