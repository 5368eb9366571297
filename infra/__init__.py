"""From a command to rows: see README.md, How data flows."""

import atexit
import gc

atexit.register(gc.freeze)  # else the interpreter, as it ends, looks thrice through all that torch and MLflow have made
