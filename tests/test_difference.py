"""Two sweeps beside each other: the interval of a difference, checked by simulation and by hand, and what is said."""

import json
from pathlib import Path

import numpy as np
import planted_rows as planted
import pytest

from analysis import difference, report
from analysis.difference import Value, apart
from infra.commands import cli
from infra.store.storage import ResultsError

Z = 1.959963984540054


def normal(value, error):
    return Value(value, (value - Z * error, value + Z * error))


def test_by_hand_and_by_simulation():
    """Symmetric intervals: errors add in squares. 4,000 pairs: 95% within 3 standard errors."""
    assert apart("x", normal(1, 3), normal(2, 4)).between == pytest.approx((1 - Z * 5, 1 + Z * 5))
    rng = np.random.default_rng(5)
    pairs = zip(rng.normal(1.0, 0.3, 4000), np.log(rng.lognormal(0.7, 0.4, 4000)), strict=True)
    covered = [
        one.between[0] <= -0.3 <= one.between[1]
        for one in (apart("", normal(a, 0.3), normal(b, 0.4)) for a, b in pairs)
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 4000) ** 0.5)


def test_each_end_goes_by_the_ends_that_face_each_other():
    a, b = Value(1.0, (0.9, 1.5)), Value(2.0, (1.4, 2.1))
    assert apart("", a, b).between == pytest.approx((1 - (0.6**2 + 0.5**2) ** 0.5, 1 + (0.1**2 + 0.1**2) ** 0.5))
    open_end = apart("", Value(1.0, (None, 1.1)), b)
    assert open_end.between[0] == pytest.approx(1 - (0.6**2 + 0.1**2) ** 0.5) and open_end.between[1] == np.inf
    ratio = apart("", Value(8.0, (4.0, 16.0)), Value(32.0, (16.0, 64.0)), ratio=True)
    assert ratio.between == pytest.approx((4 / 2**2**0.5, 4 * 2**2**0.5)) and ratio.differs
    assert not apart("", Value(8.0, (4.0, 16.0)), Value(16.0, (8.0, 32.0)), ratio=True).differs


def folder(path, exponent, critical, numerics="5"):
    path.mkdir()
    law = {"exponent": exponent, "interval": [exponent - 0.1, exponent + 0.1], "status": "ok"}
    point = {"over": 16.0, "second": None, "critical": critical, "interval": [critical / 1.1, critical * 1.1]}
    claim = {"claim": "drift falls", "metric": "drift", "laws": {"n = 16": law}}
    plan = {"sweep": "s", "family": "f", "critical": "m", "over": "n", "numerics": numerics, "claims": [claim, {}]}
    groups = {
        "all": {"law": law, "thresholds": [point, point | {"over": 32.0, "critical": None}], "data_sha256": numerics}
    }
    (path / "laws.json").write_text(json.dumps({"plans": [plan | {"groups": groups}]}))
    return str(path)


def test_thresholds_laws_of_metrics_and_remarks_are_told(tmp_path, capsys):
    a, b = folder(tmp_path / "a", 2.0, 8.0), folder(tmp_path / "b", 2.5, 8.2, "6")
    assert cli.main(["diff", a, b]) == 0
    law, metric = capsys.readouterr().out.split("\n\n")
    assert law.splitlines() == [
        "s f",
        "  numerics 5 and 6 of the family",
        "  status: ok",
        "  exponent                  2      2.5   b - a 0.5 [0.359, 0.641]  differs",
        "  m* at n = 16              8      8.2   b / a 1.02 [0.896, 1.17]  no difference seen",
    ]
    assert metric.startswith("s f drift (drift falls), n = 16\n")
    assert cli.main(["diff", a, a]) == 0
    assert "both were fitted to the same rows" in capsys.readouterr().out


def test_what_cannot_be_compared_is_one_line(tmp_path, capsys):
    a, empty = folder(tmp_path / "a", 2.0, 8.0), tmp_path / "empty"
    empty.mkdir()
    assert cli.main(["diff", a, str(empty)]) == 2
    assert "write them with: widthlaw report" in capsys.readouterr().err
    for crafted in ('{"plans": [[1]]}', '{"plans": [{"sweep": "s"}]}', "[" * 100_000):
        (empty / "laws.json").write_text(crafted)
        assert cli.main(["diff", a, str(empty)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "widthlaw report" in line
    (empty / "laws.json").write_text('{"plans": []}')
    with pytest.raises(ResultsError, match=r"hold no law of the same sweep and family \(s f\)"):
        list(difference.differences(a, str(empty)))


def swept(path, axes):
    """A results folder with planted rows of these axes and its report: its address."""
    planted.plan(path, axes)
    planted.write(path, planted.rows(axes))
    report.write_report(str(path))
    return str(path)


def test_one_law_is_held_against_that_at_its_value_and_what_is_left_over_is_told(tmp_path, capsys):
    axes = {"m": [4, 8, 16, 32], "n": [8, 16]}
    one, both = swept(tmp_path / "one", axes | {"d": [8]}), swept(tmp_path / "both", axes | {"d": [8, 16]})
    assert cli.main(["diff", one, both]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "d = " in line] == ["planted two_layer_relu d = 8"]
    other = swept(tmp_path / "other", axes | {"d": [32]})
    assert cli.main(["diff", other, both]) == 2
    assert "hold no law at the same setting: one law | d = 8, d = 16" in capsys.readouterr().err


def test_laws_that_are_older_than_the_rows_are_told(tmp_path, capsys):
    axes = {"m": [4, 8, 16, 32], "n": [8, 16], "d": [8]}
    new, old = swept(tmp_path / "new", axes), swept(tmp_path / "old", axes)
    sorted(Path(old, "rows").glob("*.parquet"))[0].unlink()
    assert cli.main(["diff", new, old]) == 0
    told = capsys.readouterr().out
    assert f"the laws of {old} are older than its rows: widthlaw report {old}" in told and f"laws of {new} " not in told
