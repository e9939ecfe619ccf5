"""Start an IPython kernel in the user's own interpreter: `PYTHON kernel.py OVERLAY -f CONNECTION_FILE`.

The user's environment often lacks ipykernel. OVERLAY is a folder that has it; it is appended to `sys.path`,
so whatever the user installed wins, and nothing is written into their environment. The syntax stays that of
Python 3.8, because the interpreter is theirs and may be old.
"""

import os
import sys


def prepare(argv):
    # type: (list[str]) -> list[str]
    """Give the kernel the path that a notebook expects, and return the arguments that are the kernel's own."""
    overlay, arguments = argv[1], argv[2:]
    here = os.path.dirname(os.path.abspath(__file__))
    kept = [entry for entry in sys.path if entry and os.path.abspath(entry) != here]
    # ipykernel puts the current directory first by itself, after its own imports: a user's `random.py` must
    # not break the kernel before the first cell.
    sys.path[:] = kept if overlay in kept else [*kept, overlay]
    return arguments


def main():
    # type: () -> None
    """Run the kernel until it is told to stop."""
    if len(sys.argv) < 2:
        sys.exit("usage: kernel.py OVERLAY -f CONNECTION_FILE")
    arguments = prepare(sys.argv)
    sys.argv = [sys.argv[0], *arguments]
    try:
        from ipykernel import kernelapp
    except ImportError as error:
        sys.exit(f"the kernel cannot start under {sys.executable}: {error}")
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
