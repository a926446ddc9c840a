"""A CPU quantity in thousandths of a core. Pure."""

import pytest

from stormgate.faults.backends.kubernetes.squeeze import millicores


@pytest.mark.parametrize(
    ("quantity", "found"),
    [
        ("250m", 250), ("0.25", 250), (".5", 500), ("2", 2000), (2, 2000), ("2k", 2_000_000),
        ("1e3m", 1000), ("500000u", 500), ("250000000n", 250), ("0", 0),
        (None, None), ("", None), ("m", None), ("much", None), ("nan", None), ("inf", None),
    ],
)  # fmt: skip
def test_a_quantity_is_read_or_is_none(quantity, found):
    assert millicores(quantity) == found
