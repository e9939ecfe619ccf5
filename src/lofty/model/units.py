"""The plain words people type for time and size, as numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import SpecError, UsageError

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


def size(count: float) -> str:
    """Bytes for a person: `3.4 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def moment(text: str, now: float) -> Callable[[float, int], bool]:
    """A point in a history: a version's number (`12`, `#12`), how long ago (`2h`), a time of the last day (`14:30`), or
    a date and time. Gives what tells whether a version, by its time in epoch seconds and its number, is not later."""
    word = text.strip().removeprefix("#").removesuffix("ago").strip()
    if word.isdigit():
        number = int(word)
        return lambda _, version: version <= number
    try:
        at = now - duration(word)
    except UsageError:
        at = _clock_time(word, now)
    return lambda when, _: when <= at


def _clock_time(word: str, now: float) -> float:
    from datetime import datetime

    for form in ("%H:%M:%S", "%H:%M"):
        try:
            parsed = datetime.strptime(word, form)
        except ValueError:
            continue
        today = datetime.fromtimestamp(now).replace(hour=parsed.hour, minute=parsed.minute, second=parsed.second)
        return today.timestamp() - (86400 if today.timestamp() > now else 0)
    try:
        return datetime.fromisoformat(word).timestamp()
    except ValueError:
        raise UsageError(
            f"'{word}' is no point in time", hint="--at 12, --at 2h, --at 14:30 or --at 2026-11-24T14:30"
        ) from None
