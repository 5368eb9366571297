"""Files of a results folder: a local path or any pyarrow filesystem URI. Whole files or none, errors in one line.

What a folder holds may be somebody else's: nothing is written outside it, whatever names and links it brings.
"""

import builtins
import os
import re
import sys
import uuid
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from unicodedata import category
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

UNREADABLE = (OSError, pa.ArrowException)  # what pyarrow raises for files and filesystems that do not do as asked
SECRET = re.compile(  # user:password, a user alone where that is a password, a password or a key among the options
    r"://[^?\s]*:[^?\s]*@|^(s3|gs|gcs|https?)://(?!anonymous@)[^/?\s]*@"
    r"|[?&;][^=&;]*(secret|pass|pwd|token|(?<!ssl)key|sas|sig)[^=&;]*=",
    re.IGNORECASE,
)
STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories: control, format, lone surrogates, ends of lines
ERROR = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit))\b", re.M)  # where a traceback ends


class ResultsError(Exception):
    """A results folder that cannot be used; the message says which, why, and what to do."""


class Foreign(NamedTuple):
    """A file in ``rows/`` that is not a shard of rows, and why."""

    path: str
    why: str


def secret(uri: str) -> bool:
    """Whether an address carries a password or a key, also where it is encoded."""
    return bool(SECRET.search(unquote(unquote(uri))))


def locate(out: str) -> tuple[pafs.FileSystem, str]:
    """Filesystem and path of ``out``: a local path or a URI such as s3://bucket/du. ResultsError if it is neither, or
    carries a password or a key: it would be in the list of processes, in plans and in what Ray passes on."""
    if "://" in out and secret(out):
        raise ResultsError(
            f"--out {out.partition(':')[0]}://...: the address carries a password or a key; leave it out, and give it "
            "in the environment of every node (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or in the store's own files"
        )
    try:
        if "://" in out:
            filesystem, path = opened(out)
            if not path.strip("/"):
                raise ValueError("it names no folder")
            return filesystem, path.rstrip("/")
        return pafs.LocalFileSystem(), str(Path(out).absolute())
    except (*UNREADABLE, ValueError, ImportError) as error:
        raise ResultsError(f"--out {out}: {first_line(error)}; give a local path or a pyarrow filesystem URI") from None


@lru_cache(maxsize=8)
def opened(uri: str) -> tuple[pafs.FileSystem, str]:
    """As pyarrow opens it, once a process: that may take questions over the network."""
    found: tuple[pafs.FileSystem, str] = pafs.FileSystem.from_uri(uri)
    return found


def within(out: str, name: str) -> tuple[pafs.FileSystem, str]:
    """Filesystem and path of ``out``/``name``. ResultsError where that is not inside ``out``, by name or by a link."""
    filesystem, root = locate(out)
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise ResultsError(f"{out} asks for a file {name[:100]!r}, which would not lie in it; who wrote that folder?")
    if is_local(filesystem) and not Path(root, path).parent.resolve().is_relative_to(Path(root).resolve()):
        raise ResultsError(
            f"{root}/{path.parent} is a link out of {root}; remove it, or give the place itself as --out"
        )
    return filesystem, f"{root}/{name}"


def beside(out: str, name: str) -> str:
    """The address of a file of a results folder; a URI's options (``?endpoint_override=...``) stay at its end."""
    place, mark, options = out.partition("?") if "://" in out else (out, "", "")
    return f"{place.rstrip('/')}/{name}{mark}{options}"


def parted(address: str) -> tuple[str, str]:
    """Folder and name of a file's address, the inverse of ``beside``."""
    place, mark, options = address.partition("?") if "://" in address else (address, "", "")
    folder, _, name = place.rstrip("/").rpartition("/")
    return f"{folder or '.'}{mark}{options}", name


def write_bytes(out: str, name: str, data: bytes) -> None:
    """Write ``out``/``name`` so that readers see the whole file or none. ResultsError when it cannot be written.

    Locally: temporary file, fsync, rename, fsync of the folder. An object store publishes only complete objects.
    """
    filesystem, path = within(out, name)
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


def move(filesystem: pafs.FileSystem, source: str, target: str) -> None:
    """Move a file or folder. An object store has no rename: it is copied, then deleted, and what another driver has
    moved before is not missed."""
    filesystem.create_dir(target.rsplit("/", 1)[0], recursive=True)
    if is_local(filesystem):
        filesystem.move(source, target)
        return
    try:
        if filesystem.get_file_info(source).type == pafs.FileType.Directory:
            pafs.copy_files(source, target, filesystem, filesystem)
            filesystem.delete_dir(source)
        else:
            filesystem.copy_file(source, target)
            filesystem.delete_file(source)
    except OSError:
        if filesystem.get_file_info(source).type != pafs.FileType.NotFound:
            raise


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


def tell(text: str) -> None:
    """Print, also to a reader that stops early (``| head -1``): that is no error. Texts may be somebody else's."""
    try:
        print("\n".join(map(printable, text.split("\n"))), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more as it ends


def printable(text: object) -> str:
    """A text as one line for a terminal: a character that would steer it, hide or turn what follows is shown as "?"."""
    return "".join("?" if c != "\t" and category(c) in STEERING else c for c in str(text))


def last_line(error: BaseException | str) -> str:
    """The last line of an error's text: in a remote traceback, the error itself."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def of_files(told: str) -> bool:
    """Whether a traceback ends in an error of files, disks or networks, which may be gone at the next try."""
    names = [name.rpartition(".")[2] for name in ERROR.findall(told)] or [""]
    kind = getattr(builtins, names[-1], None)
    return names[-1] == ResultsError.__name__ or (isinstance(kind, type) and issubclass(kind, OSError))
