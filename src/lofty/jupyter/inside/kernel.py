"""Start an IPython kernel in the user's own interpreter: `PYTHON kernel.py OVERLAY -f CONNECTION_FILE`.

The user's environment often lacks ipykernel. OVERLAY is a folder that has it; it is appended to `sys.path`,
so whatever the user installed wins, and nothing is written into their environment; `-` means that none is needed.
The syntax stays that of Python 3.8, because the interpreter is theirs and may be old.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as in typing, which is a slow import
if TYPE_CHECKING:
    from typing import Any


def prepare(overlay: str) -> None:
    """Give the kernel the path that a notebook expects: without this folder, with the overlay at the end."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is a slow import here
    # ipykernel adds the current directory itself, after its own imports and behind the standard library: a
    # user's `random.py` must not break the kernel before the first cell.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", here)]
    if overlay != "-" and overlay not in sys.path:
        sys.path.append(overlay)


def end_promptly(output_thread: Any, kernel: Any) -> None:
    """Spare the end of a kernel two waits of ten seconds and more.

    Jupyter has no patience for them and kills the kernel, and with it what the notebook left to do at its end.
    Both reach into ipykernel, which has no switch for it; where it is built otherwise, they do nothing.
    """
    stop = output_thread.stop
    children: Any = getattr(kernel, "_process_children", lambda self: [])

    def stop_and_finish(thread: Any) -> None:
        # One kernel in ten hands its output thread something to do while that is stopping, and waits in vain.
        stop(thread)
        left = getattr(thread, "_events", None)
        while left:
            left.popleft()()

    def children_that_matter(self: Any) -> Any:
        # It asks its children to end until they do; multiprocessing's helper does not, it ends after the kernel.
        tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
        return [child for child in children(self) if child.pid != getattr(tracker, "_pid", None)]

    output_thread.stop = stop_and_finish
    kernel._process_children = children_that_matter


def main() -> None:
    """Run the kernel until it is told to stop."""
    if len(sys.argv) < 2:
        sys.exit("usage: kernel.py OVERLAY -f CONNECTION_FILE")
    prepare(sys.argv.pop(1))
    try:
        from ipykernel import iostream, kernelapp, kernelbase
    except ImportError as error:
        sys.exit(f"the kernel cannot start under {sys.executable}: {error}")
    end_promptly(iostream.IOPubThread, kernelbase.Kernel)
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
