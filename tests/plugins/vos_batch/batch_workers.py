"""Workers that the tests of executors run in other processes."""

import os
import signal
import time
from pathlib import Path

from vos.plugin import InputError, VosError


class Worker:
    """Does what a job's data says, and logs each start to a file."""

    def __init__(self, log):
        self.log = Path(log)
        self.made = os.getpid()

    def __call__(self, work, report):
        with self.log.open("a") as file:
            file.write(f"{work['name']} {self.made} {os.getpid()}\n")
        for frame in range(work.get("frames", 0)):
            report(frame + 1, work["frames"])
        if work.get("die_until", 0) > self.log.read_text().split().count(work["name"]) - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if work.get("bad_input"):
            raise InputError("no such video")
        if work.get("failing"):
            raise VosError("the tracker failed")
        if work.get("broken"):
            raise ZeroDivisionError("division by zero")
        if work.get("hang"):
            time.sleep(600)
        return {"name": work["name"]}


def unmakeable(log):
    raise VosError("no weights")
