"""How far a sweep is, from its plans, rows and lock."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from training import seeds

import trainables
from infra.commands import cli, status
from infra.packing import pack
from infra.planning import plan
from infra.store import lock, records

FAMILY = "random_features"
PLAN = {
    "plan_id": "p", "sweep": "width_vs_n", "family": FAMILY, "numerics": trainables.load(FAMILY).VERSION,
    "axes": {"n": [4], "m": [3, 8], "d": [16]}, "seeds": 4, "critical": "m", "over": "n", "created": "2026-01-01",
}  # fmt: skip


def shard(out, m, minutes, count=4):
    """The trainings of one width, written so many minutes ago."""
    run = pack.start(FAMILY, seeds(trainables.load(FAMILY).Cell(m=m, n=4, d=16), count))
    while not pack.finished(run):
        pack.advance(run)
    when = {"finished": (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()}
    records.write_shard(out, [row | when for row in pack.rows(run)], plan.row_schema(FAMILY))


def test_what_is_done_to_go_and_running(tmp_path, capsys):
    out = str(tmp_path)
    records.write_plan(out, PLAN)
    (nothing,) = status.statuses(out)
    assert str(nothing) == "width_vs_n random_features m=3..8, 4 seeds: nothing recorded; 8 of 8 to go; not running"
    shard(out, 3, 8)
    shard(out, 8, 2, 3)
    (found,) = status.statuses(out)
    assert found.rows == {"fit": 3, "unfit": 4} and found.to_go == 1
    assert found.trainings_an_hour == pytest.approx(3 * 10, rel=0.01), (
        "three trainings in the six minutes after the first shard"
    )
    with lock.exclusive(out):
        (line,) = status.statuses(out)
        assert str(line).endswith("3 fit, 4 unfit; 1 of 8 to go; last row 2 min ago; 30 an hour; running")
    shard(out, 8, 0)
    assert "all done" in str(status.statuses(out)[0])
    assert cli.main(["status", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["to_go"] == 0


def test_failed_trainings_are_to_go_and_a_search_asks_for_no_number():
    failed = status.Status("s", {"fit": 3, "failed": 1}, 4, 90.0, None, False)
    assert failed.to_go == 1 and "1 of 4 to go; last row 90 s ago" in str(failed)
    search = status.Status("s", {"fit": 3}, None, 3 * 86400, None, None)
    assert search.to_go is None and str(search) == "s: 3 fit; last row 3 d ago; whether it runs cannot be told here"


def test_a_folder_without_a_sweep_is_one_line(tmp_path, capsys):
    assert cli.main(["status", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"widthlaw: {tmp_path} holds no sweep; is the path right?\n"
