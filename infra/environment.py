"""What must be settled before Ray is imported."""

import os
import secrets
import socket
import sys
from dataclasses import dataclass

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files a trial otherwise
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: stop at once, the rows are safe
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # resume goes by content address, not by Tune's state
    "TUNE_MAX_PENDING_TRIALS_PG": "2",
    "RAY_AIR_NEW_OUTPUT": "0",  # no banner; the progress display is ours
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_worker_niceness": "0",
    "RAY_enable_worker_prestart": "0",  # a process for each core, of which none ever trains: Tune's are others
    "RAY_prestart_worker_first_driver": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^A worker died or was killed",  # on stdout otherwise, before the law
}

LOOPBACK = (
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0, on Linux too: Ray takes 127.0.0.1 for its own address, not the host's
)


SETTINGS_FRAME = b"\x04"  # the type of the first frame on a connection by HTTP/2, the protocol of gRPC: RFC 9113, 3.4
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS_FRAME + bytes(5)


class EngineError(Exception):
    """Ray cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Trained:
    """How the training ended: packs lost after all retries, the last line of the first error, interrupted or not."""

    lost: int = 0
    error: str = ""
    interrupted: bool = False


def prepare(address: str | None) -> str | None:
    """Set Ray's and Tune's environment (what the user has set stays); the address to use: given, RAY_ADDRESS or None.

    A cluster of this process's own listens on loopback alone and gets a token of its own, so that other machines and
    other users of this one stay out. Ray reads both when it is imported; in a process that has Ray already (a notebook)
    they are left as they are.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS") or None
    address = None if address == "local" else address  # Ray's word for a cluster of one's own
    if address:  # one that does not answer is told sooner than after Ray's quarter of an hour
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")
    if address is None and "ray" not in sys.modules:
        os.environ.setdefault(LOOPBACK, "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    return address


def reachable(address: str | None) -> None:
    """EngineError unless ``address`` has a form that Ray takes, and a gRPC server, as Ray's is, answers there within
    five seconds. ray.init alone would try for minutes, and before a server of another kind without end."""
    if not address or address == "auto":
        return
    if "@" in address:
        raise EngineError("--address: it carries a user or a password, not repeated here; give host:port")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host.strip("[]") and "/" not in host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise EngineError(f"--address {address}: it is not auto, host:port or ray://host:port")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as there:
            if os.environ.get("RAY_USE_TLS") == "1":  # it would not answer a line that is not encrypted
                return
            there.sendall(HTTP2)
            if there.recv(9)[3:4] != SETTINGS_FRAME:
                raise EngineError(f"--address {address}: what answers there is not Ray; see the address in ray status")
    except TimeoutError:
        raise EngineError(f"--address {address}: no answer within 5 s; is Ray there (ray status)?") from None
    except (OSError, OverflowError, UnicodeError) as error:
        raise EngineError(f"--address {address}: {error}; is the cluster up? (ray status)") from None
