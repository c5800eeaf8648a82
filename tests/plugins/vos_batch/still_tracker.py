"""A plugin with a tracker that is quick to make, for tests in other processes."""

from vos.plugin import TrackerSpec, hookimpl
from vos.testing import StubTracker


@hookimpl
def vos_trackers():
    return [TrackerSpec("still", "Keeps the annotated label map.", lambda options, runtime: StubTracker())]
