"""What the agent knows, as it wrote it down, and what a reader may conclude from it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

STALE_SECONDS = 20.0  # the agent writes every couple of seconds; after this it is not merely busy


def read(run_dir: Path, workspace: str) -> dict[str, Any]:
    """Return the agent's facts; where there are none, say so rather than invent any."""
    try:
        facts = json.loads((run_dir / "facts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = None
    if not isinstance(facts, dict):
        facts = {}
    nothing = dict.fromkeys(("deadline", "idle_at", "price_per_hour", "cost", "message", "updated"))
    return {"name": workspace, "state": "unknown", **nothing, **facts}


def status(run_dir: Path, workspace: str, now: float | None = None) -> dict[str, Any]:
    """Return the facts with the time left, why it will be over, and whether the agent has gone quiet."""
    now = time.time() if now is None else now
    facts = read(run_dir, workspace)
    ends = {"deadline": facts["deadline"], "idle": facts["idle_at"]}
    known = {reason: end for reason, end in ends.items() if end is not None}
    reason = min(known, key=lambda each: known[each], default=None)
    updated = facts["updated"]
    return {
        **facts,
        "time_left": None if reason is None else max(0.0, known[reason] - now),
        "time_left_reason": reason,
        "stale": updated is None or now - updated > STALE_SECONDS,
        "stopping": (run_dir / "stop").exists(),
    }


def ask_to_stop(run_dir: Path) -> None:
    """Ask the agent to end the workspace; it looks for this file twice a second."""
    (run_dir / "stop").touch()


def nudge(run_dir: Path) -> None:
    """Ask the agent to look for new files at once; it looks for this file twice a second."""
    (run_dir / "nudge").touch()


def keep_awake(run_dir: Path, now: float | None = None) -> None:
    """Tell the agent that somebody wants the workspace to go on."""
    now = time.time() if now is None else now
    partial = run_dir / f"keep.{os.getpid()}.part"
    partial.write_text(f"{now:.3f}\n", encoding="ascii")
    partial.replace(run_dir / "keep")


def kept_awake(run_dir: Path) -> float | None:
    """Return when somebody last asked to keep the workspace awake."""
    try:
        return float((run_dir / "keep").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
