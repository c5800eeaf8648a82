"""Trackers that lack a program or a checkpoint are listed as such, and start with ``-O TRACKER.KEY=VALUE``."""

import sys

import pytest
from click.testing import CliRunner

from vos.cli import cli
from vos.errors import VosError


def missing(server):
    return {tracker["name"]: tracker["missing"] for tracker in server.json("GET", "/api/start")["trackers"]}


def test_trackers_that_cannot_start_are_listed_with_what_they_lack(start_server, monkeypatch, tmp_path):
    monkeypatch.setenv("VOS_CACHE", str(tmp_path))
    found = missing(start_server(tracker_options={"sam2": {"model": "vos/no-such-model"}}))
    assert found["propagation"] == ""
    assert found["exec"].endswith("Here: vos web -O exec.command=...")
    assert "vos weights fetch vit_b" in found["persam"]
    for name, option in (("cutie", "checkpoint"), ("dino", "backbone"), ("sam2", "model"), ("persam-f", "checkpoint")):
        assert f"vos web -O {name}.{option}=" in found[name]


def test_a_tracker_with_its_options_can_start(start_server):
    server = start_server(tracker_options={"exec": {"command": f"{sys.executable} t.py"}})
    assert missing(server)["exec"] == ""


@pytest.mark.parametrize(("given", "quality"), [({}, "balanced"), ({"quality": "fast"}, "fast")])
def test_the_page_is_told_the_quality_that_a_tracker_has_without_a_choice(start_server, given, quality):
    trackers = start_server(tracker_options={"propagation": given}).json("GET", "/api/start")["trackers"]
    assert {tracker["name"]: tracker["quality"] for tracker in trackers}["propagation"] == quality


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("checkpoint=a.pth", "expected TRACKER.KEY=VALUE"),
        ("exec.command=no-such-program", '"no-such-program" cannot be started'),
        ("exec.comand=x", "comand"),
        ("exce.command=x", "exce"),
    ],
)
def test_wrong_assignments_are_refused_before_the_server_starts(assignment, message, tmp_path):
    result = CliRunner().invoke(cli, ["web", "--no-browser", "-O", assignment, "--sessions", str(tmp_path / "s")])
    assert isinstance(result.exception, VosError)
    assert message in str(result.exception)
    assert not (tmp_path / "s").exists()
