"""Recorded trainings done again: the same bits, and what is not the same is named with its size."""

import math

import pyarrow as pa
import pytest
from training import seeds

import trainables
from infra.commands import cli, replay
from infra.packing import pack, stalls
from infra.planning import plan
from infra.store import records
from infra.store.storage import ResultsError

FAMILY = "two_layer_relu"
CELL = trainables.load(FAMILY).SMALL


@pytest.fixture(scope="module")
def rows():
    """Of a pack of eight."""
    run = pack.start(FAMILY, seeds(CELL, 8), to_the_end=False)
    while not pack.finished(run):
        pack.advance(run)
    return pack.rows(run)


def recorded(folder, rows):
    records.write_shard(str(folder), rows, plan.row_schema(FAMILY))
    return str(folder)


def test_a_cell_of_a_pack_is_reproduced_alone_bit_for_bit(tmp_path, rows, capsys):
    out = recorded(tmp_path, rows)
    for row in rows[:3]:
        assert replay.replay(out, row["cell_id"]).same
    assert cli.main(["replay", out, rows[0]["cell_id"][:8]]) == 0
    assert capsys.readouterr().out == f"{rows[0]['cell_id']}  {rows[0]['outcome']}: reproduced bit for bit\n"


def test_a_training_that_was_stopped_is_trained_to_where_it_was_by_whatever_rule(tmp_path, monkeypatch):
    monkeypatch.setattr(stalls, "AUDIT", 0.0)
    monkeypatch.setattr(stalls, "FIRST", 64)
    run = pack.start(FAMILY, seeds(trainables.load(FAMILY).Cell(n=96, m=4, d=8), 2), to_the_end=False)
    while not pack.finished(run):
        pack.advance(run)
    out = recorded(tmp_path, pack.rows(run))
    (stopped, _) = pack.rows(run)
    assert stopped["outcome"] == "stalled"
    for first in (64, 256):
        monkeypatch.setattr(stalls, "FIRST", first)
        assert replay.replay(out, stopped["cell_id"]).same


def test_an_audit_takes_a_sample_chosen_by_its_seed_and_leaves_failed_cells_out(tmp_path, rows, capsys):
    failed = {**rows[0], "outcome": "failed", "success": None}
    out = recorded(tmp_path, [failed, *rows[1:]])
    assert cli.main(["audit", out, "--sample", "5", "--seed", "3"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and last == "5 of 5 rows reproduced bit for bit"
    chosen = {line.split()[0] for line in lines}
    assert (
        chosen == {one.cell_id for one in replay.audit(out, 5, 3)} != {one.cell_id for one in replay.audit(out, 5, 4)}
    )
    assert len(list(replay.audit(out, 50, 0))) == 7


def test_an_audit_goes_on_after_a_row_that_cannot_be_trained(tmp_path, rows, capsys):
    out = recorded(tmp_path, [{**rows[0], "numerics": "0"}, *rows[1:]])
    assert cli.main(["audit", out]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "7 of 8 rows reproduced bit for bit, 1 could not be trained"
    (told,) = [line for line in lines if "reproduced" not in line]
    assert told.startswith(
        f"{rows[0]['cell_id']}  {rows[0]['outcome']}: was recorded with numerics 0 of two_layer_relu"
    )


def test_beside_a_damaged_shard_nothing_is_said_of_the_rest(tmp_path, rows, capsys):
    out = recorded(tmp_path, rows[:4])
    whole = recorded(tmp_path, rows[4:])
    shard = sorted((tmp_path / "rows").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:-100])
    fit = ["fit", out, "--over", "n", "--critical", "m"]
    for command in (["audit", out], ["replay", whole, rows[0]["cell_id"]], fit):
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{shard.name} is damaged" in line and "run the sweep again" in line


def test_a_row_that_was_changed_is_told_by_how_much(tmp_path, rows, capsys):
    """One bit in the last place of a loss, a number in a curve, an outcome."""
    row = dict(rows[0])
    row["loss"] = math.nextafter(row["loss"], 1)
    row["curve_loss"] = [2 * row["curve_loss"][0], *row["curve_loss"][1:]]
    row["outcome"] = "diverged"
    row["packages"], row["device"] = "python 2.7", "an abacus"
    out = recorded(tmp_path, [row])
    found = replay.replay(out, row["cell_id"])
    assert found.differences["loss"] == pytest.approx(2**-53, rel=1)
    assert found.differences["curve_loss"] == 0.5 and found.differences["outcome"] == math.inf
    assert set(found.differences) == {"loss", "curve_loss", "outcome"}
    assert cli.main(["replay", out, row["cell_id"]]) == 1
    told = capsys.readouterr().out
    assert "outcome otherwise, curve_loss by 5.0e-01, loss by" in told
    assert "recorded with python 2.7, an abacus; here python 3" in told


def test_what_a_row_says_does_not_steer_the_terminal(tmp_path, rows, capsys):
    evil = "\x1b]0;evil\x07\n\x9b31m\u202e"
    row = {**rows[0], "cell_id": f"abcd{evil}", "outcome": evil, "packages": evil, f"x{evil}": 1.0}
    schema = plan.row_schema(FAMILY).append(pa.field(f"x{evil}", pa.float64()))
    records.write_shard(str(tmp_path), [row], schema)
    for command in (["replay", "abcd"], ["audit"]):
        assert cli.main([command[0], str(tmp_path), *command[1:]]) == 1
        first, *_ = said = capsys.readouterr().out.splitlines()
        assert first.startswith("abcd?]0;evil???31m?  ?]0;evil") and "x?]0;evil???31m? otherwise" in first
        assert "".join(said).isprintable() and len(said) == 1 + (command == ["audit"])


def test_what_cannot_be_replayed_is_one_line(tmp_path, rows, capsys):
    out = recorded(tmp_path / "du", [{**rows[0], "numerics": "0", "commit": "abc"}, rows[1]])
    for cell, named in ((rows[0]["cell_id"], "numerics 0 of two_layer_relu (commit abc)"), ("ffffffffff", "no such"),
                        ("", "2 cells begin so")):  # fmt: skip
        assert cli.main(["replay", out, cell]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("widthlaw: ") and named in line
    wide = {**rows[0], "m": 2**40}
    for row, named in ((wide, "cannot be trained as its row says (RuntimeError"),
                       ({**rows[0], "d": None}, "its row says nothing of d")):  # fmt: skip
        out = recorded(tmp_path / named[-3:], [row])
        assert cli.main(["replay", out, row["cell_id"]]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("widthlaw: ") and named in line
    assert cli.main(["audit", str(tmp_path / "nothing")]) == 2
    assert "holds no training" in capsys.readouterr().err
    with pytest.raises(ResultsError):
        replay.replay(str(tmp_path / "nothing"), rows[0]["cell_id"])
