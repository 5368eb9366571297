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


def pytest_collection_finish():
    gc.freeze()  # what was imported stays
    gc.enable()


def pytest_runtest_setup():
    checking.calls.clear()
