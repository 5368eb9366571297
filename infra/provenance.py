"""Where a row comes from: code, commit, packages, host."""

import hashlib
import os
import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def code() -> str:
    """Hash of the source files that can change a number: ``infra`` and ``trainables``."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "infra").rglob("*.py"), *(ROOT / "trainables").glob("*.py")]):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def commit() -> str:
    """Commit of the checkout the code stands in, '-dirty' when tracked files differ; empty when installed elsewhere."""
    try:
        if git("rev-parse", "--show-toplevel") != str(ROOT):
            return ""
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return ""


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


@cache
def packages() -> str:
    """Versions that can change a number, and the platform: bits depend on how wide a CPU's vectors are."""
    parts = [f"python {platform.python_version()}"] + [f"{name} {version(name)}" for name in ("torch", "ray", "numpy")]
    return ", ".join([*parts, f"{platform.system()} {platform.machine()} {os.environ.get('MKL_CBWR', '')}".strip()])


@cache
def host() -> str:
    return socket.gethostname()
