"""A results folder that somebody else has made up: the tools write nowhere else and run nothing of it."""

import json
import os
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import planted_rows as planted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import difference, report
from infra import engine, launch, options, plan_file
from infra.commands import cli
from infra.launch import Sweep
from infra.planning import plan
from infra.store import manifest, records, schema, shards, storage
from infra.store.storage import ResultsError
from sweeps.__main__ import NAMES

AXES = {"m": [4, 8, 16], "n": [8], "d": [8]}
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
SWEEP = Sweep(
    name="width_vs_n", claim="a claim", critical="m", over="n", seeds=1,
    axes={"random_features": {"n": "4", "m": "3", "d": "3"}},
)  # fmt: skip


@pytest.fixture
def world(tmp_path):
    """A folder of somebody's, ``du`` the crafted one in it, and a look at everything else."""
    (tmp_path / "home" / "deep").mkdir(parents=True)
    (tmp_path / "home" / "precious").write_text("precious")
    (tmp_path / "home" / ".cache.tmp").write_text("precious too")
    (tmp_path / "du").mkdir()
    return tmp_path


def outside(world):
    """All there is beside the crafted folder."""
    return {
        str(path): path.read_bytes() if path.is_file() else b""
        for path in world.rglob("*")
        if world / "du" not in path.parents and path != world / "du"
    }


def crafted(world, **more):
    """A plan as its author wants it, past what ``write_plan`` would refuse, and rows to it."""
    recipe = planted.plan(world / "du", AXES)
    Path(world, "du", "plans", f"{recipe['plan_id']}.json").write_text(json.dumps(recipe | more))
    planted.write(world / "du", planted.rows(AXES))


def answered(capsys, *arguments):
    """Exit code and lines on standard error of the command ``widthlaw``."""
    code = cli.main(arguments)
    return code, capsys.readouterr().err.strip().splitlines()


WRONG = [
    {"sweep": "../../home/x"}, {"sweep": "/home/x"}, {"sweep": "..", "plan_id": "../.."},
    {"plan_id": "../../../home/p"}, {"plan_id": ["a"]}, {"sweep": "a\0b"}, {"sweep": {"a": 1}},
    {"metrics": ["../../home/x"]}, {"curves": ["a/../../b"]},
    {"critical": "../m"}, {"over": 3}, {"over": None}, {"critical": "zz"}, {"over": "zz"}, {"by": "zz"},
    {"critical": "w", "axes": AXES | {"w": ["a", "b"]}}, {"axes": [1]}, {"axes": {"m": 4}}, {"axes": {"../m": [4]}},
    {"axes": {"m": [[4]]}}, {"axes": {"m": ["4", 8]}}, {"axes": {"m": [10**400]}}, {"axes": {"m": []}},
    {"axes": AXES | {"m": list(range(10_001))}}, {"seeds": "many"}, {"seeds": 1e300}, {"level": None},
    {"claims": [{"name": "x"}]}, {"claims": [{**planted.CLAIMS[0], "statement": 7}]},
    {"claims": [{**planted.CLAIMS[0], "more": 7}]}, {"meanings": {"m": None}}, {"claim": 5}, {"created": 5},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: json.dumps(wrong)[:40])
def test_a_plan_of_another_form_is_refused_and_nothing_written(world, capsys, wrong):
    crafted(world, **wrong)
    before = {str(path) for path in world.rglob("*")}
    code, lines = answered(capsys, "report", str(world / "du"))
    assert code == 2
    assert len(lines) == 1 and "is not a plan" in lines[0], lines
    assert {str(path) for path in world.rglob("*")} == before


def test_metrics_and_curves_that_are_no_numbers_are_not_drawn(world, capsys):
    crafted(world, metrics=["reason", "host", "loss"], curves=["loss", "nope", "host"], critical=None, claims=[])
    assert answered(capsys, "report", str(world / "du")) == (0, [])


@pytest.mark.parametrize("content", ["[" * 100_000, '{"plan_id": ' + "9" * 5000 + "}", "x" * 3_000])
def test_a_plan_that_is_deep_or_long_or_no_json_is_refused(world, content):
    Path(world, "du", "plans").mkdir()
    Path(world, "du", "plans", "p.json").write_text(content)
    with pytest.raises(ResultsError, match=r"p\.json is not a plan"):
        records.read_plans(str(world / "du"))


def test_a_plan_of_a_billion_values_is_not_read_at_all(world):
    (world / "du" / "plans").mkdir()
    with Path(world, "du", "plans", "p.json").open("wb") as file:
        file.truncate(4 * 2**30)  # a hole: takes no disk; would take 4 GiB of memory
    with pytest.raises(ResultsError, match="more than 64 MiB"):
        records.read_plans(str(world / "du"))


def test_a_plan_that_lacks_what_a_report_needs_is_named(world, capsys):
    records.write_plan(str(world / "du"), {"plan_id": "p", "created": "2026-01-01"})
    code, lines = answered(capsys, "report", str(world / "du"))
    assert code == 2 and len(lines) == 1 and "plan p" in lines[0] and "says nothing of sweep" in lines[0]


def test_the_plans_of_every_sweep_are_accepted():
    for name in NAMES:
        sweep = import_module(f"sweeps.{name}").SWEEP
        for family in sweep.axes:
            request = options.parse(sweep, ["--family", family])
            told = json.loads(json.dumps(plan_file.manifest(request)))
            manifest.check_plan(told)
            assert set(manifest.REPORTED) <= set(told)


@pytest.mark.parametrize("link", ["figures", "tables", "report.html", "laws.json", "."])
def test_links_out_of_the_folder_are_not_written_through(world, capsys, monkeypatch, link):
    planted.drawn_as(monkeypatch)
    crafted(world)
    before = outside(world)
    if link == ".":  # the folder itself may be a link: that is the user's own
        (world / "other").symlink_to(world / "du")
        assert answered(capsys, "report", str(world / "other"))[0] == 0
        return
    aim = world / "home" / ("precious" if "." in link else "deep")
    (world / "du" / link).symlink_to(aim)
    code, lines = answered(capsys, "report", str(world / "du"))
    assert outside(world) == before
    if "." in link:
        assert code == 0 and not (world / "du" / link).is_symlink(), "the link is replaced, not what it leads to"
    else:
        assert code == 2 and len(lines) == 1 and "is a link out of" in lines[0]


@pytest.mark.parametrize("link", ["rows", ".lock", "mlflow.db", "mlartifacts"])
def test_a_sweep_takes_nothing_from_where_links_lead(world, capsys, link):
    before = outside(world)
    aim = world / "home" / {".lock": "nothing", "mlflow.db": "nothing.db"}.get(link, "")
    (world / "du" / link).symlink_to(aim)
    code = launch.main(SWEEP, ["--out", str(world / "du")])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert outside(world) == before
    assert "link" in lines[-1] or "symbolic" in lines[-1], lines


def test_nothing_is_moved_or_recorded_where_links_lead(world):
    out = str(world / "du")
    foreign = storage.Foreign(f"{out}/rows/notes", "")
    (world / "du" / "rows").mkdir()
    (world / "du" / "rows" / "notes").write_text("not rows")
    for name in ("set-aside", "plans", "tune"):
        (world / "du" / name).symlink_to(world / "home")
    before = outside(world)
    for call in (
        lambda: records.set_aside(out, [foreign]),
        lambda: records.write_plan(out, {"plan_id": "p"}),
        lambda: engine.session(SimpleNamespace(out=out, shared=True), None).__enter__(),
    ):
        with pytest.raises(ResultsError, match="is a link out of"):
            call()
    assert outside(world) == before and Path(foreign.path).exists()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "rows/\0"])
def test_no_name_leads_out_of_the_folder(world, name):
    with pytest.raises(ResultsError, match="would not lie in it"):
        storage.write_bytes(str(world / "du"), name, b"")


def test_texts_of_plans_and_rows_are_text_on_the_pages(world, monkeypatch):
    planted.drawn_as(monkeypatch, "svg")
    texts = dict.fromkeys(("claim", "criterion", "command", "created", "numerics"), SCRIPT)
    told = {"meanings": dict.fromkeys(AXES, SCRIPT), "paper": [SCRIPT, SCRIPT]}
    claims = [planted.CLAIMS[0] | {"name": SCRIPT, "statement": SCRIPT, "hypotheses": [SCRIPT], "tag": SCRIPT}]
    planted.plan(world / "du", AXES, claims=claims, **texts, **told)
    more = dict.fromkeys(("host", "device", "code", "commit", "packages", "reason"), SCRIPT)
    rows = [one | more | {"numerics": SCRIPT} for one in planted.rows(AXES)]
    rows[0] |= {"outcome": "failed", "success": None}
    planted.write(world / "du", rows)
    Path(world, "du", "rows", f"{SCRIPT.replace('/', '')}.txt").write_text("")
    pages = [Path(report.write_report(str(world / "du"))).read_text()]
    pages.append(Path(report.write_board([str(world / "du")], str(world / "du" / "all.html"))).read_text())
    ours = re.compile(r'<script( type="application/json" class="trainings")?>[^<]*(?:(?!</script)<[^<]*)*</script>')
    assert [bool(one[1]) for one in ours.finditer(pages[0])] == [True, False], "the data and our own script"
    pages[0] = ours.sub("", pages[0])
    for page in pages:
        assert page.count("&lt;script&gt;") > 5
        assert not re.search(r"<script|<img src=x|onerror=(?!alert\(2\)&gt;)", page)
    for table in Path(world, "du", "tables").iterdir():
        assert r"\input" not in table.read_text()


STEERING = "\x1b]0;evil\x07\x1b[2J\n\x9b31m\u202e"  # titles, clears, colours, turns round


@pytest.mark.parametrize("column", ["cell_id", "outcome", "numerics", "d"])
@pytest.mark.parametrize("command", [["status"], ["replay", "abcd"], ["audit"]], ids=lambda one: one[0])
def test_no_row_steers_the_terminal_or_ends_a_command_in_a_traceback(world, capsys, command, column):
    axes = AXES | ({"start": [STEERING, "b"]} if command == ["status"] and column == "d" else {})
    planted.plan(world / "du", axes, sweep="width_vs_n", numerics="5")
    row = planted.row(4, 8, 8, 0) | {"numerics": "5", "cell_id": "abcd"}
    planted.write(world / "du", [row if column == "d" else row | {column: f"abcd{STEERING}"}])
    if column == "d":  # an axis of another type
        path = next(Path(world, "du", "rows").iterdir())
        table = pq.read_table(path)
        pq.write_table(table.drop_columns("d").add_column(4, "d", pa.array([STEERING])), path)
    name, *more = command
    code = cli.main([name, str(world / "du"), *more])
    said = capsys.readouterr()
    ends = ((1, 2, 0),) if command == ["audit"] else ((0, 1, 0), (2, 0, 1))  # an audit tells it and counts
    assert (code, len(said.out.splitlines()), len(said.err.splitlines())) in ends
    assert not [c for c in said.out + said.err if c != "\n" and not c.isprintable()]


def test_a_text_that_is_none_makes_a_file_no_shard(world, capsys):
    planted.plan(world / "du", AXES)
    planted.write(world / "du", planted.rows(AXES))
    (path,) = Path(world, "du", "rows").iterdir()
    table = pq.read_table(path)
    wrong = pa.array([b"\xff\xfe"] * len(table), pa.binary())
    wrong = pa.Array.from_buffers(pa.string(), len(table), wrong.buffers())
    pq.write_table(table.set_column(0, table.schema.field("cell_id"), wrong), path)
    (_, why) = records.read_rows(str(world / "du"))[1][0]
    assert "UTF8" in why
    for command in (["status"], ["report"], ["audit"]):
        code, lines = answered(capsys, command[0], str(world / "du"))
        assert code == 2 and len(lines) == 1, lines


def bomb(kind):
    """A row, or a thousand, that say much with few bytes: one long list, one long text said again and again."""
    schema = plan.row_schema(planted.FAMILY)
    one = planted.row(4, 8, 8, 0)
    table = pa.Table.from_pylist(
        [{name: one.get(name) for name in schema.names}] * (1 if kind == "list" else 1000), schema
    )
    if kind == "list":
        long = pa.ListArray.from_arrays(pa.array([0, 2**22], pa.int32()), pa.repeat(1.0, 2**22))
        return table.set_column(schema.get_field_index("curve_loss"), "curve_loss", long)
    said = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 1000), ["x" * 2**16])
    return table.set_column(schema.get_field_index("host"), "host", said)


@pytest.mark.parametrize("kind", ["list", "text"])
def test_a_small_file_of_too_many_bytes_is_no_shard(world, monkeypatch, kind):
    monkeypatch.setattr(shards, "LARGEST", 2**24)
    monkeypatch.setattr(shards, "AT_ONCE", 100)
    planted.write(world / "du", planted.rows(AXES))
    path = world / "du" / "rows" / "bomb.parquet"
    table = bomb(kind)
    with pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({schema.VERSION_KEY: schema.SCHEMA_VERSION})
    assert path.stat().st_size < 2**19
    table, ((named, why),) = records.read_rows(str(world / "du"))
    assert (len(table), named) == (30, str(path))
    assert "too large for a shard" in why


@pytest.mark.parametrize(
    "evil",
    [
        {"level": 7}, {"seeds": -5}, {"tuned": {"name": 5}}, {"tuned": {"axis": "../x", "low": 1, "high": 2}},
        {"axes": {name: list(range(1000)) for name in "abc"}}, {"equations": 5}, {"computed": ["../x"]},
    ],
)  # fmt: skip
def test_numbers_and_grids_that_no_plan_has_are_refused(evil):
    with pytest.raises(ValueError, match="is not what a plan has there"):
        manifest.check_plan(evil)


def test_a_pipe_in_the_place_of_laws_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "laws.json")
    with pytest.raises(ResultsError, match="holds no laws"):
        difference.read(str(tmp_path))
