"""The plain words people type for time and size, as numbers."""

from __future__ import annotations

import re

from ..errors import SpecError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:GB?|GiB)?(\+?)", re.IGNORECASE)


def duration(text: str) -> float:
    """Seconds meant by `90`, `45s`, `30m`, `24h`, `1h30m`, `2d`. Raises `SpecError` for anything else."""
    word = text.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", word):
        seconds = float(word)
    else:
        parts = _DURATION.findall(word)
        if not parts or "".join(n + u for n, u in parts) != word:
            raise SpecError(f"'{text}' is not a length of time", hint="write it as 45s, 30m, 24h, 1h30m or 2d")
        seconds = sum(float(n) * _SECONDS[u] for n, u in parts)
    if seconds <= 0:
        raise SpecError(f"'{text}' is not a length of time above zero", hint="write it as 45s, 30m, 24h or 2d")
    return seconds


def amount(text: str) -> tuple[float, bool]:
    """A number and whether more would do as well: `8` is (8, False), `16GB+` is (16, True)."""
    match = _AMOUNT.fullmatch(text.strip())
    if not match or float(match[1]) <= 0:
        raise SpecError(f"'{text}' is not an amount", hint="write it as 8, or 8+ for at least 8")
    return float(match[1]), bool(match[2])


def gpu(text: str) -> tuple[str, int]:
    """Model and count of `T4`, `T4:2`, `a100:8`."""
    model, _, count = text.strip().partition(":")
    if not re.fullmatch(r"[A-Za-z0-9-]+", model) or (count and not re.fullmatch(r"[1-9]\d*", count)):
        raise SpecError(f"'{text}' is not a GPU", hint="write it as T4, T4:1 or A100:8")
    return model.upper(), int(count or 1)


def clock(seconds: float) -> str:
    """Seconds as a person reads them: `45s`, `12m`, `3h05m`, `2d4h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d{hours % 24}h"
