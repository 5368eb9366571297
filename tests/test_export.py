"""An exported data set reads the same in every reader, says what it is, and makes its own figures again."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import planted_rows as planted
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from frictionless import Package

from analysis import export, report
from analysis.paper import texts, tidy
from infra.commands import cli
from infra.store import records

HERE = "/home/ada/secret"
ODD = 'O\'Neil "Jr" \\ $x^2$ <b> `c` | #: & Ünï — {{ 7*7 }}'
AUTHORS = ("Lovelace, Ada", ODD, "---\nevil: yes")
STEM = "planted-aaaaaa"
COMMAND = f"python sweeps/planted.py --out {HERE}/du --n 8,16 --address=10.0.0.7:6379 --data-dir {HERE}/d --seeds 10"


def rows():
    """Rows with known laws, one failed for a reason that tells of the machine."""
    made = planted.rows(host="wintermute", worker=4711, started="2026-01-01T00:00:00+00:00")
    where = f"cannot read '{HERE}/data/x.bin' on wintermute (10.0.0.7:6379)"
    made[0] |= {"outcome": "failed", "success": None, "reason": where, "flips": None}
    made[0] |= {"curve_step": None, "curve_loss": None}
    return made


def answered(capsys, *arguments):
    code = cli.main(arguments)
    said = capsys.readouterr()
    return code, said.out.strip().splitlines(), said.err.strip().splitlines()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results, and what was exported of them."""
    place = tmp_path_factory.mktemp("export")
    planted.plan(place / "du", command=COMMAND, metrics=["flips"], curves=["loss"], claims=planted.CLAIMS[3:6])
    planted.write(place / "du", rows()[:-3])
    exported = export.export(str(place / "du"), str(place / "paper"), authors=AUTHORS)
    return place / "du", place / "paper", exported


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make(folder, *targets):
    """What it says on standard error names every module that Python imports."""
    told = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    command = ["make", "-C", str(folder), f"PYTHON={sys.executable}", *targets]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=told)


def test_every_reader_sees_the_rows_that_were_recorded(made):
    out, folder, _ = made
    path = str(folder / f"data/{STEM}.parquet")
    (plan,) = records.read_plans(str(out))
    recorded = {one["cell_id"]: one for one in records.plan_rows(str(out), plan).to_pylist()}
    readers = {
        "pandas": pd.read_parquet(path, dtype_backend="pyarrow").to_dict("records"),
        "polars": pl.read_parquet(path).to_dicts(),
        "duckdb": duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table().to_pylist(),
    }
    for name, found in readers.items():
        assert len(found) == len(recorded) == 327, name
        assert {"n", "m", "flips", "commit", "packages", "code", "numerics"} <= set(found[0])
        assert not {*tidy.OF_THE_MACHINE, "curve_loss"} & set(found[0])
        for one in found:
            for column, value in one.items():
                if column != "reason":
                    told = recorded[one["cell_id"]][column]
                    assert (value is None or value is pd.NA) if told is None else value == told, (name, column)
    order = [(one["n"], one["m"], one["seed"]) for one in readers["polars"]]
    assert order == sorted(order)


def test_curves_are_lists_of_the_same_trainings(made):
    out, folder, _ = made
    path = str(folder / f"data/{STEM}-curves.parquet")
    curves = pl.read_parquet(path)
    assert curves["cell_id"].to_list() == pl.read_parquet(folder / f"data/{STEM}.parquet")["cell_id"].to_list()
    told = {one["cell_id"]: one["curve_loss"] for one in records.read_rows(str(out))[0].to_pylist()}
    assert dict(zip(curves["cell_id"], curves["curve_loss"].to_list(), strict=True)) == told
    long = duckdb.sql(f"SELECT cell_id, unnest(curve_step) AS step, unnest(curve_loss) AS loss FROM '{path}'")
    assert len(long.fetchall()) == 326 * 3


def test_points_count_what_the_trainings_say(made):
    _, folder, _ = made
    trainings = pl.read_parquet(folder / f"data/{STEM}.parquet")
    points = pl.read_parquet(folder / f"points/{STEM}.parquet")
    assert points["trainings"].sum() == len(trainings) and points["failed"].sum() == 1
    assert points["point_id"].to_list() == trainings["point_id"].unique(maintain_order=True).to_list()
    expected = trainings.group_by("point_id").agg(pl.col("success").mean(), pl.col("flips").median())
    both = points.join(expected, on="point_id")
    assert both["share"].to_list() == pytest.approx(both["success"].to_list())
    assert both["median_flips"].to_list() == pytest.approx(both["flips"].to_list())
    assert ((points["share_low"] <= points["share"]) & (points["share"] <= points["share_high"])).all()
    assert (points["share_high"] - points["share_low"]).min() > 0.2, "ten trainings tell no more"


def test_a_file_says_what_it_is(made):
    out, folder, _ = made
    path = folder / f"data/{STEM}.parquet"
    schema = pq.read_schema(path)
    assert all({b"meaning", b"unit", b"role"} <= set(field.metadata) for field in schema)
    recorded = pq.read_schema(next((out / "rows").iterdir()))
    assert schema.field("flips").metadata[b"meaning"] == recorded.field("flips").metadata[b"meaning"] == b"the flips"
    roles = {
        name: schema.field(name).metadata[b"role"].decode() for name in ("cell_id", "m", "seed", "success", "flips")
    }
    assert [*roles.values()] == ["identifier", "axis", "seed", "outcome", "measurement"]
    assert schema.field("dist_bound").metadata[b"role"] == b"bound", "a claim names it"
    pairs = duckdb.sql(f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{path}')").fetchall()
    told = {key: value for key, value in pairs if key != "ARROW:schema"}
    assert told["licence"] == "CC-BY-4.0" and told["schema_version"] == "1"
    assert told["creator"] == "; ".join(map(texts.clean, AUTHORS))
    assert "How wide?" in told["title"] and "How wide?" in told["citation"]
    (plan,) = records.read_plans(str(out))
    recorded = records.plan_rows(str(out), plan)
    reason = recorded.schema.get_field_index("reason")
    ((_, found, _),) = tidy.read(folder)
    assert told["rows_sha256"] == records.digest(found)
    assert records.digest(found.drop_columns(["reason"])) == records.digest(recorded.remove_column(reason))
    columns = {one["name"]: one for one in json.loads(told["columns"])}
    assert columns["flips"] == {
        "name": "flips", "type": "double", "unit": "1", "role": "measurement", "meaning": "the flips"
    }  # fmt: skip


def test_figures_tables_and_laws_are_those_of_the_report(tmp_path):
    out = small(tmp_path / "du", claims=planted.CLAIMS[3:4])  # drawn training by training, in an order
    report.write_report(out)
    export.export(out, str(tmp_path / "paper"))
    ours, theirs = contents(tmp_path / "paper"), contents(Path(out))
    drawn = {name for name in ours if name.startswith(("figures/", "tables/", "laws.json"))}
    assert drawn == {name for name in theirs if name.endswith((".pdf", ".tex")) or name == "laws.json"}
    assert len(drawn) > 3 and all(ours[name] == theirs[name] for name in drawn)


def test_make_draws_everything_anew_from_the_parquet_alone(made, tmp_path):
    _, folder, _ = made
    copy = tmp_path / "copy"
    shutil.copytree(folder / "data", copy / "data")
    shutil.copy(folder / "Makefile", copy)
    (copy / "figures").mkdir()
    done = make(copy, "figures")  # the folder of that name is no reason to make nothing
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "analysis.report" in imported and not {"torch", "ray", "mlflow", "optuna", "trainables"} & imported
    before = contents(folder)
    derived = {name for name in before if name.split("/")[0] in ("figures", "tables", "points", "laws.json")}
    assert set(contents(copy)) - {"Makefile"} == {name for name in before if name.startswith("data/")} | derived
    assert len(derived) > 10
    for name in derived:
        assert contents(copy)[name] == before[name], name
    shutil.copytree(folder, copy, dirs_exist_ok=True, ignore=lambda *_: ("data", "figures", "tables"))
    assert make(copy, "check").returncode == 0


@pytest.mark.parametrize("name", [f"data/{STEM}.parquet", f"figures/{STEM}.pdf", "README.md"])
def test_one_changed_byte_is_found(made, tmp_path, capsys, name):
    copy = shutil.copytree(made[1], tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[500] ^= 1
    (copy / name).write_bytes(content)
    done = make(copy, "check")
    assert done.returncode != 0 and name in done.stdout + done.stderr
    if name.startswith("data/"):
        assert export.main([str(copy)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{name}: " in line


def test_rows_that_were_changed_are_not_drawn(made, tmp_path, capsys):
    copy = shutil.copytree(made[1], tmp_path / "copy")
    for name, change, words in (
        (f"{STEM}-curves", lambda table: table.slice(1), "curves are those of other trainings"),
        (STEM, lambda table: table.set_column(*steps(table)), "rows are not those that were exported"),
        (STEM, lambda table: table.drop_columns(["m"]), "no column m"),
        (STEM, lambda table: table.drop_columns(["success"]), "no column success"),
    ):
        path = copy / f"data/{name}.parquet"
        before = path.read_bytes()
        pq.write_table(change(pq.read_table(path)), path)
        assert export.main([str(copy)]) == 2
        assert words in capsys.readouterr().err
        path.write_bytes(before)


def steps(table):
    index = table.schema.get_field_index("steps")
    return index, table.schema.field("steps"), pa.array([11] * len(table), pa.int64())


def test_the_same_rows_give_the_same_bytes(tmp_path):
    out = small(tmp_path / "du")
    export.export(out, str(tmp_path / "paper"))
    before = contents(tmp_path / "paper")
    (path,) = Path(out, "rows").iterdir()
    table = pq.read_table(path).sort_by([("loss", "descending"), ("seed", "descending")])
    for i, part in enumerate((table.slice(7), table.slice(0, 7))):  # other shards, in another order
        pq.write_table(part, path.with_name(f"{i}.parquet"))
    path.unlink()
    export.export(out, str(tmp_path / "paper"))
    assert contents(tmp_path / "paper") == before


def test_nothing_of_the_machine_is_in_it(made):
    for name, content in contents(made[1]).items():
        if name.endswith(".parquet"):
            table = pq.read_table(made[1] / name)
            content = repr((table.to_pylist(), table.schema.metadata, [f.metadata for f in table.schema])).encode()
        for word in ("wintermute", "4711", "10.0.0.7", "ada/", "secret", "/home", "/tmp", str(made[0])):
            assert word.encode() not in content, (name, word)
        assert not re.search(rf"\b{re.escape(socket.gethostname())}\b".encode(), content) or name.endswith(".pdf"), name
    ((plan, found, _),) = tidy.read(made[1])
    assert plan["command"] == "python sweeps/planted.py --n 8,16 --data-dir DIR --seeds 10"
    assert [one for one in found["reason"].to_pylist() if one] == ["cannot read 'x.bin' on HOST (ADDRESS)"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("python x.py --tracking_uri=sqlite:////home/a/m.db --n 4", "python x.py --n 4"),
        ("python x.py --out", "python x.py"), ("python /opt/w/x.py --out 's3://b/c?k' --m=1/2", "python x.py --m=1/2"),
        ("python x.py --out 'unbalanced /home/ada/y", "python x.py --out 'unbalanced y"),
    ],
)  # fmt: skip
def test_a_command_is_told_without_places(text, left):
    assert tidy.command(text) == left


def test_sums_name_every_file(made):
    files = contents(made[1])
    sums = dict(line.split("  ")[::-1] for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_the_package_is_valid_and_describes_the_files(made):
    _, folder, _ = made
    told = json.loads((folder / "datapackage.json").read_text())
    assert Package.validate_descriptor(told).valid
    assert not Package.validate_descriptor(told | {"resources": [{"name": "x"}]}).valid, "the check checks"
    assert [one["path"] for one in told["resources"]] == [
        f"data/{STEM}.parquet", f"data/{STEM}-curves.parquet", f"points/{STEM}.parquet"
    ]  # fmt: skip
    for one in told["resources"]:
        content = (folder / one["path"]).read_bytes()
        assert (one["bytes"], one["hash"]) == (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")
        assert [column["name"] for column in one["schema"]["fields"]] == pq.read_schema(folder / one["path"]).names
    assert told["contributors"][0]["familyName"] == "Lovelace"
    dictionary = (folder / "DICTIONARY.md").read_text()
    assert "| `flips` | `double` | `1` | measurement | the flips |" in dictionary
    assert "| `curve_loss` | `list<double>` | `1` | curve | curve_loss |" in dictionary
    assert told["licenses"] == [{"name": "CC-BY-4.0", "path": "https://spdx.org/licenses/CC-BY-4.0.html"}]


def test_the_citation_is_yaml_with_what_it_must_have(made):
    told = yaml.safe_load((made[1] / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(told)
    assert (told["type"], told["license"], told["date-released"]) == ("dataset", "CC-BY-4.0", "2026-01-02")
    assert told["authors"] == [
        {"family-names": "Lovelace", "given-names": "Ada"}, {"name": ODD}, {"name": "--- evil: yes"}
    ]  # fmt: skip
    assert re.fullmatch("sha256:[0-9a-f]{64}", told["identifiers"][0]["value"])


def test_the_python_of_the_readme_runs(made):
    text = (made[1] / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 3
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=made[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "rows_sha256" in done.stdout, done.stderr
    (query,) = re.findall(r"```sql\n(.*?);", text, re.S)
    assert len(duckdb.sql(query.replace("data/", f"{made[1]}/data/")).fetchall()) == 326 * 3
    assert "**Unfinished: 3 of the 330 trainings asked for are missing.**" in text
    assert "Authors not given" not in text and COMMAND not in text


def small(place, **more):
    planted.plan(place, {"m": [4, 8], "n": [8], "d": [8]}, **({"claims": []} | more))
    planted.write(place, planted.rows({"m": [4, 8], "n": [8], "d": [8]}))
    return str(place)
