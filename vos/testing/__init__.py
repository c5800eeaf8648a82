"""For plugin authors: tiny sequences with exact masks, stub trackers, and checks of the contract of every kind."""

from vos.testing.clauses import CLAUSES, CLAUSES_BY_KIND
from vos.testing.contract import ContractCheck, ContractError, check_all, contract_test
from vos.testing.kits.executor import check_executor, executor_checks
from vos.testing.kits.format import check_format, format_checks
from vos.testing.kits.initializer import check_initializer, initializer_checks
from vos.testing.kits.source import check_source, source_checks
from vos.testing.kits.tracker import check_tracker, tracker_checks
from vos.testing.kits.writer import check_writer, writer_checks
from vos.testing.plugin_checks import check_plugin
from vos.testing.sequences import TinySequence, tiny_sequence
from vos.testing.stub import StubEncodingTracker, StubTracker

__all__ = [
    "CLAUSES",
    "CLAUSES_BY_KIND",
    "ContractCheck",
    "ContractError",
    "StubEncodingTracker",
    "StubTracker",
    "TinySequence",
    "check_all",
    "check_executor",
    "check_format",
    "check_initializer",
    "check_plugin",
    "check_source",
    "check_tracker",
    "check_writer",
    "contract_test",
    "executor_checks",
    "format_checks",
    "initializer_checks",
    "source_checks",
    "tiny_sequence",
    "tracker_checks",
    "writer_checks",
]
