"""Whom else a task's machines let in: public keys as a person names them. They are looked up here and now, so that a
machine fetches none when it boots, and who is let in does not change behind the person's back."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from ..errors import SpecError, Unavailable

GITHUB = "https://github.com"
"""`LOFTY_GITHUB_URL` names another one, such as a company's own."""
KINDS = (
    *("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
)
_GITHUB_USER = re.compile(r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}")
_MOST = 1 << 16
"""Bytes of an answer or a file that are looked at: some hundred keys."""
HOW = "--ssh-keys github:USER, a file such as ~/.ssh/id_ed25519.pub, or the key itself"


def authorized(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """The lines of an authorized_keys file for `github:USER`, paths of public keys, and keys. Raises `SpecError` for
    what is none of them, and `Unavailable` where GitHub does not answer."""
    lines: dict[str, None] = {}
    for word in words:
        lines |= dict.fromkeys(_of(word, environ))
    return "".join(f"{line}\n" for line in lines)


def _of(word: str, environ: Mapping[str, str]) -> list[str]:
    start, _, rest = word.partition(":")
    if start == "github":
        return _checked(_from_github(rest, environ.get("LOFTY_GITHUB_URL") or GITHUB), f"github.com/{rest}")
    if word.startswith(KINDS):
        return _checked(word, "the key given")
    path = Path(word).expanduser()
    try:
        with path.open(errors="replace") as file:
            return _checked(file.read(_MOST), str(path))
    except OSError as error:
        raise SpecError(f"--ssh-keys {word}: {error.strerror}", hint=HOW) from error


def _from_github(user: str, place: str) -> str:
    if not _GITHUB_USER.fullmatch(user):
        raise SpecError(f"'{user}' is no name of a GitHub user", hint=HOW)
    if not place.startswith(("https://", "http://")):
        raise SpecError(f"LOFTY_GITHUB_URL is no address: {place}", hint=f"export LOFTY_GITHUB_URL={GITHUB}")
    try:
        with urlopen(f"{place.rstrip('/')}/{user}.keys", timeout=15) as answer:  # noqa: S310 (the scheme was looked at)
            return str(answer.read(_MOST).decode(errors="replace"))
    except HTTPError as error:
        error.close()
        if error.code == 404:
            raise SpecError(f"GitHub knows no user '{user}'", hint=HOW) from error
        raise Unavailable(f"GitHub answers {error.code} for the keys of '{user}'", hint=HOW, retry_after=2) from error
    except OSError as error:
        raise Unavailable(f"GitHub does not answer: {error}", hint=HOW, retry_after=2) from error


def _checked(text: str, place: str) -> list[str]:
    """Each key as `KIND BASE64 COMMENT`, and nothing else of the text: options, such as a command, do not go along."""
    if "PRIVATE KEY" in text:
        raise SpecError(f"{place} is a private key, which goes nowhere", hint=f"--ssh-keys {place}.pub")
    found = [_key(line, place) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not found:
        raise SpecError(f"{place} has no public key", hint=HOW)
    return found


def _key(line: str, place: str) -> str:
    kind, _, rest = line.strip().partition(" ")
    body, _, comment = rest.strip().partition(" ")
    try:
        raw = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    length = int.from_bytes(raw[:4], "big")
    if kind not in KINDS or raw[4 : 4 + length] != kind.encode() or len(raw) < 4 + length + 32:
        raise SpecError(f"{place} has a line that is no public key: {line.strip()[:40]}", hint=HOW)
    return f"{kind} {body} {re.sub(r'[^ -~]', '', comment).strip() or place}"
