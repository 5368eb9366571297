"""What is said of the time left."""

from collections import Counter

from infra.planning.packs import Pack
from infra.progress import Progress


def test_the_start_of_ray_and_its_workers_is_no_training():
    """Half of the work took 4 s of training: as much is left, whatever was waited for before."""
    columns = {"n": 8, "m": [8, 16], "d": 4, "seed": 0}
    packs = [Pack("random_features", columns, 2, 1.0, 0) for _ in range(2)]
    progress = Progress(packs, Counter(), {"over": "n", "critical": "m"}, quiet=True)
    progress.began -= 100
    assert progress.far(0, 100.0) == "0/4 trainings, 4 to go, 1:40 gone, time left unknown"
    progress.update(0, "fu", 4.0)
    assert progress.far(2, 104.0) == "2/4 trainings, 2 to go, 1:44 gone, about 0:04 left"
