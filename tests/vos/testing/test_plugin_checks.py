"""A bad plugin of each kind, and the clause that it breaks."""

import pytest

from vos.testing import CLAUSES, ContractError, check_plugin

GOOD = """
import dataclasses, vos.plugin
from vos.testing import StubTracker

@dataclasses.dataclass(frozen=True)
class Options:
    side: int = vos.plugin.option(480, "Short side, in pixels.")

@vos.plugin.hookimpl
def vos_trackers():
    return [vos.plugin.TrackerSpec("guest", "A guest.", lambda options, runtime: StubTracker(), Options)]
"""

BAD_PLUGINS = {
    "hooks": [
        ("vos_trackers():", "vos_trackerz():", 'unknown hook "vos_trackerz". Did you mean "vos_trackers"?'),
        ("vos_trackers():", "vos_trackers(frame):", "Argument.*frame"),
        ("return [vos", "return ['guest'] or [vos", "vos_trackers returned a str, expected TrackerSpec"),
        ("@vos.plugin.hookimpl\ndef vos_trackers", "def offer", "it has no hook"),
        ("import dataclasses", "import no_such_module, dataclasses", "No module named 'no_such_module'"),
        (", Options)", ", dict)", "options is <class 'dict'>, expected a dataclass"),
        ("@vos.plugin.hookimpl", "VOS_API = 99\n@vos.plugin.hookimpl", "built for version 99"),
        (
            "@vos.plugin.hookimpl",
            "import sys; sys.modules['pytest']\n@vos.plugin.hookimpl",
            "cannot be imported in a new interpreter",
        ),
    ],
    "specs": [
        ('"guest"', '"Guest Tracker"', "the name has other characters"),
        ('"A guest."', '"A guest.\\nOf honour."', "expected one line"),
        ('"A guest."', '" "', "the summary is ' ', expected one line"),
        ('= vos.plugin.option(480, "Short side, in pixels.")', "", 'option "side" has no default'),
        ('= vos.plugin.option(480, "Short side, in pixels.")', "= 480", 'option "side" has no help text'),
        ("side: int", "side: list[int]", 'option "side": its type is list'),
        ("side: int", "side: int | str", 'option "side": its type is int or text, expected int, float'),
        ("vos.plugin.option(480", "vos.plugin.option('480'", "option \"side\": its default is '480', expected int"),
        ("vos.plugin.option(480", "vos.plugin.option(4.5", 'option "side": its default is 4.5, expected int'),
    ],
    "light-import": [("import dataclasses", "import dataclasses, scipy", "imports scipy")],
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(text):
        name = f"guest_{abs(hash(text))}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_a_good_plugin_tells_its_names(write):
    assert check_plugin(write(GOOD)) == ["guest"]


@pytest.mark.parametrize(
    ("clause", "old", "new", "message"), [(clause, *case) for clause, cases in BAD_PLUGINS.items() for case in cases]
)
def test_a_bad_plugin_is_told_which_clause_it_breaks(write, clause, old, new, message):
    assert old in GOOD
    with pytest.raises(ContractError, match=message) as caught:
        check_plugin(write(GOOD.replace(old, new)))
    assert caught.value.clause == clause
    assert CLAUSES[clause] in str(caught.value)
