"""`python -m benchmarks.sync.server MILLISECONDS`: the tests' S3 server; says on stdout when a HEAD was replaced."""

from __future__ import annotations

import signal
import sys
import time

from tests.stores.s3 import S3
from tests.stores.wire import Reply, Request


class Telling(S3):
    """The monotonic clock is the same in all processes of one system."""

    def answer(self, request: Request) -> Reply:
        """As ever."""
        reply = super().answer(request)
        if request.method == "PUT" and request.path.endswith("/HEAD") and reply.status == 200:
            print(time.monotonic(), flush=True)
        return reply


def main() -> None:
    """Until the process is ended; the first line is the address."""
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with Telling(delay=float(sys.argv[1]) / 1000) as server:
        print(server.address, flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
