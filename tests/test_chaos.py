"""A sweep under fire on three hosts: a short campaign of ``chaos.py``."""

import chaos
import pytest
from hosts import skip_unless
from stage import missing, staged

pytestmark = pytest.mark.cluster

# In test_sweep.py and test_nodes.py, and two that are parts of an isolation; ``make chaos`` has all kinds.
ELSEWHERE = {"worker", "mlflow", "node", "disk", "network", "late"}


@pytest.mark.timeout(2400)  # some 3 min, on a machine with other work more
def test_a_sweep_ends_with_the_rows_of_an_undisturbed_one(tmp_path):
    skip_unless(missing())
    with staged(tmp_path) as stage:
        campaign = chaos.Campaign(stage, chaos.random.Random(1), seeds=36, more=6)
        names = [name for name in chaos.chosen(len(chaos.FAULTS), campaign.random) if name not in ELSEWHERE]
        chaos.survive(campaign, names)
        assert {name for name, _ in campaign.told} == set(chaos.FAULTS) - ELSEWHERE, "one of each other kind"
        assert campaign.starts >= 2
        found = chaos.differences(campaign, tmp_path, every=3)
        assert not any(found.values()), f"{found}\n{campaign.log()}"
        assert chaos.surplus(campaign)[0] > 0, "the copy of a shard is there, and passed over"
