"""Helpers: shapes and types checked at run time, at a cost that long trainings can bear.

A check takes as long as the few operations on small tensors that a function consists of, and the shapes of a training
are the same at every step: in each test a function is checked at its first calls, and from then on now and then.
"""

import functools
import inspect
from collections import Counter

import jaxtyping

FIRST, THEN = 24, 16  # calls that are all checked; of later ones every 16th
check = jaxtyping.jaxtyped
calls = Counter()  # of every function since the test began


def jaxtyped(function=None, *, typechecker):
    """In place of jaxtyping's decorator of this name, which checks every call."""
    if function is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    checked, code = check(function, typechecker=typechecker), getattr(function, "__code__", None)
    if not inspect.isfunction(function):
        return checked

    @functools.wraps(function)
    def called(*args, **kwargs):
        calls[code] += 1
        now = calls[code] <= FIRST or calls[code] % THEN == 0
        return (checked if now else function)(*args, **kwargs)

    return called


def install(package):
    """Whatever is imported of ``package`` from now on is checked."""
    jaxtyping.jaxtyped = jaxtyped  # the hook writes this name before every function
    jaxtyping.install_import_hook(package, "beartype.beartype")
