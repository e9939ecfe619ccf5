"""`python -m lofty.agent ORDER`: be the agent of one machine of a task. ORDER is a JSON `order.Order`, or a file with
one in it."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Fork away when asked to, before anything heavy is imported, then work."""
    order = sys.argv[1]
    if not order.startswith("{"):
        from .arrival import claimed

        order = claimed(order)
    if '"detach":true' in order and os.fork():
        os._exit(0)
    from .main import run

    run(order)


main()
