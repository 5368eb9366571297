"""Files of a results folder: a local path or any pyarrow filesystem URI. Whole files or none, errors in one line."""

import os
import uuid
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs

UNREADABLE = (OSError, pa.ArrowException)  # what pyarrow raises for files and filesystems that do not do as asked


class ResultsError(Exception):
    """A results folder that cannot be used; the message says which, why, and what to do."""


class Foreign(NamedTuple):
    """A file in ``rows/`` that is not a shard of rows, and why."""

    path: str
    why: str


def locate(out: str) -> tuple[pafs.FileSystem, str]:
    """Filesystem and path of ``out``: a local path or a URI such as s3://bucket/du. ResultsError if it is neither."""
    try:
        if "://" in out:
            filesystem, path = pafs.FileSystem.from_uri(out)
            if not path.strip("/"):
                raise ValueError("it names no folder")
            return filesystem, path.rstrip("/")
        return pafs.LocalFileSystem(), str(Path(out).absolute())
    except (*UNREADABLE, ValueError, ImportError) as error:
        raise ResultsError(f"--out {out}: {first_line(error)}; give a local path or a pyarrow filesystem URI") from None


def write_bytes(out: str, name: str, data: bytes) -> None:
    """Write ``out``/``name`` so that readers see the whole file or none. ResultsError when it cannot be written.

    Locally: temporary file, fsync, rename, fsync of the folder. An object store publishes only complete objects.
    """
    filesystem, root = locate(out)
    path = f"{root}/{name}"
    folder = path.rsplit("/", 1)[0]
    try:
        filesystem.create_dir(folder, recursive=True)
        if not is_local(filesystem):
            with filesystem.open_output_stream(path) as stream:
                stream.write(data)
            return
        temporary = Path(folder) / f".{path.rsplit('/', 1)[1]}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except UNREADABLE as error:
        raise ResultsError(f"cannot write {path}: {first_line(error)}") from None


def is_local(filesystem: pafs.FileSystem) -> bool:
    return isinstance(filesystem, pafs.LocalFileSystem)


def list_folder(filesystem: pafs.FileSystem, folder: str) -> tuple[list[str], list[Foreign]]:
    """Paths of the files in a folder, sorted (none when it does not exist), and what else is there; not dot-files."""
    try:
        infos = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    except UNREADABLE as error:
        raise ResultsError(f"cannot read {folder}: {first_line(error)}") from None
    infos = [info for info in infos if not info.base_name.startswith(".")]
    files = sorted(info.path for info in infos if info.type == pafs.FileType.File)
    others = {info.path: "it is not a file" for info in infos if info.type != pafs.FileType.File}
    if is_local(filesystem) and Path(folder).is_dir():  # pyarrow passes over broken links
        others |= {str(path): "it is a broken link" for path in Path(folder).glob("[!.]*") if not path.exists()}
    return files, [Foreign(path, why) for path, why in sorted(others.items())]


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for messages of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def last_line(error: BaseException) -> str:
    """The last line of an error's text: in a remote traceback, the error itself."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
