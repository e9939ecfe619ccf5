"""The predecessor's example, as it was written, served by lofty: its addresses come with a refresh, and answer.

What it fetches from elsewhere has stand-ins on PATH: apt, npm, pip, the tunnel. Jupyter and TensorBoard are real."""

from __future__ import annotations

import re
import stat
import sys
import urllib.request
from pathlib import Path

import pytest

from lofty.reach import loopback
from tests.conftest import Lofty, eventually

from .test_task import Tasks, lofty_names, terraform  # noqa: F401 (the fixture)

NODE = r"""
import os, pathlib, re, sys
program = sys.stdin.read()
ports = {"8888": os.environ["STAND_IN_8888"], "6006": os.environ["STAND_IN_6006"]}
tunnels = re.findall(r"const (\w+) = await ngrok.connect\((\d+)\)", program)
values = {name: f"http://127.0.0.1:{ports[port]}" for name, port in tunnels}
values |= {name: eval(text) for name, text in re.findall(r"const (\w+) = ('[^']*');", program)}
name, text = re.search(r'writeFileSync\("([^"]+)", `([^`]*)`\)', program).groups()
assert pathlib.Path("ngrok-was-here").read_text() == "authtoken t0ken\n"
pathlib.Path(name).write_text(re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], text))
"""


@pytest.fixture
def stand_ins(tmp_path: Path, jupyter_python: Path) -> dict[str, str]:
    """Variables with which the script finds them."""
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()

    def put(name: str, text: str) -> None:
        path = folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    for name in ("sed", "dpkg-reconfigure", "pip3", "curl", "apt-get", "npm"):
        put(name, f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>{tmp_path}/asked-for\n')
    put("npx", '#!/bin/sh\nshift\necho "$*" >ngrok-was-here\n')
    put("uuidgen", "#!/bin/sh\ncat /proc/sys/kernel/random/uuid\n")
    put("node", f"#!{sys.executable}\n{NODE}")
    ports = {port: str(loopback.free_port(f"stand-in {tmp_path} {port}")) for port in ("8888", "6006")}
    swap = "".join(f"; s/\\b{port}\\b/{ours}/" for port, ours in ports.items())
    swap += "; s/\\b0[.]0[.]0[.]0\\b/127.0.0.1/"  # a test listens here alone
    for name, module in (("jupyter", "jupyter"), ("tensorboard", "tensorboard.main")):
        put(
            name,
            f'#!/bin/bash\nwords=(); for word in "$@"; do words+=("$(echo "$word" | /bin/sed "s/^//{swap}")"); done\n'
            f'exec {jupyter_python} -m {module} "${{words[@]}}"\n',
        )
    begin = tmp_path / "begin.sh"
    begin.write_text(f"PATH={folder}:$PATH\nexport TMPDIR={tmp_path}/elsewhere\n")
    return {"BASH_ENV": str(begin), "NGROK_TOKEN": "t0ken", **{f"STAND_IN_{port}": one for port, one in ports.items()}}


def test_the_example_as_it_was_written(
    terraform: Tasks,  # noqa: F811
    lofty: Lofty,
    stand_ins: dict[str, str],
    tmp_path: Path,
) -> None:
    terraform.environ |= stand_ins
    (terraform.directory / "main.tf").write_text((Path(__file__).parent / "jupyter.tf").read_text())
    shared = terraform.directory / "shared"
    shared.mkdir()
    (shared / "analysis.py").write_text("print(1)\n")
    assert "urls = []" in terraform.apply().out
    eventually(lambda: "Jupyter Lab" in terraform.ok("refresh", "-no-color").out, 90)
    urls = terraform.outputs()["urls"]
    assert [url.partition(": http://127.0.0.1:")[0] for url in urls] == [
        "Jupyter Lab",
        "Jupyter Notebook",
        "TensorBoard",
    ]
    asked = (tmp_path / "asked-for").read_text()
    assert "pip3 install -q jupyterlab notebook" in asked
    assert r'sed -ri s#^(APT::Periodic::Unattended-Upgrade).*#\1 "0";#' in asked

    pages = [url.partition(": ")[2] for url in urls]
    eventually(lambda: all(answers(page) for page in pages), 60, check=False)
    told = terraform.refreshed("jupyter_server")["logs"][0]
    assert [page for page in pages if not answers(page)] == [], told
    token = re.search("token=(.+)", pages[0])
    assert token
    root = pages[0].partition("/lab")[0]
    listed = urllib.request.urlopen(f"{root}/api/contents?token={token[1]}").read().decode()
    assert "analysis.py" in listed
    put = f"{root}/api/contents/made.txt?token={token[1]}"
    body = b'{"type": "file", "format": "text", "content": "in Jupyter"}'
    urllib.request.urlopen(urllib.request.Request(put, body, method="PUT"))
    urllib.request.urlopen(urllib.request.Request(f"{root}/api/shutdown?token={token[1]}", b"", method="POST"))
    terraform.until("jupyter_server", lambda one: one["status"] == {"succeeded": 1})
    terraform.ok("destroy", "-auto-approve", "-no-color")
    assert lofty_names(lofty) == []
    assert (shared / "made.txt").read_text() == "in Jupyter"


def answers(page: str) -> bool:
    try:
        with urllib.request.urlopen(page, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
