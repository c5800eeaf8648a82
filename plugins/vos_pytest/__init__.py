"""A plugin of pytest: ``pytest --vos-tracker NAME`` runs the checks of a tracker as tests, ``--vos-writer`` a writer's.

pytest loads it wherever the toolkit is installed, so it imports nothing of it until it is asked to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vos.testing import ContractCheck

KINDS = {
    "tracker": "NAME",
    "initializer": "NAME",
    "source": "LOCATION",
    "writer": "NAME",
    "format": "NAME",
    "executor": "NAME",
}
"""The kinds of plugins that are checked, and what each option ``--vos-KIND`` takes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("vos", "plugins of vos, the video object segmentation toolkit")
    for kind, metavar in KINDS.items():
        what = "a location that an installed plugin opens" if kind == "source" else f"an installed {kind}"
        group.addoption(
            f"--vos-{kind}",
            action="append",
            default=[],
            metavar=metavar,
            help=f"Check that {what} keeps the contract; may be given several times. Without paths, nothing else is "
            "tested.",
        )
    group.addoption(
        "--vos-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="An option of the plugin; may be given several times.",
    )
    group.addoption("--vos-device", default="cpu", metavar="DEVICE", help="Where a model runs (default: cpu).")
    group.addoption(
        "--vos-min-iou", type=float, default=None, metavar="IOU",
        help="Mean overlap that a tracker must reach, or that a format must keep, from 0 to 1.",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Without paths on the command line, collect the checks alone."""
    asked = any(config.getoption(f"--vos-{kind}") for kind in KINDS)
    if asked and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add a test for each clause and plugin."""
    checks: list[pytest.Item | pytest.Collector] = list(_items(session))
    if checks:  # told as collected, so that pytest counts them
        report = pytest.CollectReport("vos", "passed", None, checks)
        session.config.hook.pytest_collectreport(report=report)
        items.extend(check for check in checks if isinstance(check, CheckItem))


def _items(session: pytest.Session) -> Iterator[pytest.Item]:
    for kind in KINDS:
        for name in session.config.getoption(f"--vos-{kind}"):
            for check in _checks(session.config, kind, name):
                yield CheckItem.from_parent(session, name=f"vos-{kind}[{name}-{check.clause}]", check=check)


def _checks(config: pytest.Config, kind: str, name: str) -> list[ContractCheck]:
    import vos.testing
    from vos.plugin import Runtime, VosError

    settings: dict[str, Any] = {}
    if kind != "source":
        settings["options"] = dict(text.partition("=")[::2] for text in config.getoption("--vos-option"))
    if kind in ("tracker", "initializer"):
        settings["runtime"] = Runtime(device=config.getoption("--vos-device"))
    min_iou = config.getoption("--vos-min-iou")
    if min_iou is not None and kind in ("tracker", "format"):
        settings["min_iou"] = min_iou
    try:
        checks: list[ContractCheck] = getattr(vos.testing, f"{kind}_checks")(name, **settings)
    except VosError as error:
        raise pytest.UsageError(str(error)) from None
    return checks


class CheckItem(pytest.Item):
    """One clause of the contract, checked on one plugin."""

    def __init__(self, *, check: ContractCheck, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.check = check

    def runtest(self) -> None:
        """Run the check; what does not apply to the plugin is skipped."""
        not_for_it = self.check()
        if not_for_it is not None:
            pytest.skip(not_for_it)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what happened and the contract's words, and the plugin's own traceback where it raised."""
        from vos.testing import ContractError

        if isinstance(excinfo.value, ContractError):
            return excinfo.value.report()
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Location of the test in pytest's report."""
        return self.path, None, self.name
