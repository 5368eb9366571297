"""A results folder survives crashes and foreign files, and says so in one line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.store import records, schema, shards
from infra.store.schema import Column
from infra.store.storage import ResultsError

SCHEMA = schema.of_rows([Column("m", "int", "width", "units"), Column("seed", "int", "seed", "1")], [])
ROOT = Path(__file__).parent.parent


def row(i):
    return {"cell_id": f"{i:020x}", "family": "f", "numerics": "1", "m": i, "seed": 0, "outcome": "fit", "success": 1}


@pytest.fixture
def out(tmp_path):
    """A results folder with two shards of five rows."""
    for start in (0, 5):
        records.write_shard(str(tmp_path / "du"), [row(i) for i in range(start, start + 5)], SCHEMA)
    return str(tmp_path / "du")


def widths(out):
    table, _ = records.read_rows(out)
    return sorted(table["m"].to_pylist()) if len(table) else []


def refused(call, *parts):
    with pytest.raises(ResultsError) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert all(part in message for part in parts), message


def child(code, *arguments, **options):
    """Another Python process that runs ``code`` in the project's root."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, **options
    )


WRITER = """
import sys
from pathlib import Path
from infra.store import records, storage
data = Path(sys.argv[2]).read_bytes()
for i in range(10**6):
    storage.write_bytes(sys.argv[1], f"rows/{i}.parquet", data)
    print(i, flush=True)
"""


def test_a_process_killed_in_the_middle_of_a_write_leaves_whole_shards_only(tmp_path):
    """kill -9 the moment some file in rows/ is seen to be shorter than a shard, five times."""
    noise = pa.array([os.urandom(1024).hex() for _ in range(8000)])
    shard = pa.Table.from_pylist([row(i) for i in range(8000)], SCHEMA).set_column(0, SCHEMA.field(0), noise)
    pq.write_table(shard, tmp_path / "shard")
    size, folder = (tmp_path / "shard").stat().st_size, tmp_path / "du" / "rows"
    folder.mkdir(parents=True)
    for _ in range(5):
        process = child(WRITER, str(tmp_path / "du"), str(tmp_path / "shard"))
        assert process.stdout.readline() == "0\n"
        while not unfinished(folder, size):
            assert process.poll() is None
        process.kill()
        last = ["0", *process.stdout.read().split()][-1]
        process.wait()
        process.stdout.close()
        assert {path.stat().st_size for path in folder.glob("*.parquet")} == {size}
        assert all((folder / f"{i}.parquet").exists() for i in range(int(last) + 1)), "announced, hence there"
        table, foreign = records.read_rows(str(tmp_path / "du"))
        assert (len(table), foreign) == (8000, [])
        for path in folder.iterdir():
            path.unlink()


def unfinished(folder, size):
    """Whether a write is under way: some file, hidden or not, is shorter than a shard."""
    for path in folder.iterdir():
        try:
            if path.stat().st_size < size:
                return True
        except FileNotFoundError:
            continue  # renamed meanwhile
    return False


def test_nobody_sees_a_file_before_it_is_whole(out):
    """A reader that polls while another process replaces the same shard: always whole, ten rows."""
    (shard, *_) = sorted(Path(out, "rows").iterdir())
    process = child(WRITER.replace("{i}", "same"), out, str(shard))
    try:
        assert process.stdout.readline() == "0\n"
        end = time.monotonic() + 1
        while time.monotonic() < end:
            table, foreign = records.read_rows(out)
            assert (len(table), foreign) == (10, [])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def truncated(path, whole):
    path.write_bytes(whole.read_bytes()[:-100])


def without_data(path, whole):
    path.write_bytes(b"PAR1" + whole.read_bytes()[600:])


def foreign_parquet(path, _):
    pq.write_table(pa.table({"x": [1, 2]}), path)


def without_cells(path, _):
    pq.write_table(pa.table({"family": ["f"]}).replace_schema_metadata({schema.VERSION_KEY: b"1"}), path)


def text(path, _):
    path.write_text("m,n\n1,2\n")


def empty(path, _):
    path.touch()


def subfolder(path, whole):
    path.mkdir()
    (path / "more.parquet").write_bytes(whole.read_bytes())


def loop(path, _):
    path.symlink_to(path.name)


def dangling(path, _):
    path.symlink_to("/nowhere/at/all")


def pipe(path, _):
    os.mkfifo(path)


THINGS = [truncated, without_data, foreign_parquet, without_cells, text, empty, subfolder, loop, dangling, pipe]


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
@pytest.mark.parametrize("name", ["zzz.parquet", "000 notes"])
def test_what_is_no_shard_is_named_and_set_aside_and_the_rest_is_used(out, thing, name):
    path = Path(out, "rows", name)
    thing(path, sorted(Path(out, "rows").iterdir())[0])
    table, foreign = records.read_rows(out)
    assert sorted(table["m"].to_pylist()) == list(range(10))
    ((named, why),) = foreign
    assert named == str(path)
    assert why
    assert len(why.splitlines()) == 1
    records.set_aside(out, foreign)
    assert not os.path.lexists(path)
    assert os.path.lexists(Path(out, "set-aside", name))
    assert records.read_rows(out)[1] == []


def test_what_is_set_aside_twice_under_one_name_is_kept_twice(out):
    for content in ("first", "second"):
        Path(out, "rows", "notes").write_text(content)
        records.set_aside(out, records.read_rows(out)[1])
    assert {path.read_text() for path in Path(out, "set-aside").iterdir()} == {"first", "second"}


def test_a_link_to_a_shard_is_a_shard(out, tmp_path):
    records.write_shard(str(tmp_path / "other"), [row(77)], SCHEMA)
    (elsewhere,) = (tmp_path / "other" / "rows").iterdir()
    Path(out, "rows", "linked.parquet").symlink_to(elsewhere)
    assert widths(out) == [*range(10), 77]


def test_rows_of_another_schema_version_are_refused(out):
    old = pa.Table.from_pylist([row(99)], SCHEMA).replace_schema_metadata({schema.VERSION_KEY: b"0"})
    pq.write_table(old, f"{out}/rows/old.parquet")
    refused(lambda: records.read_rows(out), out, "schema 0", "this is schema 1", "give another --out")
    refused(lambda: records.recorded(out), "schema 0")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "\xff", '{"plan_id": "p"}'])
def test_a_plan_that_cannot_be_read_is_named(out, content):
    Path(out, "plans").mkdir()
    Path(out, "plans", "p.json").write_bytes(content.encode("latin-1"))
    refused(lambda: records.read_plans(out), f"{out}/plans/p.json is not a plan", "delete it")


def test_plans_come_back_oldest_first_and_an_unknown_one_is_named(out):
    plans = [{"plan_id": name, "created": f"2026-01-0{day}"} for name, day in (("b", 2), ("a", 3), ("c", 1))]
    for plan in plans:
        records.write_plan(out, plan)
    assert [plan["plan_id"] for plan in records.read_plans(out)] == ["c", "b", "a"]
    assert records.read_plan(out, "a") == plans[1]
    refused(lambda: records.read_plan(out, "z"), out, "no plan z", "run the sweep first")


def test_a_shard_that_is_written_anew_while_it_is_read_is_read_again(out, monkeypatch):
    """As by another driver in an object store, which has no rename: the parts that are read are of two versions."""
    shard = sorted(Path(out, "rows").iterdir())[0]
    whole, read = shard.read_bytes(), shards.read_once
    shard.write_bytes(whole[:-100])

    def meanwhile(*arguments):
        try:
            return read(*arguments)
        finally:
            shard.write_bytes(whole)

    monkeypatch.setattr(shards, "read_once", meanwhile)
    table, foreign = records.read_rows(out)
    assert foreign == [] and sorted(table["m"].to_pylist()) == list(range(10))


def test_a_shard_is_read_from_the_disk_again_only_when_it_has_changed(out, monkeypatch):
    read, opened = shards.read_once, []
    monkeypatch.setattr(shards, "read_once", lambda *arguments: (opened.append(arguments[1]), read(*arguments))[1])
    first, last = sorted(str(path) for path in Path(out, "rows").iterdir())
    before, _ = records.read_rows(out)
    assert sorted(opened) == [first, last], "by threads, in any order"
    opened.clear()
    assert records.read_rows(out)[0].equals(before) and opened == []
    Path(first).write_bytes(b"of no use")
    assert [file.path for file in records.read_rows(out)[1]] == [first]
    assert set(opened) == {first}, "and the other is remembered"
