"""Faults by the dozen: a sweep goes on through them and ends with the rows of an undisturbed one.

    python tests/chaos.py [--faults 50] [--seed 0] [--table benchmarks/chaos.md]

Needs root. Three hosts, each a network namespace of this machine, run one Ray; the driver, MLflow and the PostgreSQL
behind it run on the first. One fault after another is done and undone, chosen and timed by the seed. A driver that has
ended is started again with the same command, with more seeds where all was recorded. In the end every planned cell must
be recorded exactly once, with the bits of an undisturbed run, and MLflow must say what the rows say.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import stage as world
from hosts import ROOT, Host, wait, wire
from stage import Stage, kill, processes, staged

from infra import options
from infra.packing import pack
from infra.planning import plan
from infra.store import records
from sweeps.width_vs_n import SWEEP

SEEDS = 20
GRID = ["--n=64,96", "--m=16:128:octave", "--d=8", "--step_size=0.2", "--max_steps=50000", "--to-the-end"]
BETWEEN = (0.5, 3.0)  # seconds from the end of one fault to the next
HELD = (1.0, 5.0)  # seconds that a fault lasts which does not end by itself
PATIENCE = 240.0  # seconds until something must train again
TRAINING = "ResourceTrainable.train"  # how Ray names a process that trains
DRIVER, FAMILY = "width_vs_n.py", "two_layer_relu"


@dataclass
class Campaign:
    """A sweep under fire: ``driver`` is its process, ``told`` the faults so far."""

    stage: Stage
    random: random.Random
    seeds: int = SEEDS
    more: int = SEEDS  # seeds, each time that all is recorded
    driver: "subprocess.Popen[str] | None" = None
    starts: int = 0
    told: list[tuple[str, str]] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)  # names of shards that a fault has copied
    surplus: tuple[int, int] = (0, 0)  # in the end

    def command(self, out: Path) -> list[str]:
        return [sys.executable, str(ROOT / "sweeps" / DRIVER), *GRID, f"--seeds={self.seeds}", f"--out={out}"]

    def drive(self) -> None:
        """See that a driver runs, with more to train where the last one has ended well."""
        if self.driver and self.driver.poll() is None:
            return
        if self.driver and self.driver.returncode == 0:
            self.seeds += self.more
        self.starts += 1
        given = f"--address={self.stage.address} --tracking-uri={world.URI}"
        line = f"{' '.join(self.command(self.stage.out))} {given}"
        self.driver = world.launch(self.stage.head, line, self.stage.folder / "driver.log")

    def training(self, without: Host | None = None) -> list[psutil.Process]:
        """The processes that train, but on the node ``without``, once there is one; drivers are started until then."""
        nodes = [node for node in self.stage.nodes if node is not without]
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.drive()
            if found := [one for node in nodes for one in processes(node, TRAINING)]:
                return found
            time.sleep(0.2)
        raise SystemExit(f"nothing trains for {PATIENCE:.0f} s:\n{self.log()}")

    def hold(self) -> float:
        """Let a fault last; for how long."""
        seconds = self.random.uniform(*HELD)
        time.sleep(seconds)
        return seconds

    def log(self) -> str:
        return (self.stage.folder / "driver.log").read_text()[-4000:]


def worker(campaign: Campaign) -> str:
    campaign.random.choice(campaign.training()).kill()
    return "a process that trains is killed"


def node(campaign: Campaign) -> str:
    """As a spot instance is taken back, and another comes."""
    host = campaign.random.choice(campaign.stage.nodes[1:])
    kill(host, "ray")
    seconds = campaign.hold()
    world.join(campaign.stage, host)
    return f"node {host.name} is gone; another joins after {seconds:.0f} s"


def driver(campaign: Campaign) -> str:
    campaign.training()
    kill(campaign.stage.head, DRIVER)
    campaign.driver.wait()
    return "the driver is killed"


def mlflow(campaign: Campaign) -> str:
    kill(campaign.stage.head, "mlflow")
    seconds = campaign.hold()
    world.serve(campaign.stage)
    return f"the MLflow server is killed, and started again after {seconds:.0f} s"


def postgresql(campaign: Campaign) -> str:
    kill(campaign.stage.head, "postgres")
    seconds = campaign.hold()
    world.store(campaign.stage)
    return f"PostgreSQL is killed, and started again after {seconds:.0f} s"


def disk(campaign: Campaign) -> str:
    filler = campaign.stage.out.parent / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(2**20)):
            pass
    seconds = campaign.hold()
    filler.unlink()
    return f"the disk of the results is full for {seconds:.0f} s"


def network(campaign: Campaign) -> str:
    host = campaign.random.choice(campaign.stage.nodes[1:])
    wire(campaign.stage.hosts, host.name, "down")
    seconds = campaign.hold()
    wire(campaign.stage.hosts, host.name, "up")
    return f"node {host.name} is cut off for {seconds:.0f} s"


def isolation(campaign: Campaign) -> str:
    """Until Ray counts on the node no more. The process there is held in its block until its pack is trained elsewhere,
    and then goes on beside that: it does not know, and may write its rows, on a disk that it still sees."""
    stage, one = campaign.stage, campaign.random.choice(campaign.training())
    (host,) = [node for node in stage.nodes if one in processes(node, TRAINING)] or stage.nodes[1:2]
    with suppress(psutil.Error):
        one.send_signal(signal.SIGSTOP)
    wire(stage.hosts, host.name, "down")
    began = time.monotonic()
    wait(lambda: host.address not in world.alive(stage), f"Ray to give up {host.name}")
    given_up = time.monotonic() - began
    campaign.training(without=host)
    with suppress(psutil.Error):
        one.send_signal(signal.SIGCONT)
    lives = "goes on beside that" if one.is_running() else "is gone"
    seconds = campaign.hold()
    wire(stage.hosts, host.name, "up")
    wait(lambda: not processes(host, "raylet"), f"Ray on {host.name} to hear of it, and to end")
    kill(host, "ray")
    world.join(stage, host)
    return (
        f"node {host.name} is cut off and given up after {given_up:.0f} s, its pack goes on elsewhere, its process "
        f"{lives} for {seconds:.0f} s; then it joins anew"
    )


def late(campaign: Campaign) -> str:
    """Rows that come later than those of packs that began after theirs."""
    one = campaign.random.choice(campaign.training())
    with suppress(psutil.Error):
        one.send_signal(signal.SIGSTOP)
    seconds = campaign.hold()
    with suppress(psutil.Error):
        one.send_signal(signal.SIGCONT)
    return f"a process that trains stands still for {seconds:.0f} s"


def shards(campaign: Campaign) -> list[Path]:
    return sorted((campaign.stage.out / "rows").glob("[!.]*.parquet"))


def twice(campaign: Campaign) -> str:
    one = campaign.random.choice(wait(lambda: shards(campaign), "a shard"))
    with suppress(OSError):  # the disk may be full
        name = f"{campaign.random.getrandbits(80):020x}.parquet"
        shutil.copy(one, one.with_name(name))
        campaign.copied.append(name)
    return "a shard comes a second time, under another name"


FAULTS: dict[str, Callable[[Campaign], str]] = {
    one.__name__: one for one in (worker, node, driver, mlflow, postgresql, disk, network, isolation, late, twice)
}


def chosen(count: int, source: random.Random) -> list[str]:
    """So many faults in a random order, of each kind as many as of any other, or one less."""
    names = [list(FAULTS)[i % len(FAULTS)] for i in range(count)]
    source.shuffle(names)
    return names


def survive(campaign: Campaign, faults: Sequence[str]) -> None:
    """One fault after another, while something trains; then the sweep to its end."""
    for i, name in enumerate(faults, 1):
        campaign.training()
        time.sleep(campaign.random.uniform(*BETWEEN))
        campaign.told.append((name, FAULTS[name](campaign)))
        print(f"{i} of {len(faults)}: {campaign.told[-1][1]}", flush=True)
    wait(lambda: world.answers(campaign.stage), "MLflow", PATIENCE)
    for _ in range(3):  # a driver that was under the last faults may have ended with an error, and said how to go on
        if campaign.driver is None or campaign.driver.poll():
            campaign.drive()
        if campaign.driver.wait(timeout=900) == 0:
            return
    raise SystemExit(f"the sweep does not end:\n{campaign.log()}")


def differences(campaign: Campaign, folder: Path, every: int = 1) -> dict[str, int]:
    """What must be 0. The undisturbed rows of one in ``every`` grid points are trained here, in packs of all seeds of
    one, without Ray."""
    alone = str(folder / "undisturbed")
    request = options.parse(SWEEP, campaign.command(Path(alone))[2:])
    cells = plan.grid(FAMILY, request.axes, campaign.seeds)
    for m, n in sorted({(cell.m, cell.n) for cell in cells}, key=lambda point: point[::-1])[::every]:
        training = pack.start(FAMILY, [cell for cell in cells if (cell.m, cell.n) == (m, n)])
        while not pack.finished(training):
            pack.advance(training)
        records.write_shard(alone, pack.rows(training), plan.row_schema(FAMILY))
    (kept, foreign), ours = records.read_rows(str(campaign.stage.out)), records.read_rows(alone)[0]
    lacking = len(plan.unrecorded(FAMILY, cells, set(kept["cell_id"].to_pylist())))
    return {
        "planned cells without a row": lacking,
        "rows beyond one for each planned cell, as read": len(kept) - (len(cells) - lacking),
        "files that are no shard": len(foreign),
        "shards that differ from the undisturbed rows": sum(differs(path, ours) for path in shards(campaign)),
        "digests of the rows that differ": int(records.digest(common(kept, ours)) != records.digest(ours)),
        "grid points of which MLflow says something else": world.disagreements(campaign.stage),
    }


def surplus(campaign: Campaign) -> tuple[int, int]:
    """Rows that lie in the shards beyond one for each cell and are passed over when read: by a fault's copies, and by
    packs of which two processes did not know of each other."""
    rows = {path.name: pq.read_table(path, columns=["cell_id"])["cell_id"].to_pylist() for path in shards(campaign)}
    copies = sum(len(ids) for name, ids in rows.items() if name in campaign.copied)
    return copies, sum(map(len, rows.values())) - len({one for ids in rows.values() for one in ids}) - copies


def differs(path: Path, ours: pa.Table) -> bool:
    """Whether a shard, copies and late ones too, says anything else of its cells than the undisturbed rows."""
    said = pq.read_table(path)
    return records.digest(common(said, ours)) != records.digest(common(ours, said))


def common(table: pa.Table, other: pa.Table) -> pa.Table:
    """The rows whose cells the other table has too."""
    return table.filter(pc.is_in(table["cell_id"], other["cell_id"].combine_chunks()))


def heard(number: int, _: object) -> None:
    """At a signal: end as after an error, once, so that hosts and mounts go. More signals would spoil that."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)


def run(faults: int, seed: int, names: Sequence[str] | None = None) -> tuple[Campaign, dict[str, int]]:
    """A campaign from nothing; ``names`` in place of random kinds."""
    with TemporaryDirectory(prefix="chaos-") as name, staged(Path(name)) as stage:
        source = random.Random(seed)
        campaign = Campaign(stage, source)
        survive(campaign, names or chosen(faults, source))
        campaign.surplus = surplus(campaign)
        return campaign, differences(campaign, Path(name))


def table(campaign: Campaign, found: dict[str, int], seed: int, minutes: float) -> str:
    kinds, (copies, twice_trained) = Counter(name for name, _ in campaign.told), campaign.surplus
    head = [
        "# Chaos", "",
        f"Written by `python tests/chaos.py --faults {len(campaign.told)} --seed {seed}`: {len(campaign.told)} faults",
        f"in {minutes:.0f} min, {8 * campaign.seeds:,} trainings, the driver started {campaign.starts} times.", "",
        "| must be 0 | is |", "|---|---|", *(f"| {name} | {count} |" for name, count in found.items()), "",
        f"Passed over when read, for a cell has one row: {copies} rows of copied shards, and {twice_trained} of packs",
        "that a process which was cut off, and another one in its place, have both trained.", "",
        "| fault | times |", "|---|---|", *(f"| {name} | {count} |" for name, count in sorted(kinds.items())), "",
        *(f"{i}. {text}" for i, (_, text) in enumerate(campaign.told, 1)),
    ]  # fmt: skip
    return "\n".join(head) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, heard)
    began = time.monotonic()
    campaign, found = run(given.faults, given.seed)
    text = table(campaign, found, given.seed, (time.monotonic() - began) / 60)
    print(text)
    if given.table:
        given.table.write_text(text)
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
