"""Machines: a container with an init of its own for each instance, on an overlay of the common image.

A machine ends by a power cut, which it does not notice, or by itself, which its cloud hears of.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.cloudbox.image import image
from tests.cloudbox.network import CONTAINERS, Network, remove_groups, started
from tests.cloudbox.tools import run

_REBOOT = 133
"""How nspawn ends when the machine asked to start anew."""
ENOUGH = 8 * 1024**3
"""Bytes of free memory with which the disks of machines lie in memory, about half a GiB each. On a real disk ext4 goes
slowly past every inode that was freed in the last half minute, so that a machine's end slows the next one's start."""
_POWER_BUTTON = signal.SIGRTMIN + 4
"""systemd's own: go down in order."""


class Machine:
    """One container. `ended` is called, from a thread of its own, when it went down without being cut."""

    def __init__(self, park: Park, name: str, addresses: list[str], ended: Callable[[], None]) -> None:
        self.name = name
        self.addresses = addresses
        self._park = park
        self._ended = ended
        self._number = park.network.next_number()
        self._folder = park.disks / str(self._number)
        self._root = self._folder / "root"
        self._groups: list[Path] = []
        self._namespace = self._ruleset = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = (0, "")
        self._cut = False
        self._gone = threading.Event()

    def boot(self) -> None:
        """Make its disk and its link, and start it; when that fails nothing of it is left."""
        try:
            if not self._cut:
                self._make()
        except Exception:
            self._clear()
            raise
        if self._process is None:
            self._gone.set()

    def _make(self) -> None:
        network = self._park.network
        for part in ("upper", "work", "root"):
            (self._folder / part).mkdir(parents=True)
        layers = f"lowerdir={self._park.image},upperdir={self._folder / 'upper'},workdir={self._folder / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, self._root)
        self._write("etc/hostname", f"{self.hostname}\n")
        self._write("etc/hosts", f"127.0.0.1 localhost\n{self.addresses[0]} {self.hostname}\n")
        if self._park.cloud_init:
            (self._root / "etc/systemd/system/multi-user.target.wants/first-boot.service").unlink()
        else:
            self._write("etc/cloud/cloud-init.disabled", "")
        self._namespace = network.plug(self._number, self.addresses)
        if self._ruleset:
            self._apply()
        self._groups = network.groups(self._number)
        self._start()

    @property
    def hostname(self) -> str:
        """As the cloud names it, after its address."""
        return "ip-" + self.addresses[0].replace(".", "-")

    @property
    def alive(self) -> bool:
        """Whether it is there, or being made."""
        return not self._gone.is_set()

    def console(self) -> str:
        """What it wrote to its screen."""
        try:
            return (self._folder / "console").read_text(errors="replace")
        except OSError:
            return self._last_words

    def cut(self) -> None:
        """Pull the plug."""
        self._cut = True
        if (leader := self.leader()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, signal.SIGKILL)
        elif self._process is not None:
            self._process.kill()

    def press(self) -> None:
        """Push the power button: it goes down in order, and nobody takes that for its own wish."""
        self._cut = True
        if (leader := self.leader()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, _POWER_BUTTON)

    def reboot(self) -> None:
        """Have it restart in order; the disk stays."""
        self.run("systemctl --no-block reboot")

    def wait_other_init(self, before: int | None, seconds: float) -> None:
        """Until it runs under another init than before. Nothing is run inside meanwhile: a process that comes in while
        it goes down holds it up for ten seconds."""
        limit = time.monotonic() + seconds
        while self.leader() in (None, before):
            if time.monotonic() > limit:
                raise RuntimeError(f"{self.name} did not restart within {seconds} s")
            time.sleep(0.05)

    def run(self, command: str, timeout: float = 30) -> str:
        """A shell command's output, run inside as root."""
        leader = self.leader()
        if leader is None:
            raise RuntimeError(f"{self.name} is not up")
        words = ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "--", "/bin/bash", "-c", command]
        try:
            done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=timeout, env=_PLAIN)
        except subprocess.TimeoutExpired as expired:  # a machine that goes down may take no more questions
            raise RuntimeError(f"{self.name}: {command!r}: no answer in {timeout} s") from expired
        if done.returncode:
            raise RuntimeError(f"{self.name}: {command!r}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def let_in(self, ruleset: str) -> None:
        """What its security groups say from now on."""
        if ruleset != self._ruleset:
            self._ruleset = ruleset
            if self._namespace and self.alive:
                self._apply()

    def _apply(self) -> None:
        run("nsenter", f"--net=/run/netns/{self._namespace}", "nft", "-f", "-", stdin=self._ruleset)

    def off_network(self) -> None:
        """Pull the network cable."""
        self._park.network.link(self._number, "down")

    def on_network(self) -> None:
        """Put it back."""
        self._park.network.link(self._number, "up")

    def leader(self) -> int | None:
        """The host's number of the machine's init."""
        if self._process is None:
            return None
        # The kernel may leave a child out of the list now and then, so what was found once is kept.
        if self._leader[0] and started(self._leader[0]) == self._leader[1]:
            return self._leader[0]
        try:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            for child in children:
                status = Path(f"/proc/{child}/status").read_text()
                if any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines()):
                    self._leader = (int(child), started(int(child)))
                    return int(child)
        except OSError:
            pass
        return None

    def wait_gone(self, seconds: float) -> bool:
        """Whether it is gone, with all that it was made of, within so many seconds."""
        return self._gone.wait(seconds)

    # Inside

    _last_words = ""

    def _write(self, name: str, text: str) -> None:
        path = self._root / name
        path.unlink(missing_ok=True)
        path.write_text(text)

    def _start(self) -> None:
        tasks = [group / "cgroup.procs" for group in self._groups]
        words = [
            "setpriv",
            "--pdeathsig=KILL",  # nobody's machines do not outlive a killed test run
            "sh",
            "-c",
            'for f in "$@"; do [ "$f" = -- ] && break; echo $$ > "$f" || exit 9; shift; done; shift; exec "$@"',
            "sh",
            *map(str, tasks),
            "--",
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self._root}",
            f"--machine={self._namespace}",
            f"--hostname={self.hostname}",
            "--register=no",
            "--keep-unit",
            f"--network-namespace-path=/run/netns/{self._namespace}",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=read-only",
        ]
        with (self._folder / "console").open("ab") as console:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**_PLAIN, "SYSTEMD_NSPAWN_LOCK": "0"},  # its lock file stays when it is killed
            )
        if self._cut:  # while it was being made
            self._process.kill()
        threading.Thread(target=self._watch, args=(self._process,), daemon=True, name=f"machine {self.name}").start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if code == _REBOOT and not self._cut:
            self._park.pool.submit(self._start)
            return
        self._last_words = self.console()
        self._clear()
        if not self._cut:
            self._ended()

    def _clear(self) -> None:
        self._park.network.unplug(self._number)
        run("umount", "-l", self._root, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            (CONTAINERS / self._namespace).rmdir()
        remove_groups(self._groups)
        self._gone.set()


class Park:
    """Where machines stand: the mounted image, and the threads that start them.

    A machine dies with the thread that started it, which is what ends it when the tests are killed; so these threads
    stay until the park closes.
    """

    def __init__(self, network: Network, *, cloud_init: bool = False) -> None:
        self.network = network
        self.cloud_init = cloud_init
        self.image, self.disks = network.scratch / "image", network.scratch / "disks"
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="park")

    def open(self) -> None:
        """Mount the image, made first where it is missing."""
        self.image.mkdir()
        self.disks.mkdir()
        if psutil.virtual_memory().available > ENOUGH:
            run("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", self.disks)
        source = image()
        try:
            run("mount", "-t", "squashfs", "-o", "loop,ro", source, self.image)
        except RuntimeError:  # no loop devices in this container
            run("unsquashfs", "-quiet", "-no-progress", "-f", "-d", self.image, source)

    def close(self) -> None:
        """Nothing starts any more; whoever made machines has cut them."""
        self.pool.shutdown(cancel_futures=True)


_PLAIN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
