"""Folders that cannot be written, full disks, and addresses in place of folders."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from test_results_folder import SCHEMA, refused, row, widths

from infra.store import records, storage

ROOT = Path(__file__).parent.parent


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
