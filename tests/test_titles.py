"""What tells plans of one sweep apart, wherever they are named: on the page, in a status, in a comparison."""

import re
import shutil
from pathlib import Path

import planted_rows as planted
import pytest
from test_options import parsed

from analysis import export, laws_file, report, titles
from analysis.study import study
from infra import plan_file
from infra.commands import cli
from infra.store import records

AXES = planted.AXES | {"n": [8, 16]}


@pytest.mark.parametrize(
    ("text", "off", "title"),
    [
        ("", [], "two_layer_relu n=16..32 m=4..16, 7 seeds"),
        ("--d 8", [], "two_layer_relu n=16..32 m=4..16, 7 seeds"),
        ("--d 4 --tolerance 0.1", ["d", "tolerance"], "two_layer_relu n=16..32 m=4..16 d=4 tolerance=0.1, 7 seeds"),
        ("--n 16 --seeds 3", ["n"], "two_layer_relu m=4..16 n=16, 3 seeds"),
        ("--family random_features --d 4", ["d"], "random_features m=8..9 d=4, 7 seeds"),
        ("--n 8,9 --tune step_size", [], "two_layer_relu n=8..9 m=4..16, 7 seeds, step_size tuned"),
        ("--level 0.9", [], "two_layer_relu n=16..32 m=4..16, 7 seeds, level = 0.9"),
        ("--m 4 --adaptive --d 4", ["m", "d"], "two_layer_relu n=16..32 d=4, adaptive"),
    ],
)  # fmt: skip
def test_a_plan_names_what_is_not_the_sweeps_own(text, off, title):
    plan = plan_file.manifest(parsed(text))
    assert sorted(plan["off_default"]) == sorted(off)
    assert titles.plan_title(plan) == title


def recorded(out, axes, plan_id, **more):
    """A plan with its rows, and the laws of all plans of the folder; nothing is drawn."""
    planted.plan(out, axes, plan_id, **more)
    planted.write(out, planted.rows(axes))
    found = [study(str(out), plan) for plan in records.plans_to_report(str(out))]
    laws_file.write(str(out), [laws_file.entry(one) for one in found])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two plans of a sweep that differ in d alone, which does not vary in either."""
    out = tmp_path_factory.mktemp("titles") / "both"
    for d, name in ((8, "a"), (16, "b")):
        recorded(out, AXES | {"d": [d]}, name * 20, off_default=[] if d == 8 else ["d"])
    return out


def test_the_level_tells_plans_apart_and_where_nothing_does_their_address(both):
    plan = records.plans_to_report(str(both))[0]
    other = plan | {"plan_id": "c" * 20, "level": 0.9}
    assert titles.plan_titles([plan, other])[1].endswith("10 seeds, level = 0.9")
    found = titles.plan_titles([plan, plan | {"plan_id": "c" * 20}])
    assert [name.rpartition(", ")[2] for name in found] == ["plan aaaaaa", "plan cccccc"]


def heads(capsys):
    """The first line of each part of a comparison."""
    return [part.splitlines()[0] for part in capsys.readouterr().out.split("\n\n")]


def test_status_page_and_export_name_it(both, tmp_path, capsys, monkeypatch):
    assert cli.main(["status", str(both)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert " d=16, 10 seeds:" in second and "d=" not in first
    monkeypatch.setattr(report, "figures", lambda *_: {})
    page = Path(report.write_report(str(shutil.copytree(both, tmp_path / "both")))).read_text()
    told = ["planted", "planted, d = 16"]
    assert sorted(re.findall(r"<h2>(planted.*?) · two_layer_relu</h2>", page)) == told
    export.export(str(both), str(tmp_path / "paper"))
    assert re.findall(r"^## (planted.*?):", (tmp_path / "paper" / "README.md").read_text(), re.M) == told


def test_a_comparison_names_the_values_of_both(both, tmp_path, capsys):
    same, other = tmp_path / "same", tmp_path / "other"
    recorded(same, AXES | {"d": [16]}, "c" * 20)
    recorded(other, AXES | {"d": [4]}, "d" * 20)
    again = tmp_path / "again"
    recorded(again, AXES | {"d": [8], "n": [16, 32]}, "e" * 20)  # another n
    recorded(again, AXES | {"d": [8]}, "a" * 20)  # and the one of ``both``
    recorded(again, AXES | {"d": [8]}, "f" * 20, level=0.9)
    for out, expected, left in (
        (again, ["d = 8, level = 0.5, plan aaaaaa", "d = 16, level = 0.5 | d = 8, level = 0.9"], ["eeeeee"]),
        (both, ["d = 8", "d = 16"], []),
        (same, ["d = 16"], ["aaaaaa"]),  # where some are at the same values these alone
        (other, ["d = 8 | d = 4", "d = 16 | d = 4"], []),
    ):
        assert cli.main(["diff", str(both), str(out)]) == 0
        assert heads(capsys) == [
            *(f"planted two_layer_relu {setting}" for setting in expected),
            *(f"planted two_layer_relu, plan {address}" for address in left),
        ]
