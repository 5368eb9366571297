"""What of a cluster would spoil a sweep, told before it: versions, code, GPUs, storage, clocks, tracking, open doors.

Every node answers the same questions; what differs from this machine, or between nodes, is told in a line that says
what to mend.
"""

import contextlib
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import trainables
from infra import provenance
from infra.catalogue import tracking
from infra.catalogue.tracking import TrackingError
from infra.store import storage
from infra.store.storage import ResultsError

PACKAGES = ("ray", "torch", "numpy", "pyarrow", "mlflow", "optuna")
PATIENCE = 60.0  # seconds for a node's answer; the first one imports torch
SKEW = 2.0  # seconds between clocks beyond which the timeline of a sweep misleads
FULL = 0.95  # share of the disk below /tmp at which Ray takes no more tasks on a node
LEAST = 2**30  # bytes that results should find free
ASKED = 3  # readings of a clock, of which the quickest counts


@dataclass(frozen=True)
class Finding:
    """One line: all well, or what to mend, and how."""

    well: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.well else 'MEND'}  {self.text}"


@dataclass(frozen=True)
class Node:
    """What a node says of itself; ``lacks`` is why it could not be asked, "" if it was."""

    name: str
    lacks: str = ""
    versions: tuple[tuple[str, str], ...] = ()  # package, version; "" where it is not installed
    code: str = ""  # hash of widthlaw's source
    vectors: str = ""  # of its CPU, see trainables.vectors
    asks: bool = False  # whether its Ray was started to ask for a token
    lent: float = 0.0  # GPUs that Ray lends here
    cards: int = 0  # GPUs that torch can use
    skew: float = 0.0  # seconds that its clock is ahead of this machine's
    doubt: float = 0.0  # half the time that the question took
    full: float = 0.0  # share of the disk below /tmp
    unwritten: str = ""  # why it could not write to the results folder
    sees: bool = True  # whether it reads what this machine has written there


def examine(address: str | None, out: str, uri: str) -> Iterator[Finding]:
    """All findings, as they come, on a results folder and an MLflow store unless they are "". EngineError where the
    cluster does not answer, ResultsError where ``out`` is no place for results."""
    from infra import engine

    if out:
        storage.locate(out)  # refuses what it cannot open, and an address with a secret, before any node hears of it
    if uri:
        yield tracked(uri)
    token = f".doctor-{uuid.uuid4().hex}"
    if out:
        out = out if "://" in out else storage.locate(out)[1]  # a worker has another working directory
        yield from written(out, token)
    try:
        with engine.connected(address):
            alive = [node for node in ray.nodes() if node["Alive"]]
            nodes = [ask(node, out, token) for node in alive]
    finally:
        if out:
            remove(out, token)
    yield from doors(nodes, sorted({node["NodeManagerAddress"] for node in alive}))
    yield from compared(nodes, {name: installed(name) for name in ("python", *PACKAGES)}, provenance.code())
    yield from bits(nodes)
    yield from clocks(nodes)
    yield from cards(nodes)
    yield from disks(nodes)
    if out:
        yield from stored(nodes, out)


def tracked(uri: str) -> Finding:
    """Whether MLflow answers."""
    try:
        tracking.check(uri)
    except TrackingError as error:
        return Finding(False, str(error))
    return Finding(True, f"MLflow at {tracking.redacted(uri)} answers")


def doors(nodes: Sequence[Node], where: Sequence[str]) -> Iterator[Finding]:
    """Whether a cluster that others can reach, at the addresses ``where``, asks for a token, by what its nodes were
    started with."""
    asked = [node for node in nodes if not node.lacks]
    if all(address.startswith("127.") for address in where):
        yield Finding(True, "the cluster listens on loopback alone")
    elif not asked:  # why is told of each
        return
    elif all(node.asks for node in asked):
        yield Finding(True, f"the cluster on {', '.join(where)} asks for a token")
    else:
        yield Finding(
            False,
            f"anyone who reaches {', '.join(where)} can run code there: start Ray with RAY_AUTH_MODE=token on every "
            "node, and set it here too (infra/clusters/README.md)",
        )


def answers(out: str, token: str, name: str) -> dict[str, Any]:
    """Runs on a node."""
    import torch

    unwritten, sees = "", False
    try:
        if out:
            filesystem, root = storage.locate(out)
            sees = bool(filesystem.get_file_info(f"{root}/{token}").is_file)
            storage.write_bytes(out, f"{token}-{name}", b"")
            remove(out, f"{token}-{name}")
    except (ResultsError, *storage.UNREADABLE) as error:
        unwritten = storage.first_line(error).partition(": ")[2] or storage.first_line(error)
    disk = shutil.disk_usage("/tmp")
    return {
        "versions": tuple((each, installed(each)) for each in ("python", *PACKAGES)),
        "code": provenance.code(),
        "vectors": trainables.vectors(),
        "asks": asks(),
        "cards": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "full": 1 - disk.free / disk.total,
        "unwritten": unwritten,
        "sees": sees,
    }


def asks() -> bool:
    """Whether the raylet of this node, which started this process, was told to ask for a token."""
    with contextlib.suppress(OSError):
        told = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
        return b"RAY_AUTH_MODE=token" in told
    return os.environ.get("RAY_AUTH_MODE") == "token"


def clock() -> float:
    """Runs on a node."""
    return time.time()


def ask(node: dict[str, Any], out: str, token: str) -> Node:
    """One node's answers. A node that does not have the package, or does not answer in time, says what it lacks."""
    name, lent = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", node["Resources"].get("GPU", 0.0)
    there = {
        "num_cpus": 0,  # so that a busy cluster answers too
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
    }
    try:
        found = ray.get(ray.remote(answers).options(**there).remote(out, token, node["NodeID"]), timeout=PATIENCE)
        readings = []
        for _ in range(ASKED):
            before = time.time()
            told = ray.get(ray.remote(clock).options(**there).remote(), timeout=PATIENCE)
            after = time.time()
            readings.append(((after - before) / 2, told - (before + after) / 2))
    except ray.exceptions.GetTimeoutError:
        return Node(name, f"does not answer within {PATIENCE:.0f} s: see its logs in /tmp/ray/session_latest/logs")
    except ray.exceptions.RayError as error:
        return Node(name, storage.last_line(error))
    doubt, skew = min(readings)
    return Node(name, lent=lent, skew=skew, doubt=doubt, **found)


def installed(package: str) -> str:
    """Of a package, or of Python, on this node; "" where it is not installed."""
    try:
        return platform.python_version() if package == "python" else version(package)
    except PackageNotFoundError:
        return ""


def compared(nodes: Sequence[Node], here: dict[str, str], code: str) -> Iterator[Finding]:
    """Versions and code of each node beside this machine's."""
    for node in nodes:
        if node.lacks:
            yield Finding(False, f"{node.name} {node.lacks}")
            continue
        other = {name: found for name, found in node.versions if found != here[name]}
        for name, found in other.items():
            has = f"has {name} {found}" if found else f"has no {name}"
            yield Finding(False, f"{node.name} {has}, this machine {here[name]}: install the same on every node")
        if node.code != code:
            told = f"runs other code of widthlaw ({node.code}) than this machine ({code})"
            yield Finding(False, f"{node.name} {told}: install the same on every node")
    same = [node for node in nodes if not node.lacks and node.code == code and dict(node.versions) == here]
    if same:
        told = ", ".join(f"{name} {found}" for name, found in here.items())
        yield Finding(True, f"{counted(len(same))} with widthlaw {code}, {told}")


def bits(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Whether the CPUs round alike."""
    kinds = {node.vectors for node in nodes if not node.lacks}
    if len(kinds) > 1:
        told = f"the nodes' CPUs differ ({', '.join(sorted(kinds))}), so rows depend on the node, to rounding"
        yield Finding(False, f"{told}: for equal bits set MKL_CBWR=AVX2 and ATEN_CPU_CAPABILITY=avx2 on all")


def clocks(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Clocks that are off by more than can be the question's own delay."""
    asked = [node for node in nodes if not node.lacks]
    off = [node for node in asked if abs(node.skew) - node.doubt > SKEW]
    for node in off:
        way = "ahead" if node.skew > 0 else "behind"
        yield Finding(False, f"{node.name}: its clock is {abs(node.skew):.1f} s {way}: start a time service (chrony)")
    if asked and not off:
        most = max(abs(node.skew) for node in asked)
        yield Finding(True, f"clocks agree to {most + max(node.doubt for node in asked):.2f} s")


def cards(nodes: Sequence[Node]) -> Iterator[Finding]:
    """GPUs that Ray lends and torch cannot use, and such that lie idle."""
    asked = [node for node in nodes if not node.lacks]
    for node in asked:
        if node.cards < node.lent:
            yield Finding(
                False,
                f"{node.name}: Ray lends {node.lent:g} GPUs, torch can use {node.cards}: install a build of torch for "
                "its CUDA, or sweep with --gpus 0",
            )
        elif node.cards > node.lent:
            told = f"torch can use {node.cards} GPUs, Ray lends {node.lent:g}"
            yield Finding(False, f"{node.name}: {told}: start Ray there with --num-gpus {node.cards}")
    if asked and all(node.cards == node.lent for node in asked):
        yield Finding(True, f"{sum(node.cards for node in asked)} GPUs")


def written(out: str, token: str) -> Iterator[Finding]:
    """Whether this machine can write to the results folder."""
    try:
        storage.write_bytes(out, token, b"")
    except ResultsError as error:
        yield Finding(False, f"--out {out}: {error}")


def disks(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Nodes on which Ray will run nothing."""
    for node in nodes:
        if node.full > FULL:
            told = f"its disk below /tmp is {node.full:.0%} full, and Ray takes no tasks above {FULL:.0%}"
            yield Finding(False, f"{node.name}: {told}: make room there")


def stored(nodes: Sequence[Node], out: str) -> Iterator[Finding]:
    """Whether every node writes to the results folder, whether it is the same folder, and how much room it has."""
    asked, well = [node for node in nodes if not node.lacks], True
    shared = "a folder that all nodes share, or s3://bucket/NAME"
    for node in asked:
        if node.unwritten:
            well = False
            yield Finding(False, f"{node.name} cannot write to {out} ({node.unwritten}): give --out {shared}")
        elif not node.sees:
            well = False
            yield Finding(False, f"{node.name}: {out} there is another folder than here: give --out {shared}")
    filesystem, root = storage.locate(out)
    if storage.is_local(filesystem) and Path(root).is_dir() and (free := shutil.disk_usage(root).free) < LEAST:
        yield Finding(False, f"{out}: {free / 2**20:.0f} MiB free; a million rows take about 2 GiB")
    if well and asked:
        yield Finding(True, f"{counted(len(asked))} can write to {out}")


def remove(out: str, name: str) -> None:
    """Delete what was written to try."""
    with contextlib.suppress(ResultsError, *storage.UNREADABLE):
        filesystem, root = storage.locate(out)
        filesystem.delete_file(f"{root}/{name}")


def counted(count: int) -> str:
    return f"{count} node{'s' if count != 1 else ''}"
