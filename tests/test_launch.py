"""The driver's answers to what cannot run: one clear line, exit code 2, and nothing is lost. No training here."""

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import planted_rows as planted
import pyarrow.parquet as pq
import pytest
from training import seeds

from infra import launch
from infra.catalogue import tracking
from infra.commands import cli
from infra.launch import Sweep
from infra.packing import pack
from infra.planning import plan
from infra.store import records, shards
from trainables import random_features

GRID = {"random_features": {"n": "4", "m": "3,4", "d": "3"}}
SWEEP = Sweep(name="width_vs_n", claim="a claim", critical="m", over="n", axes=GRID, seeds=2)


def answer(capsys, *arguments):
    """Exit code and the lines on standard error."""
    code = launch.main(SWEEP, arguments)
    return code, capsys.readouterr().err.strip().splitlines()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A results folder that holds all trainings of SWEEP and an empty store (which MLflow takes seconds to make)."""
    out = tmp_path_factory.mktemp("launch") / "du"
    for m in (3, 4):
        run = pack.start("random_features", seeds(random_features.Cell(m=m, n=4, d=3), 2))
        while not pack.finished(run):
            pack.advance(run)
        records.write_shard(str(out), pack.rows(run), plan.row_schema("random_features"))
    tracking.check(tracking.default_uri(str(out)))
    return out


@pytest.fixture
def recorded(template, tmp_path, monkeypatch):
    """A copy of it; its figures are none of the driver's answers."""
    planted.drawn_as(monkeypatch)
    return copytree(template, tmp_path / "du")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--family", "tow_layer"], ["unknown family 'tow_layer'", "two_layer_relu"]),
        (["--width", "3"], ["--width", "--m"]),
        (["--n", "64:16:octave"], ["--n", "descends"]),
        (["--m", "0,4"], ["--m", "at least 1"]),
        (["--m", "1:4:eighth-octave"], ["--m", "twice"]),
        (["--init_scale", "nan"], ["--init_scale", "not finite"]),
        (["--family", "two_layer_relu", "--n", "4", "--m", "4", "--step_size", "inf"], ["--step_size", "not finite"]),
        (["--seeds", "0"], ["--seeds"]),
        (["--level", "1"], ["--level"]),
        (["--address", "127.0.0.1:1"], ["--address 127.0.0.1:1", "ray status"]),
        (["--tracking-uri", "nonsense"], ["nonsense", "sqlite:///"]),
        (["--tracking-uri", "foo://bar"], ["foo://bar", "sqlite:///"]),
        (["--tracking-uri", "http://127.0.0.1:1"], ["MLflow at http://127.0.0.1:1", "running"]),
    ],
)
def test_one_line_that_names_what_is_wrong(capsys, tmp_path, arguments, named):
    code, lines = answer(capsys, "--out", str(tmp_path / "du"), *arguments)
    assert code == 2
    (line,) = lines
    assert all(part in line for part in named), line
    assert "Traceback" not in line


def test_an_out_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, lines = answer(capsys, "--out", str(tmp_path / "file" / "du"))
    assert code == 2
    assert len(lines) == 1
    assert "file" in lines[0]


def test_foreign_files_are_named_and_set_aside_and_the_rest_is_used(capsys, recorded):
    (recorded / "rows" / "notes.txt").write_text("not rows")
    (recorded / "rows" / "broken.parquet").write_bytes(next(recorded.glob("rows/*.parquet")).read_bytes()[:200])
    code, lines = answer(capsys, "--out", str(recorded))
    assert code == 0
    assert sum("set aside" in line for line in lines) == 2
    assert "4 recorded" in lines[-1]
    assert {path.name for path in recorded.glob("set-aside/*")} == {"notes.txt", "broken.parquet"}
    code, lines = answer(capsys, "--out", str(recorded))
    assert code == 0
    assert not any("set aside" in line for line in lines)


def test_a_shard_damaged_inside_is_found_before_its_rows_are_relied_on(capsys, recorded):
    path = next(recorded.glob("rows/*.parquet"))
    group = pq.ParquetFile(path).metadata.row_group(0)
    loss = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "loss")
    content = bytearray(path.read_bytes())
    first = loss.dictionary_page_offset or loss.data_page_offset
    content[first + loss.total_compressed_size - 3] ^= 0xFF  # in the data, which end the column
    path.write_bytes(content)
    code, lines = answer(capsys, "--out", str(recorded), "--dry-run")
    assert code == 0
    assert str(path) in lines[0]
    launch.main(SWEEP, ["--out", str(recorded), "--dry-run"])
    assert "4 asked for, 2 recorded, 2 to train" in capsys.readouterr().out


@pytest.mark.parametrize(("column", "why"), [("m", "is not int64"), ("success", "it has no column success")])
def test_a_shard_with_other_columns_is_set_aside(capsys, recorded, column, why):
    path = next(recorded.glob("rows/*.parquet"))
    table = pq.read_table(path)
    at = table.column_names.index(column)
    other = (
        table.remove_column(at) if column == "success" else table.set_column(at, column, table[column].cast("string"))
    )
    pq.write_table(other, path)
    _, lines = answer(capsys, "--out", str(recorded), "--dry-run")
    assert str(path) in lines[0] and why in lines[0]


def test_a_damaged_plan_is_named_before_anything_is_trained(capsys, recorded):
    (recorded / "plans").mkdir()
    (recorded / "plans" / "other.json").write_text("{}")
    code, lines = answer(capsys, "--out", str(recorded))
    assert code == 2
    assert len(lines) == 1
    assert "other.json is not a plan" in lines[0]


def test_a_folder_of_another_schema_is_refused_and_left_alone(capsys, recorded, monkeypatch):
    monkeypatch.setattr(shards, "SCHEMA_VERSION", "2")
    before = sorted(path.name for path in recorded.rglob("*"))
    code, lines = answer(capsys, "--out", str(recorded))
    assert code == 2
    assert len(lines) == 1
    assert "schema 1" in lines[0]
    assert sorted(path.name for path in recorded.rglob("*")) == before


def test_what_a_killed_driver_left_half_written_is_removed(capsys, recorded):
    leftover = recorded / "rows" / ".abc.parquet.12.34.tmp"
    leftover.write_bytes(b"half")
    assert answer(capsys, "--out", str(recorded))[0] == 0
    assert not leftover.exists()


def test_the_order_of_values_does_not_make_another_plan(capsys, recorded):
    assert answer(capsys, "--out", str(recorded), "--m", "3,4")[0] == 0
    assert answer(capsys, "--out", str(recorded), "--m", "4,3")[0] == 0
    assert len(list(recorded.glob("plans/*.json"))) == 1


def test_the_command_widthlaw_answers_in_one_line(tmp_path, capsys):
    widthlaw = str(Path(sys.executable).parent / "widthlaw")
    finished = subprocess.run([widthlaw, "status", str(tmp_path)], capture_output=True, text=True)
    assert finished.returncode == 2
    assert len(finished.stderr.strip().splitlines()) == 1, finished.stderr
    for arguments in (["sync", str(tmp_path)], ["snyc"]):
        assert cli.main(arguments) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_script_gets_the_law_as_json_and_nothing_beside_it(capsys, recorded):
    assert launch.main(SWEEP, ["--out", str(recorded), "--json", "--quiet"]) == 0
    told = capsys.readouterr()
    law = json.loads(told.out)
    assert law == json.loads((recorded / "laws.json").read_text())["plans"][0]
    assert told.err == ""
    assert launch.main(SWEEP, ["--out", str(recorded)]) == 0
    told = capsys.readouterr()
    assert "law   " in told.out and told.err == f"4 trainings asked for, 4 recorded in {recorded}, 0 to train\n"
    assert cli.main(["sync", str(recorded), "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)
    assert done["plan_id"] == law["plan_id"] and (done["created"], done["updated"], done["unchanged"]) == (0, 0, 2)
