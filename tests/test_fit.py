"""``widthlaw fit``: anybody's data, one JSON object, one clear line for data that are wrong."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from training import seeds

from infra.commands import cli
from infra.packing import pack
from infra.planning import plan
from infra.store import records
from trainables import random_features


def planted(n_seeds=40):
    """Single trainings with m* = 2 n^1.5, slope 4 in log m."""
    rng = np.random.default_rng(7)
    rows = [
        (n, m, seed, int(rng.random() < 1 / (1 + np.exp(-4 * np.log(m / (2 * n**1.5))))))
        for n in (4, 8, 16, 32)
        for m in np.unique(np.round(2 * n**1.5 * 2.0 ** np.arange(-3, 3.5, 0.5)))
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows, columns=["n", "m", "seed", "success"])


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err.strip().splitlines()


def fitted(capsys, *arguments):
    code, out, _ = run(capsys, "fit", *arguments, "--json")
    assert code == 0
    return json.loads(out)


@pytest.fixture(params=["csv", "parquet"])
def outcomes(request, tmp_path):
    path = tmp_path / f"outcomes.{request.param}"
    frame = planted()
    frame.to_csv(path, index=False) if request.param == "csv" else frame.to_parquet(path)
    return path


def test_a_planted_threshold_law_is_recovered(capsys, outcomes):
    found = fitted(capsys, outcomes, "--critical", "m", "--over", "n")
    low, high = found["law"]["interval"]
    assert low < 1.5 < high
    assert high - low < 0.3  # 2,080 trainings: the benchmark's standard error at 2,000 is about .05
    assert found["law"]["status"] == "ok"
    assert [point["over"] for point in found["thresholds"]] == [4, 8, 16, 32]
    assert set(found["thresholds"][0]) >= {"over", "critical", "interval", "censored", "separated", "trainings"}
    rows = len(planted())
    assert found["counts"] == {"rows": rows, "trainings": rows, "dropped": 0, "repeated": 0}
    assert found["data_sha256"] == hashlib.sha256(outcomes.read_bytes()).hexdigest()


def test_aggregated_counts_give_the_same_law(capsys, outcomes, tmp_path):
    counts = planted().groupby(["n", "m"], as_index=False).agg(k=("success", "sum"), N=("success", "size"))
    counts.to_csv(tmp_path / "counts.csv", index=False)
    single = fitted(capsys, outcomes, "--critical", "m", "--over", "n")
    names = ["--critical", "m", "--over", "n", "--successes", "k", "--trials", "N"]
    assert fitted(capsys, tmp_path / "counts.csv", *names)["law"] == single["law"]


def test_a_planted_power_law_is_recovered(capsys, tmp_path):
    rng = np.random.default_rng(3)
    m = np.repeat([16, 32, 64, 128, 256, 512], 10)
    frame = pd.DataFrame({"m": m, "drift": 3 * m**-0.5 * np.exp(0.1 * rng.standard_normal(m.size))})
    frame.to_csv(tmp_path / "metrics.csv", index=False)
    found = fitted(capsys, tmp_path / "metrics.csv", "--metric", "drift", "--over", "m")
    low, high = found["law"]["interval"]
    assert low < -0.5 < high
    assert found["thresholds"] == []
    _, words, _ = run(capsys, "fit", tmp_path / "metrics.csv", "--metric", "drift", "--over", "m")
    assert words.startswith("drift = ") and "status: ok" in words


def test_a_results_folder_is_data_too(capsys, tmp_path):
    for m in (15, 16, 17):
        for n in (16, 24):
            cells = seeds(random_features.Cell(m=m, n=n), 3)
            rows = pack.start("random_features", cells)
            while not pack.finished(rows):
                pack.advance(rows)
            records.write_shard(str(tmp_path), pack.rows(rows), plan.row_schema("random_features"))
    found = fitted(capsys, tmp_path, "--critical", "m", "--over", "n")
    first, second = found["thresholds"]
    assert first["interval"][0] <= 15 and first["interval"][1] >= 16, "the bracket lies in the interval"
    assert first["separated"]
    assert second["censored"] == "above"
    assert found["data_sha256"] == records.digest(records.read_rows(str(tmp_path))[0])


def test_missing_outcomes_are_dropped_and_counted(capsys, tmp_path):
    frame = planted().astype({"success": float})
    frame.loc[::10, "success"] = np.nan
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    found = fitted(capsys, tmp_path / "gaps.csv", "--critical", "m", "--over", "n")
    assert found["counts"]["dropped"] == len(frame.loc[::10])
    assert found["counts"]["trainings"] + found["counts"]["dropped"] == len(frame)


@pytest.mark.parametrize("outcome", [0, 1])
def test_data_that_carry_no_law_end_in_a_status(capsys, tmp_path, outcome):
    planted().assign(success=outcome).to_csv(tmp_path / "flat.csv", index=False)
    found = fitted(capsys, tmp_path / "flat.csv", "--critical", "m", "--over", "n")
    assert found["law"]["exponent"] is None
    assert found["law"]["status"] == ["all failed", "all succeeded"][outcome]


@pytest.mark.parametrize(
    ("change", "arguments", "named"),
    [
        ({}, ["--critical", "width", "--over", "n"], ["no column 'width'", "n, m, seed, success"]),
        ({"success": 2}, ["--critical", "m", "--over", "n"], ["row 0", "success"]),
        ({"m": 0}, ["--critical", "m", "--over", "n"], ["row 0", "m"]),
        ({"m": "wide"}, ["--critical", "m", "--over", "n"], ["row 0", "m is 'wide'", "not a number"]),
        ({"k": 5, "N": 4}, ["--critical", "m", "--over", "n", "--successes", "k", "--trials", "N"], ["row 0", "more"]),
        ({"k": 5}, ["--critical", "m", "--over", "n", "--successes", "k"], ["--trials"]),
        ({}, ["--over", "n"], ["--metric", "--critical"]),
        ({}, ["--critical", "m", "--over", "n", "--where", "n:4"], ["--where n:4", "name=value"]),
        ({}, ["--critical", "m", "--over", "n", "--where", "n=4,5"], ["no row has it", "n takes 4, 8, 16, 32"]),
        ({}, ["--critical", "m", "--over", "n", "--where", "n=5"], ["no row has it", "n takes 4, 8, 16, 32"]),
        ({}, ["--critical", "m", "--over", "n", "--level", "1"], ["level"]),
        ({}, ["--critical", "m"], ["--over"]),
        ({}, ["--critical", "m", "--over", "n", "--metric", "y"], ["--metric", "--critical", "not both"]),
        ({}, ["--metric", "y", "--over", "n,d"], ["one axis", "--over n"]),
        ({}, ["--metric", "y", "--over", "n", "--level", "0.5"], ["--level", "--critical", "leave it out"]),
        ({}, ["--metric", "y", "--over", "n", "--outcome", "success"], ["--outcome", "--critical"]),
        ({}, ["--metric", "y", "--over", "n", "--successes", "k", "--trials", "N"], ["--successes", "--critical"]),
        ({}, ["--metric", "y", "--over", "n", "--trials", "N"], ["--trials", "--critical"]),
        ({}, ["--metric", "n", "--over", "n"], ["--metric n", "must differ"]),
        (
            {"k": 1, "N": 1},
            ["--critical", "m", "--over", "n", "--successes", "k", "--trials", "N", "--outcome", "success"],
            ["--outcome", "--successes", "give one"],
        ),
        (
            {"k": 1, "N": 1},
            ["--critical", "m", "--over", "n", "--successes", "k", "--trials", "N", "--seed", "seed"],
            ["--seed", "--successes", "give one"],
        ),
        ({}, ["--critical", "m", "--over", "n", "--robust"], ["--robust", "--metric"]),
        ({}, ["--critical", "m", "--over", "m"], ["--critical m", "must differ"]),
        ({}, ["--critical", "m", "--over", "n,n"], ["--over n,n", "must differ"]),
        ({}, ["--critical", "m", "--over", "n,d,seed"], ["--over n,d,seed", "one axis, or two"]),
        ({}, ["--critical", "m", "--over", "n,"], ["--over n,", "one axis, or two"]),
        ({"d": np.tile([4, 8], 52)}, ["--critical", "m", "--over", "n"], ["d varies (4, 8)", "--where d=VALUE"]),
        (
            {"m": 8, "noise": np.tile([0, 1], 52)},
            ["--metric", "success", "--over", "n"],
            ["noise varies (0, 1)", "--where"],
        ),
        ({"seed": 7}, ["--critical", "m", "--over", "n"], ["both outcomes", "row", "remove the wrong row"]),
        (
            {"seed": 7, "loss": np.arange(104.0), "gap": np.nan},
            ["--critical", "m", "--over", "n"],
            ["both outcomes", "they differ in loss:", "--where"],
        ),
    ],
)
def test_wrong_data_get_one_line(capsys, tmp_path, change, arguments, named):
    planted(2).assign(**change).to_csv(tmp_path / "wrong.csv", index=False)
    code, _, lines = run(capsys, "fit", tmp_path / "wrong.csv", *arguments)
    assert code == 2
    (line,) = lines
    assert all(part in line for part in named), line


@pytest.mark.parametrize("name", ["data.parquet", "data.csv"])
@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense", None])
def test_files_that_cannot_be_read_get_one_line(capsys, tmp_path, content, name):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code, _, lines = run(capsys, "fit", path, "--critical", "m", "--over", "n")
    assert code == 2
    assert len(lines) == 1
    assert str(path) in lines[0] or (name == "data.csv" and "no column 'm'" in lines[0])


def test_a_repeated_header_gets_one_line(capsys, tmp_path):
    (tmp_path / "twice.csv").write_text("n,m,success,m\n4,8,1,16\n")
    code, _, (line,) = run(capsys, "fit", tmp_path / "twice.csv", "--critical", "m", "--over", "n")
    assert code == 2
    assert "two columns are called 'm'" in line and "rename" in line


def test_a_header_alone_is_no_data(capsys, tmp_path):
    (tmp_path / "header.csv").write_text("n,m,seed,success,drift\n")
    arguments = [tmp_path / "header.csv", "--over", "n"]
    assert fitted(capsys, *arguments, "--critical", "m")["law"]["status"] == "no data"
    assert fitted(capsys, *arguments, "--metric", "drift")["law"]["status"] == "no points"


def test_other_columns_may_vary(capsys, tmp_path):
    """Only the name of an axis that takes several values within a cell is refused."""
    frame = planted()
    frame.assign(loss=np.arange(len(frame)), d=2 * frame.n).to_csv(tmp_path / "more.csv", index=False)
    assert fitted(capsys, tmp_path / "more.csv", "--critical", "m", "--over", "n")["law"]["status"] == "ok"
    both = pd.concat([frame.assign(d=1), frame.assign(d=2, success=0)])
    both.to_csv(tmp_path / "both.csv", index=False)
    one = fitted(capsys, tmp_path / "both.csv", "--critical", "m", "--over", "n", "--where", "d=1")
    assert one["counts"]["trainings"] == len(frame)


def test_a_text_with_a_comma_is_one_value(capsys, tmp_path):
    frame = pd.concat([planted().assign(who="a,b"), planted().assign(who="a"), planted().assign(who="b")])
    frame.to_csv(tmp_path / "texts.csv", index=False)
    arguments = [tmp_path / "texts.csv", "--critical", "m", "--over", "n", "--where"]
    for text in ("who=a,b", "who=a"):
        assert fitted(capsys, *arguments, text)["counts"]["rows"] == len(frame) // 3


def test_repeated_records_are_counted_once(capsys, tmp_path):
    frame = planted()
    pd.concat([frame, frame[::7]]).to_csv(tmp_path / "repeated.csv", index=False)
    frame.to_csv(tmp_path / "once.csv", index=False)
    arguments = ["--critical", "m", "--over", "n"]
    repeated = fitted(capsys, tmp_path / "repeated.csv", *arguments)
    once = fitted(capsys, tmp_path / "once.csv", *arguments)
    copies = len(frame[::7])
    assert repeated["counts"] == {
        "rows": len(frame) + copies, "trainings": len(frame), "dropped": 0, "repeated": copies
    }  # fmt: skip
    assert repeated["law"]["notes"] == [f"{copies} repeated records counted once", *once["law"]["notes"]]
    assert repeated["law"]["interval"] == once["law"]["interval"]
    assert not any("clustered" in note for note in once["law"]["notes"]), "that is for --seed to say"
    frame.drop(columns="seed").pipe(lambda f: pd.concat([f, f[::7]])).to_csv(tmp_path / "anonymous.csv", index=False)
    anonymous = fitted(capsys, tmp_path / "anonymous.csv", *arguments)
    assert anonymous["counts"]["trainings"] == len(frame) + copies, "without seeds, equal rows are trainings"


def test_a_law_over_two_axes_has_the_keys_of_one(capsys, tmp_path):
    rng = np.random.default_rng(5)
    n, d, m = (part.ravel() for part in np.meshgrid([16, 32, 64, 128], [2, 4, 8], 2.0 ** np.arange(1, 9, 0.5)))
    k = rng.binomial(12, 1 / (1 + (n / d**0.5 / m) ** 4.0))
    pd.DataFrame({"n": n, "d": d, "m": m, "k": k, "N": 12}).to_csv(tmp_path / "plane.csv", index=False)
    names = ["--critical", "m", "--over", "n,d", "--successes", "k", "--trials", "N"]
    law = fitted(capsys, tmp_path / "plane.csv", *names)["law"]
    assert {"exponent", "interval", "envelope", "prefactor", "status", "notes"} <= set(law)
    assert law["exponent"] == law["exponents"][0] == pytest.approx(1.0, abs=0.1)  # 2,304 trainings: error .03
    assert law["exponents"][1] == pytest.approx(-0.5, abs=0.2)
    assert law["interval"] == law["intervals"][0]
    low, high = law["envelope"]
    assert low <= law["interval"][0] < law["interval"][1] <= high


def test_text_and_json_of_a_censored_fit_agree(capsys, tmp_path):
    """One n crossed between two that are bounded on one side: the exponent has two ends, or one."""
    rows = [(16, 8, 0), (32, 28, 0), (32, 40, 1), (64, 60, 0)]
    for count, both in ((4, True), (3, False)):
        frame = pd.DataFrame(rows[:count] * 20, columns=["n", "m", "success"])
        frame.to_csv(tmp_path / "censored.csv", index=False)
        law = fitted(capsys, tmp_path / "censored.csv", "--critical", "m", "--over", "n")["law"]
        assert (law["status"], law["exponent"]) == ("censored", None)
        _, words, _ = run(capsys, "fit", tmp_path / "censored.csv", "--critical", "m", "--over", "n")
        low, high = law["interval"]
        assert high is not None
        assert (low is not None) == both
        assert words.startswith(f"exponent of m*(n) {f'in [{low:.3f}, {high:.3f}]' if both else f'<= {high:.3f}'} ")
        assert "one side" not in words


def test_success_that_falls_with_the_width_is_called_reversed(capsys, tmp_path):
    frame = planted()
    frame.assign(success=1 - frame.success).to_csv(tmp_path / "reversed.csv", index=False)
    law = fitted(capsys, tmp_path / "reversed.csv", "--critical", "m", "--over", "n")["law"]
    assert (law["status"], law["exponent"]) == ("reversed", None)
    assert law["notes"][0].startswith("success falls with m")
    _, words, _ = run(capsys, "fit", tmp_path / "reversed.csv", "--critical", "m", "--over", "n")
    assert "success falls with m" in words


def test_a_reader_that_stops_early_is_no_error(tmp_path):
    planted().to_csv(tmp_path / "outcomes.csv", index=False)
    command = [sys.executable, "-c", "from infra.commands.cli import main; raise SystemExit(main())"]
    command += ["fit", str(tmp_path / "outcomes.csv"), "--critical", "m", "--over", "n", "--json"]
    read, write = os.pipe()
    os.close(read)  # nobody listens, not even at first
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
