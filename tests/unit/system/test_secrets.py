"""What is secret stays so in whatever form it is written."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, urlencode
from xml.sax import saxutils

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape
from requests.utils import requote_uri

from stormgate.system import secrets


@pytest.fixture(autouse=True)
def unknowing() -> Iterator[None]:
    secrets.forget()
    yield
    secrets.forget()


SECRETS = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cs"]),
    min_size=4,
    max_size=40,
).filter(lambda text: len(text.strip()) >= 4 and not set(text) <= set("*NAME0123456789 "))


@given(SECRETS, st.text(max_size=20), st.text(max_size=20))
def test_in_longer_text_and_encoded_it_is_found(secret: str, before: str, after: str) -> None:
    secrets.forget()
    secrets.know("NAME", secret)
    for form in (
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        urlencode({"k": secret}).removeprefix("k="),
        json.dumps(secret)[1:-1],
        html.escape(secret),
        str(escape(secret)),
        repr(secret)[1:-1],
        requote_uri("http://h/" + secret).removeprefix("http://h/"),
        html.escape(json.dumps({"k": secret})).removeprefix("{&quot;k&quot;: &quot;")[:-7],
        json.dumps(html.escape(secret))[1:-1],
        quote(quote(secret)),
        re.sub(r"([\\`*_{}\[\]()#+.!|<>~-])", r"\\\1", secret),
        saxutils.escape(secret),
        saxutils.quoteattr(secret)[1:-1],
        str([secret, {"k": repr(secret)}]),
    ):
        if len(form) >= 4:
            assert "***NAME***" in secrets.redacted(before + form + after), form


@given(SECRETS, st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_inside_base64_it_is_found(secret: str, before: bytes, after: bytes, url: bool) -> None:
    if len(secret.encode()) < 6:
        return
    secrets.forget()
    secrets.know("NAME", secret)
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    code = encode(before + secret.encode() + after).decode()
    assert secrets.redacted(f"Basic {code}, more") == "Basic ***NAME***, more"


def test_a_text_without_secrets_stays_as_it_is() -> None:
    text = "nothing to see: 10.0.0.1:8080"
    assert secrets.redacted(text) == text
    secrets.know("TOKEN", "hunter22")
    assert secrets.redacted(text) == text
    assert secrets.redacted_data({"at_ns": 1, "x": [None, True, 0.5]}) == {
        "at_ns": 1,
        "x": [None, True, 0.5],
    }


@pytest.mark.parametrize("value", ["", "abc", "   a ", None, True, ["abcdef"], {}])
def test_what_is_too_short_or_no_text_is_no_secret(value: object) -> None:
    secrets.know("NAME", value)
    assert secrets.known() == {}


def test_the_longer_of_two_is_found_first_and_the_first_name_stays() -> None:
    secrets.know("SHORT", "abcd")
    secrets.know("LONG", "abcdefgh")
    secrets.know("OTHER", "abcd")
    assert secrets.redacted("abcdefgh abcd") == "***LONG*** ***SHORT***"


@pytest.mark.parametrize("end", ["", "...", "…", "'", "'>", "...'"])
def test_a_secret_that_a_text_was_cut_in_is_found(end: str) -> None:
    secret = "s3cr3t-of-the-house"
    secrets.know("NAME", secret)
    for length in range(6, len(secret)):
        assert secrets.redacted(f"it was {secret[:length]}{end}") == f"it was ***NAME***{end}"
    assert secrets.redacted(f"it was {secret[:6]} and more") == f"it was {secret[:6]} and more"


def test_two_secrets_of_one_name_stay_two() -> None:
    secrets.know("password", "hunter22")
    secrets.know("password", "swordfish")
    record = {"a": ["swordfish", "hunter22"]}
    written = secrets.without_secrets(record)
    assert written["a"] == ["${password-2}", "${password}"]
    assert secrets.with_secrets(written, {}) == record


def test_a_number_is_only_found_whole() -> None:
    secrets.know("PIN", 8080)
    assert secrets.redacted("at 8080, not 18080 or 80801") == "at ***PIN***, not 18080 or 80801"


def test_each_line_of_a_key_is_a_secret() -> None:
    secrets.know("PEM", "-----BEGIN-----\nMIIabcdefghij\nklmnopqrst==\n-----END-----\n")
    assert "klmnopqrst" not in secrets.redacted("error at klmnopqrst==")


def test_data_is_redacted_in_values_and_keys_but_for_what_joins_rows() -> None:
    secrets.know("TOKEN", "hunter22")
    row = {"fault": "hunter22", "why": ["with hunter22"], "hunter22": {"n": 1}, "n": 2}
    assert secrets.redacted_data(row, keep=frozenset({"fault"})) == {
        "fault": "hunter22",
        "why": ["with ***TOKEN***"],
        "***TOKEN***": {"n": 1},
        "n": 2,
    }


@given(st.lists(SECRETS, max_size=3, unique=True), st.text(max_size=30))
def test_what_is_written_as_references_is_filled_in_again(values: list[str], text: str) -> None:
    secrets.forget()
    if any("$" in each for each in [*values, text]):
        return
    for number, value in enumerate(values):
        secrets.know(f"S{number}", value)
    data = {"a": [text, *values, *(f"x{value}y" for value in values)], "n": 1}
    data["b"] = {"c": [f"{value!r}" for value in values], "d": [quote(value) for value in values]}
    written = secrets.without_secrets(data)
    assert json.loads(json.dumps(secrets.with_secrets(written, {}))) == data
    assert not any(value in text for value in values for text in written["a"])
    if not any(len(set(value)) < 3 for value in values):
        assert not any(value in text for value in values for text in written["b"]["c"])


def test_a_reference_that_nobody_knows_is_named() -> None:
    secrets.know("TOKEN", "hunter22")
    written = secrets.without_secrets({"a": "x hunter22 ${OTHER}", "b": [{"c": "hunter22"}]})
    assert written == {
        "a": "x ${TOKEN} ${OTHER}",
        "b": [{"c": "${TOKEN}"}],
        "references": ["TOKEN"],
    }
    secrets.forget()
    with pytest.raises(KeyError, match="TOKEN"):
        secrets.with_secrets(written, {})
    filled = {"a": "x hunter22 ${OTHER}", "b": [{"c": "hunter22"}]}
    assert secrets.with_secrets(written, {"TOKEN": "hunter22"}) == filled
    assert secrets.with_secrets({"a": "${NOT_OURS}"}, {}) == {"a": "${NOT_OURS}"}


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("API_TOKEN", True),
        ("DB_PASSWORD", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("apiKey", True),
        ("signing-key", True),
        ("KEY", True),
        ("Credentials", True),
        ("KEYBOARD", False),
        ("MONKEY", False),
        ("REGION", False),
        ("PWD", False),
        ("HOME", False),
    ],
)
def test_names_that_say_so(name: str, yes: bool) -> None:
    assert secrets.looks_secret(name) is yes


def test_of_an_environment_what_is_referred_to_and_what_looks_secret() -> None:
    environment = {
        "REGION": "eu-west",
        "API_TOKEN": "12345678",
        "SHORT_KEY": "1234567",
        "STORMGATE_TOKEN": "not-a-secret",
        "HOME": "/home/someone",
    }
    secrets.know_environment(environment, ["REGION", "UNSET"])
    assert set(secrets.known().values()) == {"REGION", "API_TOKEN"}
