"""obstore's errors as ours, in one line each: its own show the Rust structures behind them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from ..errors import Damaged, Forbidden, LoftyError, NotLoggedIn, Stale, StoreError
from .clouds import LOGIN, SCHEMES


class NotModified(Exception):
    """The version asked about is still the current one."""


@contextmanager
def translated(url: str, key: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes `KeyError`, `Stale`, `Damaged`, `AccessError` or `StoreError`."""
    try:
        yield
    except (LoftyError, KeyError):
        raise
    except NotModifiedError as error:
        raise NotModified from error
    except (BaseError, OSError, ValueError) as error:
        raise _ours(error, url, key) from error


_LOGGED_OUT = frozenset(
    {
        "AuthenticationFailed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidAuthenticationInfo",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "StorageQuotaExceeded", "XMinioStorageFull"})


def _ours(error: Exception, url: str, key: str) -> Exception:
    text = str(error)
    scheme, container = urlsplit(url)[:2]
    where = f"{url}: {key}" if key else url
    code = _found(r"<Code>(\w+)</Code>", text)
    reason = _reason(error, code)
    if code in ("NoSuchBucket", "ContainerNotFound"):
        return StoreError(f"there is no {SCHEMES[scheme]} '{container}'", hint="make it, or correct the address")
    if code in ("AuthorizationHeaderMalformed", "PermanentRedirect") or "incorrectly configured region" in text:
        region = _found(r"expecting '([\w-]+)'", text) or _found(r"<Region>([\w-]+)</Region>", text)
        which = f"in region {region}" if region else "in another region"
        return StoreError(f"bucket '{container}' lies {which}", hint=f"s3://{container}/…?region={region or 'REGION'}")
    if code in _FULL or "status code: 507" in text or "No space left" in text:
        return StoreError(f"{where}: {reason}", hint="free some space and run the command again")
    if code == "RequestTimeTooSkewed":
        return NotLoggedIn(f"no access to {url}: {reason}", hint="set this computer's clock")
    if code in _LOGGED_OUT or isinstance(error, UnauthenticatedError) or "status code: 401" in text:
        return NotLoggedIn(f"no access to {url}: {reason}", hint=LOGIN.get(scheme, "lofty check"))
    if isinstance(error, (PermissionDeniedError, PermissionError)) or "status code: 403" in text:
        return Forbidden(f"no access to {url}: {reason}", hint="lofty check")
    if isinstance(error, FileNotFoundError):
        return KeyError(key)
    if isinstance(error, (AlreadyExistsError, PreconditionError)):
        return Stale(f"{key} was written by somebody else first")
    if code == "InvalidRange" or "status code: 416" in text or "StartTooLarge" in text:
        return Damaged(f"{where}: shorter than it should be")
    return StoreError(f"{where}: {reason}", hint="lofty check")


_SIGNS = {
    'message: "Connection refused"': "nothing answers at {host}",
    "dns error": "{host} has no address; is there a network?",
    "kind: Timeout": "no answer from {host} in time",
    "TimedOut": "no answer from {host} in time",
    "kind: Connect,": "no connection to {host}",
    "kind: Interrupted": "the connection to {host} broke again and again",
    "ConnectionReset": "the connection to {host} broke again and again",
    "IncompleteMessage": "the connection to {host} broke again and again",
}
"""What obstore says only in its debug text."""


def _reason(error: Exception, code: str) -> str:
    """The store's own words where it has some, else what became of the connection, else the first line."""
    text = str(error)
    status = _found(r"status code: (\d+ [\w -]*\w)", text)
    if code:
        said = " ".join(_found(r"<Message>([^<]*)", text).split())[:200].rstrip(".")
        return _harmless(f"{said} ({code})" if said and said != code else code)
    if status:
        return f"the store answered {status}"
    host = urlsplit(_found(r"(https?://\S+)", text)).netloc or "the store"
    for sign, words in _SIGNS.items():
        if sign in text and not isinstance(error, OSError):
            return words.format(host=host)
    lines = text.splitlines() or [type(error).__name__]
    causes = [line.strip() for line in lines if "message:" in line or "os error" in line]
    first = f"{lines[0]} ({causes[0]})" if causes and causes[0] not in lines[0] else lines[0]
    return _harmless(first)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _harmless(text: str) -> str:
    """Without what signs a request, and without any secret of the environment."""
    text = re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", text)
    for name, value in os.environ.items():
        if len(value) >= 8 and re.search(r"SECRET|TOKEN|_KEY$|SAS|PASSWORD", name) and value in text:
            text = text.replace(value, "…")
    return text
