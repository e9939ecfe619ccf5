"""A network namespace with a bridge and no way out: the cloud's network, entered by one thread at a time.

Names carry the process that owns them, so that whatever a killed run left is found and swept by the next one, and
nothing of a run that is still alive is touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cloudbox.tools import batch, run

PREFIX = "cbx"
GATEWAY = "172.31.255.254"
"""The bridge: the API and the index of packages listen here."""
METADATA = "169.254.169.254"
CGROUPS = Path("/sys/fs/cgroup")
SCRATCH = Path("/var/tmp")
CONTAINERS = Path("/run/systemd/nspawn/propagate")
"""nspawn has a folder here for each container, and leaves it when it is killed."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def started(pid: int) -> str:
    """When a process began, in ticks since the computer's: with its number, no other process is meant."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def mac(address: str) -> str:
    """The hardware address for an address: when a new machine gets that of a dead one, nobody's memory of who has it is
    wrong. It would be for up to eight seconds, in which connections hang."""
    return "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))


class Network:
    """One cloud's namespace, its folder for scratch files and its control groups."""

    def __init__(self) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{started(os.getpid())}"
        self.path = Path("/run/netns", self.name)
        self.scratch = SCRATCH / self.name
        self._count = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Make the namespace; first remove what dead owners left."""
        sweep()
        self.scratch.mkdir(mode=0o700)
        run("ip", "netns", "add", self.name)
        batch(
            [
                "link set lo up",
                # A bridge without an address of its own takes the lowest of its ports, another one whenever a machine
                # comes or goes, and all others talk to nobody until they notice.
                f"link add br0 address {mac(GATEWAY)} type bridge",
                "link set br0 up",
                f"addr add {GATEWAY}/16 dev br0",
                f"addr add {METADATA}/32 dev br0",
            ],
            self.name,
        )

    def stop(self) -> None:
        """Remove everything that carries this network's name."""
        _remove(self.name)

    @property
    def identity(self) -> str:
        """What `/proc/thread-self/ns/net` says inside."""
        return f"net:[{self.path.stat().st_ino}]"

    def next_number(self) -> int:
        """Machines are numbered: their names must fit into an interface's 15 characters."""
        with self._lock:
            self._count += 1
            return self._count

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and the processes that it starts, see the cloud's network and no other."""
        with Path("/proc/thread-self/ns/net").open() as home, self.path.open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def plug(self, number: int, addresses: list[str]) -> str:
        """A namespace for a machine, with these addresses; its name."""
        name = f"{self.name}-{number}"
        run("ip", "netns", "add", name)
        batch(
            [
                f"link add m{number} type veth peer name eth0 address {mac(addresses[0])} netns {name}",
                f"link set m{number} master br0 up",
            ],
            self.name,
        )
        batch(
            [
                "link set lo up",
                *(f"addr add {address}/32 dev eth0" for address in addresses),
                "link set eth0 up",
                f"route add 172.31.0.0/16 dev eth0 src {addresses[0]}",
                f"route add {METADATA}/32 dev eth0 src {addresses[0]}",
            ],
            name,
        )
        return name

    def unplug(self, number: int) -> None:
        """The machine is gone."""
        run("ip", "netns", "del", f"{self.name}-{number}", check=False)

    def link(self, number: int, state: str) -> None:
        """Pull or push in a machine's cable: `down` or `up`."""
        batch([f"link set m{number} {state}"], self.name)

    def groups(self, number: int) -> list[Path]:
        """New control groups of a machine, one in each hierarchy that containers care for.

        Without them all machines share one group, and systemd inside cannot tell its own processes.
        """
        made = []
        for parent in hierarchies():
            group = parent / self.name / str(number)
            group.mkdir(parents=True)
            made.append(group)
        return made


def hierarchies() -> list[Path]:
    """Where control groups are made: one place on a computer of today, several on one with the first version too."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for name in ("systemd", "unified", "memory", "pids", "cpu") if (path := CGROUPS / name).is_dir()]


def places() -> list[Path]:
    """Where things that carry an owner's name lie."""
    return [Path("/run/netns"), SCRATCH, CONTAINERS, *hierarchies()]


def sweep() -> None:
    """Remove what a cloud left whose process is dead."""
    names = {path.name for folder in places() for path in folder.glob(f"{PREFIX}-*")}
    for owner in {found.group() for name in names if (found := re.match(rf"{PREFIX}-\d+-\d+", name))}:
        _, pid, since = owner.split("-")
        if started(int(pid)) != since:
            _remove(owner)


def _remove(owner: str) -> None:
    for group in _groups_of(owner):
        for pid in _members(group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    scratch = SCRATCH / owner
    for mount in sorted(_mounts_under(scratch), key=len, reverse=True):
        run("umount", "-l", mount, check=False)
    for path in sorted(Path("/run/netns").glob(f"{owner}*"), key=lambda path: len(path.name), reverse=True):
        run("ip", "netns", "del", path.name, check=False)
    shutil.rmtree(scratch, ignore_errors=True)
    for path in CONTAINERS.glob(f"{owner}-*"):
        path.rmdir()
    remove_groups([parent / owner for parent in hierarchies()])


def remove_groups(roots: list[Path]) -> None:
    """Remove control groups with what is beneath them; the kernel lets go a moment after the last process."""
    limit = time.monotonic() + 3
    for root in roots:
        for group in sorted((path for path in (root, *root.rglob("*")) if path.is_dir()), reverse=True):
            while True:
                try:
                    group.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > limit:
                        break
                    time.sleep(0.02)
                else:
                    break


def _groups_of(owner: str) -> list[Path]:
    return [group for parent in hierarchies() for group in (parent / owner).rglob("*") if group.is_dir()]


def _members(group: Path) -> list[int]:
    try:
        return [int(word) for word in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _mounts_under(folder: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [place for place in places if place == str(folder) or place.startswith(f"{folder}/")]


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
