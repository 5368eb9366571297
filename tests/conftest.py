"""In every test shapes and types are checked at run time: beartype enforces the jaxtyping annotations of trainables."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.disable()  # while modules are imported and tests collected there is nothing to collect, and looking takes seconds

from threadpoolctl import threadpool_limits

threadpool_limits(1, "blas")  # NumPy may be there already, loaded by a plugin, with threads that wait by turning round

import checking

checking.install("trainables")

from browsing import browser  # noqa: F401  a fixture
from catalogued import tracked, tracked_once  # noqa: F401  fixtures
from hosts import hosts  # noqa: F401  a fixture

LONGEST = [
    "test_chaos", "test_clusters", "test_sweep", "test_slurm", "test_nodes", "test_object_store", "test_tutorial",
    "test_mlflow_in_browser", "test_adaptive", "test_all_sweeps", "test_access", "test_short_worker", "test_engine",
    "test_doctor", "test_tuning", "test_tracking_goes_wrong", "test_ui", "test_families", "test_page_in_browser",
]  # fmt: skip


def pytest_ignore_collect(collection_path, config):
    """Of the part on clusters, files without such a test: importing them takes seconds in each process."""
    alone = config.option.markexpr == "cluster" and collection_path.suffix == ".py"
    return True if alone and "mark.cluster" not in collection_path.read_text() else None


def pytest_collection_modifyitems(items):
    """The longest files first, so that no core waits for one of them at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish():
    gc.freeze()  # what was imported stays
    gc.enable()


def pytest_runtest_setup():
    checking.calls.clear()
