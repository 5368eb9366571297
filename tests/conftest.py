"""In every test shapes and types are checked at run time: beartype enforces the jaxtyping annotations of trainables."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook
from threadpoolctl import threadpool_limits

threadpool_limits(1, "blas")  # NumPy may be there already, loaded by a plugin, with threads that wait by turning round

install_import_hook("trainables", "beartype.beartype")

from browsing import browser  # noqa: F401  a fixture
from hosts import hosts  # noqa: F401  a fixture
