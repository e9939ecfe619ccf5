"""What a machine that a cloud started has to do before it is a machine of the task, and to be rid of at the end."""

from __future__ import annotations

import os
import pwd
import sys
import time
from pathlib import Path

import msgspec

from ..drivers.base import MachineSide
from ..drivers.registry import load_machine
from ..errors import LoftyError
from ..model.spec import TaskSpec
from ..model.state import Machine
from ..store.base import Store
from ..store.records import Records
from .claim import claim
from .order import Order
from .paths import write_private
from .processes import MACHINE_TAG, TASK_TAG

HOST_KEY = Path("/etc/ssh/ssh_host_ed25519_key.pub")
FIRST_WORD_SECONDS = 180.0
"""A new role may not be allowed to read yet; it is, within a minute or two."""
END_TRIES, END_PAUSE = 10, 3.0


def claimed(path: str) -> str:
    """The order in a file, with the machine that this one is to be. Waits for as long as others do the work; does not
    come back where there is none left. The caller goes on as a new process: who has spoken to the store must not
    fork."""
    order = msgspec.json.decode(Path(path).read_bytes(), type=Order)
    records = Records(Store(order.store))
    spec = _first_word(records)
    side = load_machine(spec.on)
    holder = side.identity()
    found = claim(records, Store(order.states), holder, spec.parallelism)
    if found is None:
        end_for_good(side)
        sys.exit(0)
    order = msgspec.structs.replace(order, machine=found.machine.id, holder=holder)
    os.environ |= {TASK_TAG: order.store, MACHINE_TAG: found.machine.id}
    os.execv(sys.executable, [sys.executable, "-P", "-m", "lofty.agent", msgspec.json.encode(order).decode()])  # noqa: S606


def _first_word(records: Records) -> TaskSpec:
    limit = time.monotonic() + FIRST_WORD_SECONDS
    while True:
        try:
            spec = records.spec()
        except LoftyError as error:
            if time.monotonic() > limit:
                raise
            sys.stderr.write(f"{error}\n")
        else:
            if spec is None:
                raise LoftyError(f"{records.store.url} holds no task", hint="lofty sweep")
            return spec
        time.sleep(2)


def publish_host_key(records: Records, machine: Machine) -> None:
    """Say in the store which key the ssh server of this machine shows, and let the task's own key in, and those of
    others that the person named."""
    machine.user = pwd.getpwuid(os.getuid()).pw_name
    if HOST_KEY.is_file():
        machine.host_key = " ".join(HOST_KEY.read_text().split()[:2])
    wanted = "\n".join(records.secret(name) or "" for name in ("ssh.pub", "authorized_keys")).split("\n")
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    keys = home / ".ssh" / "authorized_keys"
    present = keys.read_text().splitlines() if keys.is_file() else []
    new = [line for line in map(str.strip, wanted) if line and line not in present]
    if new:
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(keys, "".join(f"{line}\n" for line in (*present, *new)).encode())


def end_for_good(side: MachineSide) -> None:
    """Have the cloud remove this machine. Where it will not, the cloud's own deadline is left."""
    for attempt in range(END_TRIES):
        try:
            side.end()
        except LoftyError as error:
            sys.stderr.write(f"end, try {attempt + 1}: {error}\n")
            time.sleep(END_PAUSE)
        else:
            return
