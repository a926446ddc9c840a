"""The cookies of one session, kept and sent as RFC 6265 says and browsers do. Pure: whoever asks
says what time it is.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

SETS_COOKIE = re.compile(rb"\nset-cookie:", re.IGNORECASE)
_MOST_PER_DOMAIN = 180  # as Chromium keeps
_LONGEST = 4096  # name and value, in bytes (RFC 6265, 6.1)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SEPARATORS = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?!\d)")
_DAY = re.compile(r"(\d{1,2})(?!\d)")
_YEAR = re.compile(r"(\d{2,4})(?!\d)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(slots=True)
class Cookie:
    """`domain` is without a leading dot; `expires_s` is infinite for a session cookie."""

    name: str
    value: str
    domain: str
    path: str
    host_only: bool
    secure: bool
    expires_s: float


class Jar:
    """Cookies of one session. Hosts are names without a port, lower case; times are Unix
    seconds.
    """

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def __len__(self) -> int:
        return len(self._cookies)

    def __iter__(self) -> Iterator[Cookie]:
        return iter(list(self._cookies.values()))

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of the cookie kept last under this name, whatever its domain and path."""
        values = [cookie.value for cookie in self._cookies.values() if cookie.name == name]
        return values[-1] if values else default

    def clear(self) -> None:
        self._cookies.clear()

    def keep(
        self, values: Iterable[str], *, host: str, path: str, secure: bool, now_s: float
    ) -> None:
        """Keep what the Set-Cookie headers of one answer say; what a browser ignores is ignored.
        `path` is the request's, without its query; `secure`: it came by https.
        """
        for value in values:
            cookie = parsed(value, host=host, path=path, secure=secure, now_s=now_s)
            if cookie is None:
                continue
            key = (cookie.domain, cookie.path, cookie.name)
            known = self._cookies.get(key)
            if known is not None and known.secure and not secure:
                continue  # a plain connection does not overwrite what came by a safe one
            if cookie.expires_s <= now_s:
                self._cookies.pop(key, None)
                continue
            self._cookies[key] = cookie
            if known is None:
                self._make_room(cookie.domain)

    def _make_room(self, domain: str) -> None:
        mine = [key for key in self._cookies if key[0] == domain]
        for key in mine[: max(0, len(mine) - _MOST_PER_DOMAIN)]:
            del self._cookies[key]

    def header(self, *, host: str, path: str, secure: bool, now_s: float) -> str:
        """The value of the Cookie header for a request; "" for none. Longer paths come first, then
        those kept first.
        """
        found = []
        for key, cookie in list(self._cookies.items()):
            if cookie.expires_s <= now_s:
                del self._cookies[key]
            elif (
                (host == cookie.domain or (not cookie.host_only and _within(host, cookie.domain)))
                and _path_within(path, cookie.path)
                and (secure or not cookie.secure)
            ):
                found.append(cookie)
        if len(found) > 1:
            found.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(
            f"{cookie.name}={cookie.value}" if cookie.name else cookie.value for cookie in found
        )


def parsed(text: str, *, host: str, path: str, secure: bool, now_s: float) -> Cookie | None:
    """One Set-Cookie as it came from `host`, None for one that browsers ignore (RFC 6265, 5.2 and
    5.3; without a list of public suffixes, only names of one label are no domain).
    """
    if _CONTROL.search(text):
        return None
    pair, *attributes = text.split(";")
    name, mark, value = pair.partition("=")
    name, value = (name.strip(" \t"), value.strip(" \t")) if mark else ("", pair.strip(" \t"))
    if not (name or value) or len(name) + len(value) > _LONGEST:
        return None
    given: dict[str, str] = {}
    for attribute in attributes:
        key, _, said = attribute.partition("=")
        key, said = key.strip(" \t").lower(), said.strip(" \t")
        if key not in ("expires", "domain", "path") or said:
            given[key] = said
    domain = given.get("domain", "").removeprefix(".").lower()
    cookie = Cookie(
        name,
        value,
        domain or host,
        _path_of(given.get("path", ""), path),
        not domain or (domain == host and (_is_address(host) or "." not in host)),
        "secure" in given,
        _expires_s(given, now_s),
    )
    return cookie if _is_acceptable(cookie, host, secure, given) else None


def _is_acceptable(cookie: Cookie, host: str, secure: bool, given: dict[str, str]) -> bool:
    if cookie.domain != host and ("." not in cookie.domain or not _within(host, cookie.domain)):
        return False
    if cookie.secure and not secure:
        return False
    name = cookie.name.lower()
    if name.startswith("__host-"):
        return cookie.secure and "domain" not in given and given.get("path") == "/"
    return cookie.secure or not name.startswith("__secure-")


def _within(host: str, domain: str) -> bool:
    return host.endswith(f".{domain}") and not _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _path_of(given: str, path: str) -> str:
    if given.startswith("/"):
        return given
    return path[: path.rfind("/")] or "/" if path.startswith("/") else "/"


def _path_within(path: str, parent: str) -> bool:
    return path == parent or (
        path.startswith(parent) and (parent.endswith("/") or path[len(parent)] == "/")
    )


def _expires_s(given: dict[str, str], now_s: float) -> float:
    age = given.get("max-age", "")
    if re.fullmatch(r"-?\d+", age, re.ASCII):
        return now_s + int(age[:15]) if int(age[:15]) > 0 else -math.inf
    if "expires" in given:
        at_s = date_s(given["expires"])
        if at_s is not None:
            return at_s
    return math.inf


def date_s(text: str) -> float | None:
    """A cookie's date as Unix seconds, in whatever order its parts come (RFC 6265, 5.1.1); None
    when it is none.
    """
    time: tuple[int, int, int] | None = None
    day = month = year = None
    for token in _SEPARATORS.split(text):
        if time is None and (found := _TIME.match(token)):
            time = (int(found[1]), int(found[2]), int(found[3]))
        elif day is None and (found := _DAY.match(token)):
            day = int(found[1])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (found := _YEAR.match(token)):
            year = int(found[1])
    if time is None or day is None or month is None or year is None:
        return None
    year += 1900 if 70 <= year <= 99 else 2000 if year <= 69 else 0
    if year < 1601:
        return None
    try:
        return datetime(year, month, day, *time, tzinfo=UTC).timestamp()
    except ValueError:
        return None
