"""The checks of the contract, whatever the kind of plugin: a check, a broken clause, a pytest test of several."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vos.errors import VosError
from vos.testing.clauses import CLAUSES

OWN_MODULES = ("vos.testing.kits.", "vos.testing.contract", "contextlib")
"""Modules whose frames are left out at the beginning of a plugin's traceback."""


class ContractError(VosError, AssertionError):
    """A plugin broke the contract; the message says what happened, and quotes the clause.

    Attributes:
        clause: name of the clause, a key of ``CLAUSES``.
    """

    def __init__(self, clause: str, found: str) -> None:
        """Make the message.

        Args:
            clause: a key of ``CLAUSES``.
            found: what the plugin did, and what was expected.
        """
        super().__init__(f'{found}\nClause "{clause}": {CLAUSES[clause]}\nAll clauses: vos plugin contract')
        self.clause = clause

    def report(self) -> str:
        """The message for a test's output, and the plugin's own traceback where it raised."""
        cause = self.__cause__
        if cause is None:
            return str(self)
        own = cause.__traceback__
        while own is not None and own.tb_next and own.tb_frame.f_globals.get("__name__", "").startswith(OWN_MODULES):
            own = own.tb_next
        return f"{self}\n\n{''.join(traceback.format_exception(type(cause), cause, own))}"


@dataclass(frozen=True)
class ContractCheck:
    """One clause of the contract, ready to be checked on one plugin: call it.

    Attributes:
        clause: the clause's name; ``CLAUSES[clause]`` is its text.
        run: checks it; returns why the clause does not apply, or None.
    """

    clause: str
    run: Callable[[], str | None]

    def __call__(self) -> str | None:
        """Run the check.

        Returns:
            None if the plugin passed; else why the clause does not apply to this plugin.
        Raises:
            ContractError: the plugin broke the contract.
        """
        return self.run()

    def __str__(self) -> str:
        return self.clause


def check_all(checks: Iterable[ContractCheck]) -> list[str]:
    """Run checks one after another.

    Args:
        checks: as ``tracker_checks`` and its likes list them.
    Returns:
        The clauses that were checked; those that do not apply are left out.
    Raises:
        ContractError: the first clause that the plugin breaks.
    """
    return [check.clause for check in checks if check() is None]


def contract_test(subject: Any, **settings: Any) -> Callable[[ContractCheck], None]:
    """Make a pytest test of a plugin, a case for each clause.

    In a test file: ``test_tracker = contract_test("mine")``, or ``test_writer = contract_test(writer_checks("mine"))``.

    Args:
        subject: checks, as ``writer_checks`` and its likes list them; or a tracker as for ``tracker_checks``.
        settings: with a tracker, the other arguments of ``tracker_checks``.
    Returns:
        A parametrized test function.
    """
    import pytest

    if isinstance(subject, Sequence) and not isinstance(subject, str):
        checks = list(subject)
    else:
        from vos.testing.kits.tracker import tracker_checks

        checks = tracker_checks(subject, **settings)

    @pytest.mark.parametrize("check", checks, ids=str)
    def test_contract(check: ContractCheck) -> None:
        broken = not_for_it = None
        try:
            not_for_it = check()
        except ContractError as error:
            broken = error.report()
        if broken is not None:
            pytest.fail(broken, pytrace=False)
        if not_for_it is not None:
            pytest.skip(not_for_it)

    return test_contract


@contextmanager
def breaking(clause: str, what: str, *, allowed: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn an exception of the block into a broken clause.

    Args:
        clause: the clause that it breaks.
        what: what was called, as the message begins (``"close"``).
        allowed: exceptions that pass as they are.
    Raises:
        ContractError: the block raised another exception.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (ContractError, *allowed)):
            raise
        raise ContractError(clause, f"{what} raised {type(error).__name__}: {error}") from error
