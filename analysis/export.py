"""A results folder -> a folder to publish with a paper; and that folder's figures and tables again, from its data.

    widthlaw export results/du --paper DIR
    python -m analysis.export DIR            # what DIR/Makefile calls

Figures, tables and laws are made from the Parquet files just written, by the code that makes them again. No model is
imported, nothing trained.
"""

import argparse
import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import laws_file, report
from analysis.board.board import board
from analysis.figures.style import encoded
from analysis.pages import tables
from analysis.pages.cells import NONE
from analysis.pages.page import Picture, Section
from analysis.paper import LICENCE, dictionary, points, texts, tidy
from analysis.paper.texts import Publication
from analysis.study import studied
from analysis.titles import sweep_title
from infra.store import records, storage
from infra.store.schema import SCHEMA_VERSION
from infra.store.storage import ResultsError

SUMS, PACKAGE = "SHA256SUMS", "datapackage.json"
SEVERAL = re.compile(r"[;&]| and |,.*,")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
Plan = dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the folder, trainings and those missing by sweep, sweeps without rows, number of files."""

    folder: Path
    trainings: dict[str, int]
    missing: dict[str, int]
    empty: list[str]
    files: int
    authors: tuple[str, ...]

    def __str__(self) -> str:
        lines = []
        for name, rows in self.trainings.items():
            missing = self.missing[name]
            left = f"; unfinished, {missing:,} of {rows + missing:,} missing" if missing else ""
            lines.append(f"{name}: {rows:,} trainings{left}")
        lines += [f"{name}: no trainings recorded, left out" for name in self.empty]
        lines += [] if self.authors else ["no --author given: add yourself before it is published"]
        lines += [
            f"--author '{name}' is cited as one name; of several people give each an --author of their own"
            for name in self.authors
            if SEVERAL.search(name)
        ]
        return "\n".join([*lines, f"{self.folder}: {self.files} files; make -C {self.folder} makes the figures again"])


def export(results: str, paper: str, licence: str = LICENCE, authors: Sequence[str] = ()) -> Exported:
    """Write the data set of all sweeps of a results folder to the folder ``paper``, or in place of an earlier export
    there. ResultsError for a folder with anything else in it, and for results without rows."""
    if "://" in paper or not paper.strip():
        raise ResultsError(f"--paper {paper!r}: give a local folder")
    target = Path(paper).absolute().resolve()
    if "://" not in results and Path(results).resolve() in target.parents:
        raise ResultsError(f"--paper {paper}: it is inside the results folder; give another place")
    try:
        vacant(target)
        about, plans, empty = described(results, licence, authors)
        with alone(target.parent):
            sections, count = published(target, about, plans)
    except OSError as error:
        raise ResultsError(f"cannot write {target}: {storage.first_line(error)}") from None
    trainings = {one.found.stem: len(one.found.rows) for one in sections}
    missing = {one.found.stem: one.found.counts["not recorded"] for one in sections}
    return Exported(Path(paper), trainings, missing, empty, count, about.authors)


def published(target: Path, about: Publication, plans: Sequence[tuple[Plan, pa.Table]]) -> tuple[list[Section], int]:
    """Write the folder beside ``target``, and put it there once it is whole: its sections and number of files."""
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.unfinished")
    left = f".{glob.escape(target.name)}.{8 * '[0-9a-f]'}"  # of exports that were killed
    try:
        for folder in target.parent.glob(f"{left}.unfinished"):
            shutil.rmtree(folder, ignore_errors=True)
        beside.mkdir()
        for plan, rows in plans:
            for name, content in tidy.files(plan, rows, metadata(about, plan, rows)).items():
                storage.write_bytes(str(beside), name, content)
        sections = rebuild(beside)
        write_texts(beside, about, sections)
        count = write_sums(beside)
        vacant(target)
        swap(beside, target)
        for folder in target.parent.glob(f"{left}.earlier"):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sections, count


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Meanwhile another export into ``folder`` waits: it would take this one's unfinished files for a killed one's."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another export into {folder}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a network's file system that locks no folders
            pass
        yield
    finally:
        os.close(handle)


def vacant(target: Path) -> None:
    """ResultsError unless there is nothing at ``target``, an empty folder, or an earlier export and nothing else."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ResultsError(f"--paper {target}: it is a file; give a folder")
    if (target / "plans").is_dir():
        raise ResultsError(f"--paper {target}: it is a results folder; give another")
    sums = target / SUMS
    text = sums.read_text(errors="replace") if sums.is_file() else ""
    ours = {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (.+)$", text, re.M)}
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if (path.is_dir() and not path.is_symlink()) or name == SUMS:
            continue
        if path.is_symlink() or name not in ours:
            raise ResultsError(f"--paper {target}: {name} is no part of an export; move it, or give another folder")
        if hashlib.sha256(path.read_bytes()).hexdigest() != ours[name]:
            raise ResultsError(
                f"--paper {target}: {name} was changed since it was exported; delete it, or give another folder"
            )


def read(results: str) -> tuple[list[tuple[Plan, pa.Table]], list[str]]:
    """The plans with rows, as they are published, and the names of those without."""
    found: list[tuple[Plan, pa.Table]] = []
    empty = []
    for plan in records.plans_to_report(results):
        rows = records.plan_rows(results, plan)
        if len(rows):
            recipe = tidy.published_plan(plan)
            found.append((recipe, tidy.published_rows(recipe, rows)))
        else:
            empty.append(tidy.stem(plan))
    if not found:
        raise ResultsError(f"{results} holds no trainings yet; run the sweep first")
    stems = [tidy.stem(plan) for plan, _ in found]
    if twice := next((name for name in stems if stems.count(name) > 1), ""):
        raise ResultsError(f"{results} has two plans whose files would be called {twice}; export them from two folders")
    return found, empty


def described(
    results: str, licence: str, authors: Sequence[str]
) -> tuple[Publication, list[tuple[Plan, pa.Table]], list[str]]:
    """What is said of the data set as a whole, and what ``read`` returns."""
    if not (allowed := texts.clean(licence)):
        raise ResultsError("--licence: empty; give an SPDX identifier such as CC-BY-4.0, or a text")
    plans, empty = read(results)
    names = ", ".join(dict.fromkeys(texts.clean(plan["sweep"]) for plan, _ in plans))
    title = f"Trainings of the sweep{'s' * (len(plans) > 1)} {names}"
    title += f": {texts.clean(plans[0][0]['claim'])}" if len(plans) == 1 else ""
    times = [time for _, rows in plans if "finished" in rows.column_names for time in rows["finished"].to_pylist()]
    date = DATE.match(max((time for time in times if time), default=""))
    creators = tuple(filter(None, map(texts.clean, authors)))
    return Publication(title, creators, allowed, date[0] if date else ""), plans, empty


def metadata(about: Publication, plan: Plan, rows: pa.Table) -> dict[str, str]:
    """What a Parquet file says of its table."""
    return {
        "title": f"Trainings of {texts.clean(sweep_title(plan))} ({plan['family']}): {texts.clean(plan['claim'])}",
        "description": f"One training a row. A training fits when: {texts.clean(plan['criterion'])}.",
        "schema_version": SCHEMA_VERSION,
        "licence": about.licence,
        "creator": about.creators,
        "citation": about.citation,
        "rows_sha256": records.digest(rows),
    }


def rebuild(folder: Path) -> list[Section]:
    """Points, figures, tables and laws of an exported folder, from its ``data/`` alone."""
    with mpl.rc_context():
        mpl.rcdefaults()  # not the user's own style: figures are the same for everybody
        sections = [rebuilt(str(folder), *one) for one in tidy.read(folder)]
    laws_file.write(str(folder), [laws_file.entry(one.found, one.board) for one in sections])
    return sections


def rebuilt(out: str, plan: Plan, rows: pa.Table, about: tidy.Metadata) -> Section:
    """The same for one plan; figures as PDF alone."""
    found = studied(plan, records.by_cell(rows))  # as a report reads them
    held = board(found)
    made = tables.files(found, held)
    files = points.files(plan, rows, about) | {name: text.encode() for name, text in made.items()}
    pictures = {}
    for key, (figure, caption, *_) in report.figures(found, held).items():
        pictures[key] = Picture(b"", report.named(found, key), caption, figure.get_figwidth())
        files[f"figures/{pictures[key].name}.pdf"] = encoded(figure, "pdf")
    for name, content in files.items():
        storage.write_bytes(out, name, content)
    return Section(found, held, pictures, tuple(made), NONE)


def write_texts(folder: Path, about: Publication, sections: Sequence[Section]) -> None:
    """README, dictionaries, citation, licence, Makefile."""
    paths = sorted(folder.glob("*/*.parquet"), key=lambda path: (path.parent, path.stem))  # a sweep before its curves
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    schemas = {name: pq.read_schema(pa.BufferReader(content)) for name, content in contents.items()}
    titles = {name: titled(name, schema) for name, schema in schemas.items()}
    papers = [line for one in sections for line in one.found.plan.get("paper", ())[1:]]
    hashes = {one.found.stem: one.found.sha256 for one in sections}
    told = {
        "README.md": texts.readme(about, sections),
        "DICTIONARY.md": dictionary.markdown_of(schemas),
        PACKAGE: dictionary.package(about, contents, titles, papers),
        "CITATION.cff": texts.citation(about, hashes),
        "LICENSE": texts.licence(about),
        "Makefile": texts.MAKEFILE,
    }
    for plan in (one.found.plan for one in sections):
        if text := plan.get("equations"):
            told[f"models/{plan['family']}.txt"] = f"{text}\n"
    for name, text in told.items():
        storage.write_bytes(str(folder), name, text.encode())


def titled(name: str, schema: pa.Schema) -> str:
    title = schema.metadata[b"title"].decode()
    return f"Along the training: {title}" if name.endswith("-curves.parquet") else title


def write_sums(folder: Path) -> int:
    """SHA256SUMS of all files, as ``sha256sum`` writes and checks it; how many files there are then."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files
    ]
    storage.write_bytes(str(folder), SUMS, "".join(lines).encode())
    return len(files) + 1


def swap(beside: Path, target: Path) -> None:
    """Put the finished folder in its place; an earlier export goes once the new one stands."""
    earlier = beside.with_suffix(".earlier")
    if target.exists():
        os.replace(target, earlier)  # noqa: PTH105  a folder
    try:
        os.replace(beside, target)  # noqa: PTH105
    except OSError:
        if earlier.exists():
            os.replace(earlier, target)  # noqa: PTH105
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 2 after one clear line."""
    parser = argparse.ArgumentParser(prog="python -m analysis.export", description="Make an export's figures again.")
    parser.add_argument("folder", type=Path, help="an exported folder")
    try:
        sections = rebuild(parser.parse_args(argv).folder)
    except ResultsError as error:
        print(f"widthlaw: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for one in sections:
        made = f"{len(one.pictures)} figures, {len(one.files)} tables"
        print(f"{one.found.stem}: {made} from {len(one.found.rows):,} trainings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
