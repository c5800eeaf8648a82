"""The result files of a benchmark: their names, and whether a benchmark wrote those that are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vos.errors import OutputExistsError
from vos.evaluation.benchmark.results import BenchmarkJob
from vos.evaluation.reports.tables import GLOBAL_COLUMNS, OBJECTS_HEADER, tables_in
from vos.host.outputs.output_protection import refuse_existing_files
from vos.io.json_file import read_json

RESULTS_JSON, RESULTS_TEXT = "results.json", "results.txt"


def tables_of(job: BenchmarkJob) -> tuple[Path, Path]:
    """Name the files of the official tables: the global one, and that of objects."""
    return tables_in(job.output, (job.set_name or "all").rsplit("/", 1)[-1])


def result_files(job: BenchmarkJob) -> list[Path]:
    """List the files that a benchmark writes beside the sequences' folders."""
    return [job.output / RESULTS_JSON, job.output / RESULTS_TEXT, *tables_of(job)]


def refuse_other_files(job: BenchmarkJob) -> None:
    """Refuse, before anything is tracked, to replace files that no benchmark wrote.

    A second run adds to the results of the first and replaces them; ``refuse_other_results`` keeps those of others.

    Args:
        job: what to run.
    Raises:
        InputError: the output folder is a file, or a folder has the name of a result.
        OutputExistsError: a file of another origin has the name of a result, and ``overwrite`` is False.
    """
    files = result_files(job)
    refuse_existing_files(files, overwrite=True)
    if job.overwrite:
        return
    continued = _earlier_result(files[0]) is not None
    starts = ("", "set: ", ",".join(GLOBAL_COLUMNS), OBJECTS_HEADER)
    for path, start in zip(files, starts, strict=True):
        if (path.exists() or path.is_symlink()) and not (continued and _starts_with(path, start)):
            raise OutputExistsError(
                f"{path}: is there already, and no run of vos davis wrote it. Choose another -o, or --overwrite."
            )


def refuse_other_results(job: BenchmarkJob) -> None:
    """Refuse, before anything is tracked, to replace the results of another set or protocol.

    Args:
        job: what to run, without ``overwrite``.
    Raises:
        OutputExistsError: the output folder holds such results.
    """
    path = job.output / RESULTS_JSON
    earlier = _earlier_result(path)
    if earlier is None:
        return
    for option, found, wanted in (
        ("--set", earlier["run"].get("set") or "all", job.set_name or "all"),
        ("--protocol", earlier.get("protocol"), job.rules.name),
    ):
        if found != wanted:
            raise OutputExistsError(
                f"{path}: holds results of another {option} ({found}, now {wanted}). Choose another -o, or "
                "--overwrite; vos eval scores masks that are there."
            )


def _earlier_result(path: Path) -> Mapping[str, Any] | None:
    """The result in a benchmark's ``results.json``; None where no benchmark wrote the file, or there is none."""
    try:
        result: dict[str, Any] = read_json(path)["results"][0]
        return result if isinstance(result["run"], dict) else None
    except (OSError, ValueError, IndexError, KeyError, TypeError):
        return None


def _starts_with(path: Path, start: str) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start.encode()
    except OSError:
        return False
