"""How a plain Locust user's exceptions become outcomes."""

import os
import ssl

import pytest

# Locust patches the interpreter for gevent on import, which this process's other tests must not
# notice; nor must the locust processes that they start be told not to.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
from stormgate.load.locust.closed_loop import outcome_of
from stormgate.net.guard import PacketRefusedError

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]


def wrapped(inner):
    try:
        try:
            raise inner
        except Exception as error:
            raise RuntimeError("request failed") from error
    except RuntimeError as error:
        return error


class ConnectTimeout(Exception):  # noqa: N818 - requests calls it so
    pass


class ReadTimeout(Exception):  # noqa: N818 - requests calls it so
    pass


@pytest.mark.parametrize(
    ("exception", "status", "expected"),
    [
        (None, 200, "ok"),
        (None, 404, "ok"),  # response.success() said so
        ("", 500, "ok"),  # ... and Locust counts no failure either
        (RuntimeError("503 Server Error"), 503, "bad_status"),
        (ConnectionRefusedError(111, "Connection refused"), 0, "refused"),
        (wrapped(PacketRefusedError("10.0.0.1:80 is not in the allow list")), 0, "not_sent"),
        (wrapped(ConnectionRefusedError(111, "Connection refused")), 0, "refused"),
        (ConnectionResetError(104, "x"), 0, "reset"),
        (BrokenPipeError(32, "x"), 0, "reset"),
        (ConnectTimeout("x"), 0, "connect_timeout"),
        (ReadTimeout("x"), 0, "first_byte_timeout"),
        (TimeoutError("timed out"), 0, "first_byte_timeout"),
        (ssl.SSLCertVerificationError("x"), 0, "tls"),
        (RuntimeError("response was wrong"), 200, "wrong_body"),
        ("response was wrong", 200, "wrong_body"),
        (RuntimeError("?"), 0, "reset"),
    ],
)
def test_outcomes(exception, status, expected):
    assert outcome_of(exception, status) == expected
