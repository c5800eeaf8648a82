from pathlib import Path

import pytest

from vos.io.natural_order import are_decimals, natural_order

ORDERS = {
    "numbers": ["1", "2", "10", "100"],
    "padded numbers": ["008", "009", "010", "100"],
    "prefix": ["frame1", "frame2", "frame10"],
    "hyphen": ["frame-1", "frame-2", "frame-10"],
    "seconds": ["0", "0.125", "0.25", "0.5", "0.75", "1", "10.5"],
    "seconds with letters": ["t0.25s", "t0.5s", "t1s", "t10.125s"],
    "signed": ["-10", "-3", "-1", "0", "2", "11"],
    "signed with a prefix": ["z-12", "z-2", "z0", "z3", "z10"],
    "versions": ["v1.2", "v1.9", "v1.10"],
    "padded decimals": ["1.000", "1.100", "2.050", "10.000"],
    "several numbers": ["a1_b2", "a1_b10", "a2_b1"],
}


@pytest.mark.parametrize("kind", ORDERS)
def test_order_by_value(kind):
    right = [Path(f"{name}.png") for name in ORDERS[kind]]
    assert natural_order(right[::-1]) == right
    assert natural_order(right[1::2] + right[::2]) == right
    assert are_decimals(right) == (kind in ("seconds", "seconds with letters", "signed", "signed with a prefix",
                                            "padded decimals"))  # fmt: skip
