"""A sweep under fire on three hosts: a short campaign of ``chaos.py``, and a spot instance that is taken back."""

from collections.abc import Iterator
from datetime import datetime

import chaos
import pytest
import stage as world
from hosts import lacking, skip_unless, wait
from stage import Stage, kill, processes, staged

from infra import records

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    skip_unless(lacking() or ("" if world.POSTGRESQL else "not installed: postgresql (make hosts)"))
    with staged(tmp_path_factory.mktemp("chaos")) as built:
        yield built


def test_a_sweep_ends_with_the_rows_of_an_undisturbed_one(stage, tmp_path):
    campaign = chaos.Campaign(stage, chaos.random.Random(1), seeds=6)
    chaos.survive(campaign, ["worker", "postgresql", "twice", "driver", "disk", "late"])
    assert campaign.starts >= 2
    found = chaos.differences(campaign, tmp_path)
    assert not any(found.values()), f"{found}\n{campaign.log()}"


def test_a_pack_of_a_node_that_is_taken_back_goes_on_elsewhere_from_its_last_block(stage):
    """Its seconds count what the lost node did, so that they are more than from when the other one took it up."""
    out = stage.out.parent / "spot"
    line = f"{chaos.sys.executable} {chaos.ROOT}/sweeps/width_vs_n.py --n=64 --m=16 --d=8 --seeds=2 --step_size=0.05"
    line += f" --tolerance=1e-9 --max_steps=300000 --budget=1000 --out={out} --address={stage.address}"
    driver = world.launch(stage.head, line, stage.folder / "spot.log")
    (place,) = wait(lambda: [node for node in stage.nodes if processes(node, chaos.TRAINING)], "a pack", 120)
    wait(lambda: list(out.glob("tune/**/checkpoint_00000[2-9]/pack.pt")), "a third checkpoint")
    kill(place, "ray")
    assert driver.wait(timeout=300) == 0, (stage.folder / "spot.log").read_text()
    (row, _) = records.read_rows(str(out))[0].to_pylist()
    span = datetime.fromisoformat(row["finished"]) - datetime.fromisoformat(row["started"])
    assert row["pack_seconds"] > span.total_seconds() + 3, "three blocks of two seconds, less what reports take"
    assert row["host"] != place.name
