"""Rows, plans, reports and checkpoints in an object store: a real S3 server on this machine, real sweeps on Ray."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from test_sweep import SWEEP
from training import seeds, trained

from infra import launch
from infra.commands import cli
from infra.launch import Sweep
from infra.planning import plan
from infra.planning.memory import Budget
from infra.progress import Progress
from infra.store import records, storage
from trainables import random_features, two_layer_relu

pytestmark = pytest.mark.cluster

GRID = ["--family", "random_features", "--n", "4,8", "--m", "2:16:half-octave", "--seeds", "6"]
KEYS = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret", "AWS_EC2_METADATA_DISABLED": "true"}


@contextlib.contextmanager
def server(**environment):
    """An S3 server on a port of its own; its address."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    try:
        found = (re.search(r"http://127.0.0.1:\d+", line) for line in process.stderr)
        address = next((one[0] for one in found if one), "no server")
        rest = threading.Thread(target=process.stderr.read)  # a full pipe would stop the server
        rest.start()
        yield address
    finally:
        process.kill()
        process.wait()
        rest.join()
        process.stderr.close()


@pytest.fixture(scope="module")
def store():
    """The address of a server with a bucket called ``bucket``; this process and its children have its keys."""
    with pytest.MonkeyPatch.context() as patch, server() as address:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
        yield address


def uri(store, name, bucket="bucket"):
    return f"s3://{bucket}/{name}?endpoint_override={store}"


def names(out):
    """Names and sizes of all objects of a results folder."""
    filesystem, root = storage.locate(out)
    found = filesystem.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
    return {info.path.removeprefix(f"{root}/"): info.mtime for info in found if info.type == pafs.FileType.File}


def put(out, name, content):
    filesystem, root = storage.locate(out)
    with filesystem.open_output_stream(f"{root}/{name}") as stream:
        stream.write(content)


def get(out, name):
    filesystem, root = storage.locate(out)
    with filesystem.open_input_file(f"{root}/{name}") as file:
        return file.read()


def write(out, cells):
    rows = list(trained("random_features", cells).values())
    return records.write_shard(out, rows, plan.row_schema("random_features"))


# --------------------------------------------------------------------------------------------------- without training


def test_what_is_set_aside_is_copied_and_deleted_and_what_others_have_mended_stays(store):
    out = uri(store, "aside")
    cells = seeds(random_features.Cell(m=4, n=4), 3)
    shard = write(out, cells)
    whole = get(out, f"rows/{shard}.parquet")
    for name in ("damaged.parquet", "notes", "mended.parquet", "gone.parquet", "sub/more.parquet"):
        put(out, f"rows/{name}", whole[:-50])
    table, foreign = records.read_rows(out)
    assert len(table) == 3
    assert sorted(Path(path).name for path, _ in foreign) == [
        "damaged.parquet", "gone.parquet", "mended.parquet", "notes", "sub"
    ]  # fmt: skip
    put(out, "rows/mended.parquet", whole)  # what other drivers do meanwhile
    storage.locate(out)[0].delete_file("bucket/aside/rows/gone.parquet")
    records.set_aside(out, foreign)
    assert set(names(out)) == {
        f"rows/{shard}.parquet", "rows/mended.parquet", "set-aside/damaged.parquet", "set-aside/notes",
        "set-aside/sub/more.parquet",
    }  # fmt: skip
    table, foreign = records.read_rows(out)
    assert (len(table), foreign, records.duplicates(table)) == (3, [], 3)


SMALL = Sweep(
    name="width_vs_n", claim="a claim", critical="m", over="n", seeds=1,
    axes={"random_features": {"n": "4", "m": "3", "d": "3"}},
)  # fmt: skip


def told(capsys, call, *arguments):
    """The one line that ``call`` ends with, its exit code being 2."""
    assert call(list(arguments)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in line
    return line


def test_a_store_that_does_not_do_as_asked_is_told_in_one_line(store, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the catalogue of a store is
    sweep = lambda arguments: launch.main(SMALL, arguments)  # noqa: E731
    line = told(capsys, sweep, "--out", uri(store, "du", "missing"))
    assert "missing/du" in line and "Bucket 'missing' not found" in line
    assert "holds no sweep" in told(capsys, cli.main, "report", uri(store, "nothing"))
    assert "holds no rows" in told(capsys, cli.main, "fit", uri(store, "nothing"), "--over", "n", "--critical", "m")
    line = told(capsys, sweep, "--out", uri("http://127.0.0.1:1", "du"))
    assert "127.0.0.1:1" in line or "127.0.0.1 port 1" in line
    with server(INITIAL_NO_AUTH_ACTION_COUNT="0") as strict:
        line = told(capsys, sweep, "--out", uri(strict, "du"))
        assert "AWS Error" in line and "a-secret" not in line


# ------------------------------------------------------------------------------------------------------ with training


def command(out, *more):
    return [sys.executable, str(SWEEP), *GRID, "--out", out, *more]


def expected():
    """The digest of the rows of GRID, trained here."""
    axes = {"n": [4, 8], "m": [2, 3, 4, 6, 8, 11, 16]}
    schema = plan.row_schema("random_features")
    jobs = plan.packs("random_features", plan.grid("random_features", axes, 6))
    cells = [plan.from_columns(job.family, job.columns, job.size) for job in jobs]
    rows = [row for pack in cells for row in trained("random_features", pack).values()]
    return records.digest(
        pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)
    )


@pytest.fixture(scope="module")
def swept(store, tmp_path_factory):
    """Two drivers at once on one empty folder of the store; its address and where they ran."""
    out, folders = uri(store, "du"), [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    both = [
        subprocess.Popen(command(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
        for folder in folders
    ]
    said = [process.communicate(timeout=400) for process in both]
    for process, (stdout, stderr) in zip(both, said, strict=True):
        assert process.returncode == 0, stderr
        assert "Traceback" not in stderr and "s3://bucket/du/report.html?endpoint_override=" in stdout
    return out, folders[0]


def test_two_drivers_at_once_record_every_training_once(swept):
    out, _ = swept
    table, foreign = records.read_rows(out)
    assert foreign == []
    assert records.digest(table) == expected()
    written = names(out)
    for kind, count in {"plans/": 1, "tables/": 1, "report.html": 1, "laws.json": 1, "figures/": 4}.items():
        assert sum(name.startswith(kind) for name in written) >= count, written
    assert not any(name.startswith(("tune", "set-aside")) for name in written)
    assert not any(name.endswith(".tmp") for name in written)


def test_again_a_damaged_object_is_set_aside_and_only_its_cells_are_trained(swept):
    out, folder = swept
    before = {name: time for name, time in names(out).items() if name.startswith("rows/")}
    damaged = min(before)
    put(out, damaged, b"PAR1 no longer")
    again = subprocess.run(command(out), capture_output=True, text=True, timeout=400, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "set aside" in again.stderr and damaged in again.stderr
    assert re.search(r"84 trainings asked for, (?!0 |84 )\d+ recorded in s3://", again.stderr)
    after = names(out)
    assert "set-aside/" + damaged.removeprefix("rows/") in after
    assert {name: after[name] for name in before if name != damaged} == {
        name: time for name, time in before.items() if name != damaged
    }, "the others were not trained again"
    assert records.digest(records.read_rows(out)[0]) == expected()


def test_reports_and_fits_read_the_store(swept, store, capsys):
    out, board = swept[0], uri(store, "pages/all.html")
    before = {name: time for name, time in names(out).items() if name.startswith("rows/")}
    assert cli.main(["report", out, "--page", board]) == 0
    assert capsys.readouterr().out.strip() == board
    assert "all.html" in names(uri(store, "pages"))
    assert cli.main(["report", out]) == 0
    assert capsys.readouterr().out.strip() == storage.beside(out, "report.html")
    assert cli.main(["fit", out, "--over", "n", "--critical", "m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data_sha256"] == records.digest(records.read_rows(out)[0])
    assert {name: time for name, time in names(out).items() if name.startswith("rows/")} == before


class Watched(Progress):
    """Kills a worker, once, when its checkpoint is in the store."""

    def __init__(self, out, *rest):
        super().__init__(*rest)
        self.out, self.killed = out, []

    def update(self, number, outcomes, seconds):
        super().update(number, outcomes, seconds)
        if not self.killed and "." in outcomes and any(name.endswith("pack-0.pt") for name in names(self.out)):
            assert not [
                name for name in names(self.out) if KEYS["AWS_SECRET_ACCESS_KEY"].encode() in get(self.out, name)
            ]
            self.killed = [worker.pid for worker in training()]
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)


def training():
    return [
        one
        for one in psutil.Process().children(recursive=True)
        if one.name().startswith(("ray::PackTrial", "ray::Resource"))
    ]


def test_a_worker_killed_in_the_middle_goes_on_from_the_checkpoint_in_the_store(store, monkeypatch):
    from infra import environment

    environment.prepare(None)
    from infra import engine

    cell = two_layer_relu.Cell(m=24, n=64, d=8, step_size=0.02, budget=1e4, max_steps=40_000)
    out, cells = uri(store, "killed"), seeds(cell, 60)
    (pack,) = plan.packs("two_layer_relu", cells)
    seen = []
    result = engine.Relay.on_trial_result
    monkeypatch.setattr(
        engine.Relay, "on_trial_result",
        lambda self, **told: (seen.append(told["result"]["seconds"]), result(self, **told)),
    )  # fmt: skip
    progress = Watched(out, [pack], Counter(), {"over": "n", "critical": "m"})
    with engine.connected(None):
        setup = engine.Setup(out, "killed", {"cpu": 1.0}, 1, True, True, Budget(2**34, 1))
        done = engine.train([pack], setup, progress)
    assert (done.lost, done.error) == (0, "")
    assert progress.killed, f"{seen}: the pack was too short to be killed in the middle"
    assert len(seen) > 2 and seen == sorted(seen), f"it began anew: {seen}"
    table, foreign = records.read_rows(out)
    assert foreign == [] and records.duplicates(table) == 0
    assert len(table) == 60 and plan.unrecorded("two_layer_relu", cells, set(table["cell_id"].to_pylist())) == []
    assert not any(name.startswith("tune") for name in names(out))
