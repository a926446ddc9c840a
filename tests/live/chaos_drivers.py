"""What other people's Chaos Toolkit drivers do: sleep, block, raise, return False."""

import threading
import time
from pathlib import Path


def sleep(seconds, mark=None):
    """Somebody's long activity. `mark` is touched when it begins."""
    if mark:
        Path(mark).touch()
    time.sleep(seconds)


def stubborn(seconds, mark=None):
    """An activity that swallows whatever is thrown at it, as a retry loop with a bare except
    does.
    """
    if mark:
        Path(mark).touch()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            threading.Event().wait(0.2)
        except BaseException:
            continue


def fail(message="no"):
    raise RuntimeError(message)


def value(of):
    return of
