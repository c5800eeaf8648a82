import types

import pytest

import vos
from vos.plugin import API_VERSION
from vos.registry.discovery import Origin, Plugins


def load(**declared):
    module = types.ModuleType("guest")
    vars(module).update(declared)
    plugins = Plugins()
    plugins.register(module, Origin("guest", "guest", "vos-guest", "2.0"))
    return plugins


@pytest.mark.parametrize("declared", [{}, {"VOS_API": None}, {"VOS_API": API_VERSION[0]}])
def test_a_plugin_for_this_api_is_taken(declared):
    assert not load(**declared).broken


@pytest.mark.parametrize(
    ("declared", "advice"),
    [
        (2, "Install a newer vos."),
        (0, "Install a newer version of the plugin."),
    ],
)
def test_a_plugin_for_another_api_is_refused_by_name(declared, advice, caplog):
    (broken,) = load(VOS_API=declared).broken
    assert (
        f"built for version {declared} of the plugin API, this is vos {vos.__version__} with version 1." in broken.error
    )
    assert broken.error.endswith(advice)
    assert "plugin guest (vos-guest 2.0) is broken and was skipped: it was built for" in caplog.text


def test_a_version_that_is_no_number_is_refused():
    (broken,) = load(VOS_API="one").broken
    assert broken.error == "its VOS_API is 'one', expected a number such as 1."
