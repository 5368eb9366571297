"""Hosts on this machine for tests of clusters: each a network namespace with its own address, processes, name, home,
/tmp, /run and shared memory, and an SSH server. Nothing of them is left when the test ends.

``laptop`` is where a user sits, and holds the bridge to which the others (``head``, ``w1``, ``w2``) are wired. There is
no way out. The folder ``shared`` is the same on all, as a network file system would be.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent
NAMES = {"laptop": 1, "head": 2, "w1": 3, "w2": 4}
SITES = [Path(path).resolve() for path in sys.path if path.endswith("site-packages")]
VENV = "/root/.widthlaw/venv"

# As process 1 of a host. $1: its name, $2: its home, $3: /etc/hosts, the rest: folders to keep where they are.
BOOT = """
set -e
hostname "$1"; home=$2; hosts=$3; shift 3
mount -t tmpfs none /mnt
mkdir /mnt/home /mnt/keep; mount --bind "$home" /mnt/home; touch /mnt/hosts; cp "$hosts" /mnt/hosts
i=0; for path in "$@"; do i=$((i + 1)); mkdir /mnt/keep/$i; mount --rbind "$path" /mnt/keep/$i; done
for path in /tmp /run /dev/shm; do mount -t tmpfs none $path; done
chmod 1777 /tmp /dev/shm; mount --bind /mnt/home /root; mount --bind /mnt/hosts /etc/hosts
i=0; for path in "$@"; do i=$((i + 1)); mkdir -p "$path"; mount --rbind /mnt/keep/$i "$path"; done
mkdir -p /run/sshd; cd /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/sbin/sshd -D -f /dev/null -h /root/.ssh/id_ed25519 \
  -o UsePAM=no -o StrictModes=no -o PermitUserEnvironment=yes
"""


@dataclass(frozen=True)
class Host:
    """pid: process 1 of the host, as seen from outside. home: its /root, as seen from outside."""

    name: str
    address: str
    pid: int
    home: Path


@dataclass(frozen=True)
class Hosts:
    """The hosts by name, and the folder that all of them see under the same path."""

    by_name: dict[str, Host]
    shared: Path

    def __getitem__(self, name: str) -> Host:
        return self.by_name[name]


def start(host: Host, command: str, **more: object) -> subprocess.Popen[str]:
    """A shell command on a host, with a user's login environment."""
    enter = ["nsenter", "-t", str(host.pid), "--mount", "--uts", "--ipc", "--net", "--pid"]
    clean = ["env", "-i", "HOME=/root", "USER=root", "TERM=dumb", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    shell = ["bash", "-c", f"cd; . ./.bashrc; {command}"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*enter, *clean, *shell], **(pipes | more))  # type: ignore[call-overload,no-any-return]


def run(host: Host, command: str, *, code: int | None = 0, timeout: float = 400) -> str:
    """What a shell command on a host says, on both streams. AssertionError at another exit code; None: any."""
    process = start(host, command)
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        raise AssertionError(f"{host.name}: {command}: no end after {timeout:g} s\n{said}") from None
    assert code is None or process.returncode == code, f"{host.name}: {command}: code {process.returncode}\n{said}"
    return said


def wire(hosts: Hosts, name: str, state: str) -> None:
    """Pull out (``down``) or plug in (``up``) the cable of a host."""
    outside(hosts["laptop"].pid, f"ip link set to-{name} {state}")


def outside(pid: int, command: str) -> None:
    """A command of this machine in the network of process ``pid``."""
    subprocess.run(["nsenter", "-t", str(pid), "--net", "bash", "-c", command], check=True, capture_output=True)


def lacking() -> str:
    """Why there can be no hosts here; "" if there can."""
    if missing := [name for name in ("sshd", "ip", "rsync", "unshare", "nsenter", "setpriv") if not find(name)]:
        return f"not installed: {', '.join(missing)} (make hosts)"
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    return f"no network namespaces here: {probe.stderr.strip()}" if probe.returncode else ""


def find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def skip_unless(why: str) -> None:
    """Skip where something is missing; on the official runner that is a failure."""
    if why and "CI" in os.environ:
        pytest.fail(why)
    if why:
        pytest.skip(why)


def furnish(home: Path) -> None:
    """A home with a key that opens every host, and a Python that has what this one has, but not this package: pip
    installs it there from what a cluster file brings, without a network."""
    site = home / f".widthlaw/venv/lib/python3.{sys.version_info.minor}/site-packages"
    for folder in (site, home / ".widthlaw/venv/bin", home / ".ssh", home / ".config/pip"):
        folder.mkdir(parents=True)
    (site / "tests.pth").write_text("\n".join(map(str, SITES)))
    (home / ".widthlaw/venv/pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin\n")
    (home / ".widthlaw/venv/bin/python").symlink_to(Path(sys.executable).resolve())
    for name, module in {"pip": "pip._internal.cli.main", "ray": "ray.scripts.scripts"}.items():
        script = home / ".widthlaw/venv/bin" / name
        script.write_text(f"#!{VENV}/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        script.chmod(0o755)
    (home / ".config/pip/pip.conf").write_text(
        "[install]\nno-index = true\nno-deps = true\nno-build-isolation = false\n[global]\nroot-user-action = ignore\n"
    )
    (home / ".bashrc").write_text("")


def boot(stack: ExitStack, base: Path, shared: Path) -> Hosts:
    (base / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"10.77.0.{i} {n}\n" for n, i in NAMES.items()))
    key = base / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    kept = {Path(path).resolve() for path in (sys.base_prefix, sys.prefix, ROOT, *SITES, shared)}
    outermost = sorted(str(path) for path in kept if kept.isdisjoint(path.parents))
    hosts = {}
    for name, last in NAMES.items():
        home = base / name
        furnish(home)
        shutil.copy(key, home / ".ssh")
        shutil.copy(f"{key}.pub", home / ".ssh/authorized_keys")
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child", "--mount-proc"]
        arguments = ["bash", "-c", BOOT, "boot", name, str(home), str(base / "hosts"), *outermost]
        ended = ["setpriv", "--pdeathsig", "KILL"]  # with us, however we end
        process = subprocess.Popen([*ended, "unshare", *spaces, *arguments], stderr=subprocess.PIPE, text=True)
        stack.callback(end, process)
        (child,) = wait(lambda process=process: children(process), f"{name} to start")
        hosts[name] = Host(name, f"10.77.0.{last}", child.pid, home)
        outside(child.pid, "ip link set lo up")
    laptop = hosts["laptop"].pid
    outside(laptop, "ip link add net0 type bridge && ip addr add 10.77.0.1/24 dev net0 && ip link set net0 up")
    for host in [host for name, host in hosts.items() if name != "laptop"]:
        outside(laptop, f"ip link add to-{host.name} type veth peer name eth0 netns {host.pid}")
        outside(laptop, f"ip link set to-{host.name} master net0 up")
        outside(host.pid, f"ip addr add {host.address}/24 dev eth0 && ip link set eth0 up")
    for host in hosts.values():
        ssh = f"ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null {host.address} hostname"
        wait(lambda ssh=ssh, name=host.name: name in run(hosts["laptop"], ssh, code=None), f"SSH on {host.name}")
    return Hosts(hosts, shared)


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    assert process.poll() is None, process.communicate()[1]
    return psutil.Process(process.pid).children()


def end(process: subprocess.Popen[str]) -> None:
    """Kill a host with all that runs on it."""
    process.kill()
    process.communicate()


def wait(condition, what, seconds=300):  # type: ignore[no-untyped-def]
    from test_sweep import wait_for

    return wait_for(condition, what, seconds)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """``laptop``, ``head``, ``w1`` and ``w2``."""
    skip_unless(lacking())
    base = tmp_path_factory.mktemp("hosts")
    (base / "shared").mkdir()
    with ExitStack() as stack:
        yield boot(stack, base, base / "shared")


__all__ = ["Host", "Hosts", "find", "hosts", "run", "skip_unless", "start", "wait", "wire"]
