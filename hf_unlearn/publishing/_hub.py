"""The Hub as it is on a bad day: what is worth another try, what is not, and what a person can do then. Knows no card."""

import json
import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, RevisionNotFoundError


logger = logging.getLogger(__name__)
RETRIED = (408, 425, 429, 500, 502, 503, 504)
LONGEST_WAIT = 120.0
Result = TypeVar("Result")
# The HTTP library changed its name between versions of huggingface_hub; its base error is the client's own base.
_HTTP_ERROR: type[Exception] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")

HUB_ERRORS: tuple[type[Exception], ...] = (
    HfHubHTTPError,
    _HTTP_ERROR,
    ConnectionError,
    TimeoutError,
    LocalEntryNotFoundError,
    json.JSONDecodeError,  # an error page where the client reads JSON before it looks at the status
)
"""What a client call may end with."""


class PublicationError(OSError):
    """A publication that did not happen; nothing is lost, and nothing half done is on the Hub.

    Attributes:
        folder: Where everything that was to be published lies.
    """

    def __init__(self, message: str, folder: Path | None = None):
        super().__init__(message)
        self.folder = folder


def hub_client(token: str | bool | None, endpoint: str | None) -> HfApi:
    """A client; the token is only ever in its headers."""
    return HfApi(endpoint=endpoint, token=token, library_name="hf_unlearn")


def patiently(call: Callable[[], Result], what: str, *, attempts: int = 6, repeatable: bool = True) -> Result:
    """Call, and again when the Hub is busy or the line is cut.

    Args:
        call: Safe to repeat.
        what: For the log.
        attempts: At most.
        repeatable: Whether to repeat when nobody knows whether the Hub did it: the line was cut, or a server in between gave up.

    Raises:
        HfHubHTTPError: The Hub's last answer.
        OSError: The line's last failure.
    """
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except Exception as error:
            if hub_cause(error) is None:
                raise
            wait = _wait(error, attempt, repeatable)
            if wait is None or attempt == attempts:
                raise
            logger.warning("%s: %s; trying again in %.0f s", what, short_error(error), wait)
            time.sleep(wait)
    raise AssertionError("unreachable")


def hub_cause(error: BaseException) -> Exception | None:
    """The error, if a client call may end with it; None for everything else, which is a fault of ours."""
    if isinstance(error, HUB_ERRORS):
        return error
    # Uploads to storage end with a RuntimeError, some of them without a cause.
    return (
        error
        if isinstance(error, RuntimeError) and not isinstance(error, (NotImplementedError, RecursionError))
        else None
    )


def _wait(error: Exception, attempt: int, repeatable: bool) -> float | None:
    """Seconds until the next try; None where there is none."""
    if _offline(error):
        return None
    status = status_of(error)
    if status is None:
        return 2.0 ** (attempt - 1) if repeatable else None
    if status not in RETRIED or (not repeatable and status != 429):
        return None
    response = _response(error)
    asked = "" if response is None else response.headers.get("Retry-After", "")
    # Seldom a date instead of seconds: then as if nothing was asked for.
    wait = float(asked) if asked.replace(".", "", 1).isdigit() else 2.0 ** (attempt - 1) * (1 + random.random() / 4)
    return min(wait, LONGEST_WAIT)


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error; None where no answer came."""
    response = _response(error)
    return None if response is None else response.status_code


def _response(error: BaseException) -> Any:
    """The Hub's answer, at most three causes down."""
    found: BaseException | None = error
    for _ in range(3):
        response = getattr(found, "response", None)
        if response is not None or found is None:
            return response
        found = found.__cause__
    return None


def _offline(error: BaseException) -> bool:
    return isinstance(error, OfflineModeIsEnabled) or isinstance(error.__cause__, OfflineModeIsEnabled)


def short_error(error: BaseException) -> str:
    """One line without addresses' queries and without any token that the environment holds."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    status = status_of(error)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if secret := os.environ.get(name):
            text = text.replace(secret, "…")
    return f"{text}" if status is None else f"HTTP {status}: {text}"


def explain(error: Exception, repo_id: str, *, writing: bool = True) -> str:
    """What happened, for a person."""
    status = status_of(error)
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no such revision"
    if status == 403 and not writing:
        return f"you may not read {repo_id}"
    if _offline(error):
        return "the Hub is switched off here (HF_HUB_OFFLINE); unset that variable"
    return {
        401: f"the Hub does not know your token, or {repo_id} is private; log in with `hf auth login`",
        403: f"your token may not write to {repo_id}; use one with write access, or create_pr=True for somebody else's repository",
        404: f"there is no repository {repo_id} that you may see",
        409: f"{repo_id} kept changing at the same time",
        412: f"{repo_id} kept changing at the same time",
        413: "the Hub refused the size of a file",
        429: "the Hub asks to slow down; wait a while",
    }.get(status or 0, f"the Hub cannot be reached or fails ({short_error(error)})")
