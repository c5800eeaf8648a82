"""The kit for writers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from vos.host.outputs.run_record import RECORD_NAME
from vos.host.outputs.writer_making import make_writer
from vos.host.tracking import track
from vos.protocols.writer import Writer
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.options import make_options
from vos.testing.contract import ContractCheck, ContractError, breaking, check_all
from vos.testing.kits.methods import check_methods
from vos.testing.kits.writer_driver import Files, WriterDriver, files_under
from vos.testing.sequences import TinySequence, tiny_sequence
from vos.testing.stub import StubTracker
from vos.types.arrays import Size

WriterFactory: TypeAlias = Callable[[Path], Writer]
"""Makes a new writer. Its argument is a folder of its own, for a writer with a path beside ``run.output``."""


@dataclass(frozen=True)
class WriterSettings:
    """Writer factory, path and frame size of the checks.

    Attributes:
        factory: makes the writer.
        path: name, inside the folder, of the file or folder that the writer's options ask for; or None.
        size: (H, W) of most frames, pixels.
    """

    factory: WriterFactory
    path: str | None = None
    size: Size = (48, 64)

    @contextmanager
    def driver(self, clause: str) -> Iterator[WriterDriver]:
        """Make a writer for a check, in a folder of its own."""
        with TemporaryDirectory(prefix="vos-testing-") as folder:
            with breaking(clause, "the factory"):
                writer = self.factory(Path(folder))
            yield WriterDriver(writer, clause, Path(folder))

    def sequence(self, length: int = 4) -> TinySequence:
        """Two objects, of which the first is absent for a while."""
        return tiny_sequence("vanishing", size=self.size, length=length, object_ids=(3, 9))

    def run(self, clause: str, sequence: TinySequence, positions: Sequence[int] | None = None) -> Files:
        """Files that a new writer leaves after a sequence."""
        with self.driver(clause) as driver:
            return driver.run(sequence, positions)


def writer_checks(
    writer: str | WriterFactory,
    *,
    options: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
    size: Size = (48, 64),
) -> list[ContractCheck]:
    """List the checks of a writer without running them. They write into temporary folders alone.

    Args:
        writer: an installed writer's name, or a function that makes a new writer each time; it is given a folder of
            its own, for a writer that takes a path.
        options: the named writer's options; a relative ``path`` is taken from the temporary folder.
        plugins: where to find the name; by default all installed plugins.
        size: (H, W) of most frames, pixels.
    Returns:
        One check for each clause.
    Raises:
        PluginError: no such writer.
        OptionError: the options do not fit it.
    """
    settings = writer_settings(writer, options=options, plugins=plugins, size=size)
    return [ContractCheck(clause, partial(check, settings)) for clause, check in _CHECKS.items()]


def check_writer(writer: str | WriterFactory, **settings: Any) -> list[str]:
    """Check that a writer keeps the contract.

    Args:
        writer: as for ``writer_checks``.
        settings: the other arguments of ``writer_checks``.
    Returns:
        The clauses that were checked.
    Raises:
        ContractError: the first clause that it breaks.
    """
    return check_all(writer_checks(writer, **settings))


def writer_settings(
    writer: str | WriterFactory,
    *,
    options: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
    size: Size = (48, 64),
) -> WriterSettings:
    """As ``writer_checks``: what the checks run on."""
    if not isinstance(writer, str):
        return WriterSettings(writer, size=size)
    name, given = writer, dict(options or {})
    loaded = plugins or load_plugins()
    make_options(loaded.writers.get(name).options, given, f'writer "{name}"')
    path = str(given["path"]) if "path" in given else None

    def make(folder: Path) -> Writer:
        return make_writer((name, given if path is None else {**given, "path": folder / path}), loaded)

    return WriterSettings(make, path, size)


def _methods(settings: WriterSettings) -> None:
    with settings.driver("writer-methods") as driver:
        needed = {"open": 1, "write": 3, "close": 0, "abort": 1}
        check_methods("writer-methods", driver.writer, needed, {"outputs": 1})


def _run(settings: WriterSettings) -> None:
    clause = "writer-run"
    if not settings.run(clause, settings.sequence()):
        raise ContractError(clause, "a run of 4 frames left no file.")
    with settings.driver(clause) as driver:
        sequence = settings.sequence()
        with breaking(clause, "in the host's frame loop, the writer"):
            track(
                sequence,
                sequence.label_maps[0],
                tracker=StubTracker(),
                output=driver.root / "out",
                writers=[driver.writer],
            )
        if not [path for path in files_under(driver.root) if path.name != RECORD_NAME]:
            raise ContractError(clause, "in the host's frame loop, a run of 4 frames left no file.")


def _outputs(settings: WriterSettings) -> None:
    clause = "writer-outputs"
    with settings.driver(clause) as driver:
        sequence = settings.sequence()
        folder = driver.root / "out" / sequence.name
        listed = driver.outputs(folder)
        if files_under(driver.root):
            raise ContractError(clause, "a file was there before open.")
        files = driver.run(sequence)
        if listed and not any(path.exists() for path in listed):
            raise ContractError(clause, f"nothing of what outputs lists is there after the run ({listed[0].name}).")
        allowed = [folder, *listed, *([driver.root / settings.path] if settings.path else [])]
        for path in files:
            full = driver.root / path
            if not any(full == place or place in full.parents for place in allowed):
                raise ContractError(clause, f"{path} was written, which is in no folder that the writer states.")


def _complete(settings: WriterSettings) -> None:
    clause = "writer-complete"
    with settings.driver(clause) as driver:
        left = driver.run(settings.sequence())
        for files in driver.seen:
            for path, content in files.items():
                if path in left and left[path] != content:
                    sizes = f"{len(content)} bytes, at the end {len(left[path])}"
                    raise ContractError(clause, f"{path.name} was at its final path before it was complete: {sizes}.")


def _abort(settings: WriterSettings) -> None:
    clause, sequence = "writer-abort", settings.sequence()
    for count in (0, 2):
        allowed = [settings.run(clause, sequence)]
        if count:
            allowed.append(settings.run(clause, sequence, range(count)))
        with settings.driver(clause) as driver:
            driver.open(sequence, range(len(sequence.images)))
            for position in range(count):
                driver.write(sequence, position)
            left = driver.end(RuntimeError("the run stopped"))
        for path, content in left.items():
            found = [files[path] for files in allowed if path in files]
            if not found:
                raise ContractError(clause, f"after {count} frames, abort left {path.name}, which no good run leaves.")
            if content not in found:
                raise ContractError(
                    clause, f"after {count} frames, abort left an incomplete {path.name} ({len(content)} bytes)."
                )


def _repeatable(settings: WriterSettings) -> None:
    clause, sequence = "writer-repeatable", settings.sequence()
    first, second = settings.run(clause, sequence), settings.run(clause, sequence)
    if first.keys() != second.keys():
        names = ", ".join(sorted(path.name for path in first.keys() ^ second.keys())[:3])
        raise ContractError(clause, f"two runs left different files: {names}.")
    for path, content in first.items():
        if content != second[path]:
            raise ContractError(clause, f"two runs of the same frames left different bytes in {path.name}.")


def _read_only(settings: WriterSettings) -> None:
    settings.run("writer-read-only", settings.sequence())


def _frames(settings: WriterSettings) -> None:
    clause, size = "writer-frames", settings.size
    moving = tiny_sequence("moving", size=size, length=6, object_ids=(2,), index_step=3)
    settings.run(clause, tiny_sequence("later", size=size, length=5, object_ids=(254, 9, 1), first_index=70000))
    with settings.driver(clause) as driver:
        driver.run(moving, (2, 1, 0, 3, 4, 5) if getattr(driver.writer, "per_frame", False) else None)
    settings.run(clause, tiny_sequence("still", size=size, length=1))


def _sizes(settings: WriterSettings) -> None:
    for size in ((33, 47), (64, 9), (5, 7)):
        settings.run("writer-sizes", tiny_sequence("moving", size=size, length=3))


_CHECKS: dict[str, Callable[[WriterSettings], None]] = {
    "writer-methods": _methods,
    "writer-run": _run,
    "writer-outputs": _outputs,
    "writer-complete": _complete,
    "writer-abort": _abort,
    "writer-repeatable": _repeatable,
    "writer-read-only": _read_only,
    "writer-frames": _frames,
    "writer-sizes": _sizes,
}
