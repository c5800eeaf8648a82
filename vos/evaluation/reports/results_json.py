"""The JSON of ``vos davis`` and ``vos eval``: one shape for one result and for several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vos.evaluation.reports.environment import environment
from vos.evaluation.video.scores import Scores


def results_json(results: Sequence[tuple[Scores, Mapping[str, Any] | None]], workers: int) -> str:
    """Write results as JSON; docs/evaluation.md lists the keys.

    Args:
        results: scores, each with the facts of the run that made the masks; None where the masks were there.
        workers: processes that did the work.
    Returns:
        The text, with a line's end.
    """
    scored = [{**scores.to_json(), "run": None if run is None else dict(run)} for scores, run in results]
    return json.dumps({**environment(), "workers": workers, "results": scored}, indent=1) + "\n"
