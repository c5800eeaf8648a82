from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from vos.plugin import OptionError, option
from vos.registry.options import describe_options, make_options, parse_assignments


@dataclass(frozen=True)
class Options:
    count: int = option(3, "How many.")
    rate: float = option(0.5, "How fast.")
    quality: Literal["fast", "best"] = option("best", "How well.")
    both: bool = option(False, "Both.")
    path: Path | None = option(None, "Where.")
    scales: tuple[float, ...] = option((1.0,), "Scales.")
    size: tuple[int, int] = option((4, 5), "Size.")
    name: str = option("x", "Name.")

    def __post_init__(self):
        if self.count < 0:
            raise ValueError("count is below 0")


def test_text_is_parsed_to_the_fields_types():
    given = {
        "count": "7",
        "rate": "2",
        "quality": "fast",
        "both": "yes",
        "path": "a/b",
        "scales": "1,0.5",
        "size": "1,2",
    }
    assert make_options(Options, given, "x") == Options(7, 2.0, "fast", True, Path("a/b"), (1.0, 0.5), (1, 2))


def test_python_values_and_hyphens_are_taken():
    made = make_options(Options, {"rate": 1, "path": None, "scales": [1, 2], "name": Path("n")}, "x")
    assert made.rate == 1.0
    assert made.scales == (1.0, 2.0)
    assert made.name == "n"
    assert make_options(Options, None, "x") == Options()
    ready = Options(count=9)
    assert make_options(Options, ready, "x") is ready


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cout": "1"}, 'T has no option "cout". It has: count, .* Did you mean "count"?'),
        ({"count": "many"}, "option \"count\" is 'many', expected int"),
        ({"count": 1.5}, 'option "count" is 1.5, expected int'),
        ({"count": True}, 'option "count" is True, expected int'),
        ({"quality": "good"}, r"expected fast\|best"),
        ({"both": "maybe"}, "expected bool"),
        ({"size": "1"}, "2 values"),
        ({"size": 1}, 'option "size" is 1, expected int,int'),
        ({"scales": None}, 'option "scales" is None, expected float,...'),
        ({7: "1"}, 'T has no option "7"'),
        ({"count": "-1"}, "T: count is below 0"),
        ({"name": "none", "count": "none"}, "expected int"),
    ],
)
def test_what_does_not_fit_is_said(given, message):
    with pytest.raises(OptionError, match=message):
        make_options(Options, given, "T")


def test_none_is_text_where_text_is_wanted():
    assert make_options(Options, {"name": "none", "path": "none"}, "x") == Options(name="none", path=None)


def test_options_are_described():
    rows = {row.name: row for row in describe_options(Options)}
    assert (rows["quality"].type_name, rows["quality"].default, rows["quality"].help) == (
        "fast|best",
        "best",
        "How well.",
    )
    assert rows["path"].type_name == "path or none"
    assert rows["both"].default == "false"


def test_assignments():
    assert parse_assignments(["a=1", "b=x=y", "a=2"]) == {"a": "2", "b": "x=y"}
    with pytest.raises(OptionError, match='key=value, found "quality"'):
        parse_assignments(["quality"])
