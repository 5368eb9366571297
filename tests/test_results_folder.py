"""A results folder survives crashes, foreign files and full disks; what it cannot survive it says in one line."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.store import records, schema, shards, storage
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


# ---------------------------------------------------------------------------------------------------------- crashes

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


# --------------------------------------------------------------------------------------------------- foreign things


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


# --------------------------------------------------------------------------------------------- folders and disks


def below_a_file(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path / "file" / "du"


def in_proc(_):
    return Path("/proc/du")


@pytest.mark.parametrize("folder", [below_a_file, in_proc], ids=lambda folder: folder.__name__)
def test_a_folder_that_cannot_be_written_is_named(tmp_path, folder):
    out = str(folder(tmp_path))
    refused(lambda: records.write_shard(out, [row(1)], SCHEMA), "cannot write", out)
    refused(lambda: records.write_plan(out, {"plan_id": "p"}), "cannot write", out)
    refused(lambda: records.set_aside(out, [storage.Foreign(f"{out}/rows/x", "")]), "cannot set aside", f"{out}/rows/x")
    assert widths(out) == []


def test_a_file_where_rows_should_be_is_named(tmp_path):
    (tmp_path / "rows").touch()
    refused(lambda: records.read_rows(str(tmp_path)), "cannot read", f"{tmp_path}/rows")
    refused(lambda: records.write_shard(str(tmp_path), [row(1)], SCHEMA), "cannot write")


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))


FILLER = """
import os, sys
from infra.store import records, storage
from tests.test_results_folder import SCHEMA, row
records.write_shard(sys.argv[1], [row(1)], SCHEMA)
try:
    records.write_shard(sys.argv[1], [row(i) | {"host": os.urandom(500).hex()} for i in range(1000)], SCHEMA)
except storage.ResultsError as error:
    print(error)
table, foreign = records.read_rows(sys.argv[1])
print(len(table), foreign, len(os.listdir(sys.argv[1] + "/rows")))
"""


@pytest.mark.parametrize("disk", ["files limited to 64 KiB", "a file system of 64 KiB"])
def test_a_full_disk_loses_nothing_recorded_and_leaves_no_part_of_a_shard(tmp_path, disk):
    out, expected = str(tmp_path / "du"), "No space left on device"
    command = [sys.executable, "-c", FILLER, f"{out}/x"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    Path(out).mkdir()
    if disk == "files limited to 64 KiB":
        expected = "File too large"
        done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=limited)
    else:
        mount = f'mount -t tmpfs -o size=64k none "{out}" && exec "$@"'
        alone = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]
        done = subprocess.run([*alone, *command], env=environment, capture_output=True, text=True)
        if "unshare" in done.stderr or "mount" in done.stderr:
            pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    assert done.stderr == ""
    error, rest = done.stdout.splitlines()
    assert error.startswith(f"cannot write {out}/x/rows/")
    assert expected in error
    assert rest == "1 [] 1"


@pytest.mark.parametrize("scheme", ["file://", "fsspec+memory://"])
def test_a_uri_is_a_results_folder(tmp_path, scheme):
    """``memory`` is a file system that is not local, as an object store is: no rename, no fsync."""
    out = f"{scheme}{tmp_path}/du"
    name = records.write_shard(out, [row(1), row(2)], SCHEMA)
    records.write_plan(out, {"plan_id": "p", "created": "2026-01-01"})
    filesystem, root = storage.locate(out)
    with filesystem.open_output_stream(f"{root}/rows/notes") as stream:
        stream.write(b"hello")
    table, foreign = records.read_rows(out)
    assert sorted(table["m"].to_pylist()) == [1, 2]
    assert [Path(path).name for path, _ in foreign] == ["notes"]
    records.set_aside(out, foreign)
    assert records.read_rows(out)[1] == []
    assert records.recorded(out)[0] == {row(1)["cell_id"], row(2)["cell_id"]}
    assert records.read_plan(out, "p")["created"] == "2026-01-01"
    assert (tmp_path / "du" / "rows" / f"{name}.parquet").exists() == (scheme == "file://")


@pytest.mark.parametrize("uri", ["foo://x", "://", "file://relative/x", "fsspec+nothing://x", "s3://"])
def test_a_uri_that_is_none_gets_one_line(uri):
    refused(lambda: records.read_rows(uri), f"--out {uri}", "give a local path or a pyarrow filesystem URI")


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
    assert opened == [first, last]
    opened.clear()
    assert records.read_rows(out)[0].equals(before) and opened == []
    Path(first).write_bytes(b"of no use")
    assert [file.path for file in records.read_rows(out)[1]] == [first]
    assert set(opened) == {first}, "and the other is remembered"
