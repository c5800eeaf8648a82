"""A plugin of pytest: ``pytest --vos-tracker NAME`` runs the tracker checks as tests.

pytest loads it wherever the toolkit is installed, so it imports nothing of it until it is asked to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vos.testing import TrackerCheck


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("vos", "video object segmentation trackers")
    group.addoption(
        "--vos-tracker",
        action="append",
        default=[],
        metavar="NAME",
        help="Check that an installed tracker keeps the contract; may be given several times. "
        "Without paths, nothing else is tested.",
    )
    group.addoption(
        "--vos-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="An option of the tracker; may be given several times.",
    )
    group.addoption("--vos-device", default="cpu", metavar="DEVICE", help="Where the tracker runs (default: cpu).")
    group.addoption(
        "--vos-min-iou", type=float, default=None, metavar="IOU", help="Mean overlap that it must reach, from 0 to 1."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Without paths on the command line, collect the tracker checks alone."""
    if config.getoption("--vos-tracker") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add a test for each clause and tracker."""
    checks: list[pytest.Item | pytest.Collector] = list(_checks(session))
    if checks:  # told as collected, so that pytest counts them
        report = pytest.CollectReport("vos", "passed", None, checks)
        session.config.hook.pytest_collectreport(report=report)
        items.extend(check for check in checks if isinstance(check, CheckItem))


def _checks(session: pytest.Session) -> Iterator[pytest.Item]:
    names = session.config.getoption("--vos-tracker")
    if not names:
        return
    from vos.plugin import Runtime, VosError
    from vos.testing import tracker_checks

    config = session.config
    options = dict(text.partition("=")[::2] for text in config.getoption("--vos-option"))
    for name in names:
        try:
            checks = tracker_checks(
                name,
                options=options,
                runtime=Runtime(device=config.getoption("--vos-device")),
                min_iou=config.getoption("--vos-min-iou"),
            )
        except VosError as error:
            raise pytest.UsageError(str(error)) from None
        for check in checks:
            yield CheckItem.from_parent(session, name=f"vos-tracker[{name}-{check.clause}]", check=check)


class CheckItem(pytest.Item):
    """One clause of the contract, checked on one tracker."""

    def __init__(self, *, check: TrackerCheck, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.check = check

    def runtest(self) -> None:
        """Run the check; what does not apply to the tracker is skipped."""
        not_for_it = self.check()
        if not_for_it is not None:
            pytest.skip(not_for_it)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what happened and the contract's words, and the tracker's own traceback where it raised."""
        from vos.testing import ContractError

        if isinstance(excinfo.value, ContractError):
            return excinfo.value.report()
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the test is, for pytest's listing."""
        return self.path, None, self.name
