"""Keep one public address open for the workspace, through ngrok, and write down which: `tunnel.py --port N --token-file
F --word W`. Lab, Notebook and TensorBoard are one origin, so one is enough.

The library keeps its connection and opens it again by itself; the address stays as long as this process lives.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path


def tell(word: Path, **what: str) -> None:
    """Leave word for the agent, which looks twice a second."""
    partial = word.with_suffix(".part")
    partial.write_text(json.dumps(what), encoding="utf-8")
    partial.replace(word)


def main(argv: list[str]) -> None:
    """Hold it open until a signal comes."""
    parser = argparse.ArgumentParser(prog="tunnel.py", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-file", type=Path, required=True, help="the person's own token for ngrok")
    parser.add_argument("--word", type=Path, required=True, help="where the address is written")
    options = parser.parse_args(argv)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    options.word.unlink(missing_ok=True)  # of one that has died
    token = options.token_file.read_text(encoding="utf-8").strip()
    import ngrok

    try:
        listener = ngrok.forward(f"127.0.0.1:{options.port}", authtoken=token)
    except Exception as error:  # noqa: BLE001 - whatever the library raises, the person is told
        reason = " ".join(str(part) for part in error.args).replace(token, "[secret]") or repr(error)
        tell(options.word, error=reason)
        sys.exit(f"ngrok: {reason}")
    tell(options.word, url=listener.url())
    over.wait()
    os._exit(0)  # the service closes the address when the connection is gone


if __name__ == "__main__":
    main(sys.argv[1:])
