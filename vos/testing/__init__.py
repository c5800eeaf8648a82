"""For plugin authors: tiny sequences with exact masks, a stub tracker, and checks of the contract."""

from vos.testing.checks import TrackerCheck, check_tracker, contract_test, tracker_checks
from vos.testing.contract import CLAUSES, ContractError
from vos.testing.plugin_checks import check_plugin
from vos.testing.sequences import TinySequence, tiny_sequence
from vos.testing.stub import StubEncodingTracker, StubTracker

__all__ = [
    "CLAUSES",
    "ContractError",
    "StubEncodingTracker",
    "StubTracker",
    "TinySequence",
    "TrackerCheck",
    "check_plugin",
    "check_tracker",
    "contract_test",
    "tiny_sequence",
    "tracker_checks",
]
