import pytest

pytest_plugins = ["pytester"]

PLUGIN = """
import dataclasses, vos
from vos.testing import StubTracker

class Forgetful(StubTracker):
    def annotate(self, frame, label_map):
        raise KeyError("weights")

    def step(self, frame):
        prediction = super().step(frame)
        return vos.Prediction(prediction.object_ids[:1], prediction.logits[:1])

@dataclasses.dataclass(frozen=True)
class Options:
    good: bool = vos.plugin.option(True, "Keep the contract.")

@vos.plugin.hookimpl
def vos_trackers():
    make = lambda options, runtime: StubTracker() if options.good else Forgetful()
    return [vos.plugin.TrackerSpec("stub", "A stub.", make, Options)]
"""


@pytest.fixture
def installed(pytester, monkeypatch):
    """A distribution beside the tests, found through its entry point."""
    pytester.makepyfile(stub_plugin=PLUGIN, test_own="def test_own(): pass")
    info = pytester.mkdir("stub_plugin-1.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stub-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vos]\nstub = stub_plugin\n")
    monkeypatch.setenv("VOS_PLUGINS_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    return pytester


def test_a_named_tracker_is_checked_clause_by_clause(installed):
    result = installed.runpytest_subprocess("--vos-tracker", "stub", "-v")
    result.stdout.fnmatch_lines(["*vos-tracker?stub-ids? PASSED*", "*vos-tracker?stub-encoding? SKIPPED*"])
    result.stdout.fnmatch_lines(["*collected 19 items"])
    assert result.ret == 0
    assert "test_own" not in result.stdout.str()


def test_with_paths_the_checks_are_added(installed):
    result = installed.runpytest_subprocess("--vos-tracker", "stub", "test_own.py", "-v", "-k", "own or ids")
    result.assert_outcomes(passed=2, deselected=18)


def test_a_failure_shows_the_contract(installed):
    result = installed.runpytest_subprocess("--vos-tracker", "stub", "--vos-option", "good=no", "-k", "stub-ids")
    result.stdout.fnmatch_lines(
        ["*gave rows for *, expected 3, 200, 254.", 'Clause "ids": *', "All clauses: vos plugin contract"]
    )
    result.assert_outcomes(failed=1, deselected=18)


def test_an_unknown_tracker_is_a_usage_error(installed):
    result = installed.runpytest_subprocess("--vos-tracker", "stubb")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*no tracker named "stubb"*Did you mean "stub"?'])


def test_contract_test_makes_a_parametrized_test(installed):
    installed.makepyfile(
        test_contract="from vos.testing import contract_test\ntest_contract = contract_test('stub', min_iou=0.2)"
    )
    result = installed.runpytest_subprocess("test_contract.py")
    result.assert_outcomes(passed=19, skipped=1)


def test_nothing_of_the_toolkit_is_imported_when_not_asked_for(installed):
    installed.makepyfile(
        test_light="import sys\ndef test_light(): assert not {'vos', 'cv2', 'numpy'} & set(sys.modules)"
    )
    installed.runpytest_subprocess("test_light.py").assert_outcomes(passed=1)


def test_an_exception_is_shown_with_the_trackers_own_traceback_alone(installed):
    installed.makepyfile(
        test_contract="from vos.testing import contract_test\ntest_c = contract_test('stub', options={'good': False})"
    )
    for arguments in (["--vos-tracker", "stub", "--vos-option", "good=no"], ["test_contract.py"]):
        result = installed.runpytest_subprocess(*arguments, "-k", "later-objects")
        result.stdout.fnmatch_lines(
            ["*annotate on frame 00002 raised*", "*stub_plugin.py*, in annotate", "KeyError: 'weights'"]
        )
        assert "driver.py" not in result.stdout.str()
