"""A good program keeps the contract; every kind of bad one gives one clear error in time, and is gone."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vos import Runtime, TrackerError, stream
from vos.plugin import OptionError
from vos.testing import check_plugin, check_tracker, tiny_sequence
from vos_exec import ExecOptions, make_exec_tracker
from vos_exec.process import LINES_SHOWN, OutputTail
from vos_exec.tracker import ExecTracker

CLIENT = Path(__file__).parents[3] / "examples" / "exec-tracker" / "my_tracker.py"

CHILD = r"""
import json, os, subprocess, sys, time
source, sink = sys.stdin.buffer, sys.stdout.buffer

def read():
    line = source.readline()
    if not line:
        sys.exit(0)
    ask = json.loads(line[4:])
    source.read(ask["bytes"] + bool(ask["bytes"]))
    return ask

def answer(ask, payload=b"", **more):
    header = json.dumps({"id": ask["id"], "bytes": len(payload), **more})
    sink.write(b"VOS " + header.encode() + b"\n" + payload + (b"\n" if payload else b""))
    sink.flush()

def hello(**more):
    answer(read(), **{"protocol": 1, "capabilities": [], **more})

def begin():
    hello()
    answer(read())

def good(ask, **more):
    size = {name: ask[name] for name in ("height", "width")}
    answer(ask, bytes(ask["height"] * ask["width"]), **{"object_ids": [1, 2], **size, **more})
"""


@pytest.fixture
def child(tmp_path):
    """Write a program and give the command that runs it."""

    def write(body, name="child.py"):
        path = tmp_path / name
        path.write_text(CHILD + body)
        return f"{shlex.quote(sys.executable)} -u {shlex.quote(str(path))}"

    return write


def track(command, timeout=20.0, steps=1, **sequence_settings):
    sequence = tiny_sequence("moving", **sequence_settings)
    tracker = ExecTracker(command, timeout, Runtime())
    try:
        tracker.start(sequence.frame(0), sequence.label_maps[0])
        return [tracker.step(sequence.frame(t + 1)) for t in range(steps)]
    finally:
        tracker.close()


def is_gone(pid):
    """True if a process has ended; a zombie process counts as ended."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_the_example_client_keeps_the_contract():
    checked = check_tracker(f"exec:{sys.executable} {CLIENT}", min_iou=0.6)
    assert {"ids", "fresh-start", "errors", "stream", "accuracy"} <= set(checked)


def test_the_plugin_can_be_listed():
    assert check_plugin("vos_exec") == ["exec"]


def test_capabilities_are_those_that_the_program_names(child):
    command = child(
        "hello(capabilities=['annotate', 'forget'])\n"
        "for _ in range(3): answer(read())\n"
        "good(read(), object_ids=[2, 3])\n"
    )
    sequence = tiny_sequence("still")
    tracker = ExecTracker(command, 20, Runtime())
    tracker.start(sequence.frame(0), sequence.label_maps[0])
    tracker.annotate(sequence.frame(0), np.where(sequence.label_maps[0] == 1, 3, 0).astype(np.uint8))
    tracker.forget(1)
    assert tracker.step(sequence.frame(1)).object_ids == (2, 3)
    tracker.close()


def test_logits_scores_and_presence_arrive(child):
    command = child(
        "import struct\n"
        "begin()\n"
        "answer(read(), struct.pack('<12f', *range(-6, 6)), form='logits', object_ids=[2, 1], height=2, width=3,"
        " scores=[0.5, 1], present=[True, False])\n"
        "read()\n"
    )
    (prediction,) = track(command)
    assert prediction.object_ids == (2, 1)
    assert prediction.logits.tolist() == [[[-6, -5, -4], [-3, -2, -1]], [[0, 1, 2], [3, 4, 5]]]
    assert prediction.scores.tolist() == [0.5, 1]
    assert prediction.present.tolist() == [True, False]


def test_the_runtime_is_told(child):
    command = child("ask = read(); answer(ask, error=json.dumps(ask))")
    with pytest.raises(TrackerError) as caught:
        ExecTracker(command, 20, Runtime(device="cuda:1", precision="bf16", threads=3, seed=5))
    told = json.loads(str(caught.value).partition("hello: ")[2])
    assert told == {
        "id": 1,
        "call": "hello",
        "protocol": 1,
        "device": "cuda:1",
        "precision": "bf16",
        "threads": 3,
        "seed": 5,
        "bytes": 0,
    }


def test_what_the_program_prints_does_not_disturb(child):
    command = child(
        "print('loading...', end='', flush=True)\n"
        "begin()\n"
        "print('a line'); print('an error', file=sys.stderr)\n"
        "good(read())\n"
        "sys.stdout.write('x' * 300_000 + '\\n'); sys.stderr.write('y' * 3_000_000); sys.stderr.flush()\n"
        "good(read())\n"
    )
    assert [p.object_ids for p in track(command, steps=2)] == [(1, 2)] * 2


def test_neither_side_blocks_the_other(child):
    """The program fills its output before it reads a frame that is larger than any pipe."""
    command = child("hello(); print('z' * 5_000_000); answer(read()); print('z' * 5_000_000); good(read())")
    assert len(track(command, size=(1200, 1600))) == 1


BAD_PROGRAMS = {
    "crash": (
        "begin(); ask = read(); print('weights: 3 of 4', file=sys.stderr); raise MemoryError('no room')",
        r"ended with exit code 1 at step on frame 00001\. Its last output:(\n  .*)*weights: 3 of 4(\n  .*)*no room",
    ),
    "killed": (
        "begin(); read(); os.kill(os.getpid(), 9)",
        r"was ended by signal 9 \(Killed\) at step on frame 00001\. It printed nothing\.",
    ),
    "ends at once": (
        "print('usage: ...'); sys.exit(2)",
        r"ended with exit code 2 at hello\. Its last output:\n  usage",
    ),
    "closes its output": (
        "begin(); read(); os.close(1); time.sleep(60)",
        "closed its standard output at step on frame 00001",
    ),
    "own error": ("begin(); answer(read(), error='out of memory')", "step on frame 00001: out of memory$"),
    "no JSON": ("begin(); read(); print('VOS hello')", "answered with a line that is no JSON: hello"),
    "no object": ("begin(); read(); print('VOS [1]')", r"answered \[1\], expected an object with id 3"),
    "old answer": ("begin(); ask = read(); good({**ask, 'id': 2})", r"expected an object with id 3"),
    "two answers": ("hello(); ask = read(); answer(ask); answer(ask); read()", "expected an object with id 3"),
    "protocol": ("hello(protocol=2)", "it speaks protocol 2, expected 1"),
    "capability": ("hello(capabilities=['encode'])", r"capabilities are \['encode'\], expected some of"),
    "no ids": ("begin(); ask = read(); answer(ask, height=1, width=1)", "the answer has no 'object_ids'"),
    "ids no list": ("begin(); good(read(), object_ids=3)", "object_ids are 3, expected a list of integers"),
    "wrong ids": (
        "begin(); good(read(), object_ids=[0])",
        r"object ids are \(0,\), expected different ids from 1 to 254",
    ),
    "form": ("begin(); good(read(), form='png')", 'form is \'png\', expected "label_map" or "logits"'),
    "height": ("begin(); good(read(), height=4000)", "the answer is 4000 high and 64 wide, the frame 48 and 64"),
    "too small": ("begin(); good(read(), height=10)", "3072 bytes came for a label_map of 10 x 64, expected 640"),
    "scores": ("begin(); good(read(), scores=[1])", r"scores has shape \(1,\), expected \(2,\)"),
    "present as text": (
        "begin(); good(read(), present=['true', 'false'])",
        r"present is \['true', 'false'\], expected a list of true and false",
    ),
    "void": (
        "begin(); ask = read(); answer(ask, b'\\xff' * 3072, object_ids=[1], height=48, width=64)",
        r"label map holds ids \(\) \(or void\)",
    ),
    "announces too much": (
        "begin(); good(read(), bytes=10**12)",
        "announced 1000000000000 bytes, expected at most 24576",
    ),
    "announces less": ("begin(); good(read(), bytes=3000)", "announced 3000 bytes, but sent more"),
    "negative": ("begin(); good(read(), bytes=-1)", "announced -1 bytes"),
    "bytes as text": ("begin(); good(read(), bytes='10')", "announced '10' bytes"),
}


@pytest.mark.parametrize("kind", BAD_PROGRAMS)
def test_a_bad_program_gives_one_clear_error(child, kind):
    body, message = BAD_PROGRAMS[kind]
    started = time.monotonic()
    with pytest.raises(TrackerError, match=message) as caught:
        track(child(body))
    assert "child.py" in str(caught.value)
    assert time.monotonic() - started < 15, "found before the time limit"


SLOW_PROGRAMS = {
    "hangs": (
        "begin(); read(); time.sleep(60)",
        r"did not answer within 1\.5 s at step on frame 00001 and was killed\.",
    ),
    "hangs and ignores signals": (
        "import signal; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 13, 15)]; begin(); time.sleep(60)",
        "did not read its message within|did not answer within",
    ),
    "does not read": ("begin(); time.sleep(60)", "did not read its message within 1.5 s"),
    "floods its output": (
        "begin(); read()\nwhile True: sink.write(b'spam and eggs\\n' * 1000)",
        "did not answer within 1.5 s.*Its last output:\n  spam and eggs",
    ),
    "floods without lines": (
        "begin(); read()\nwhile True: sink.write(b'spam' * 10000)",
        "did not answer within 1.5 s.*\n  .*spamspam",
    ),
    "floods its errors": (
        "begin(); read()\nwhile True: sys.stderr.write('warning\\n' * 1000)",
        "did not answer within 1.5 s.*\n  warning",
    ),
    "stops inside its answer": (
        "begin(); ask = read(); good(ask, bytes=3100); time.sleep(60)",
        "sent 3073 of the 3100 bytes that it announced within 1.5 s",
    ),
}


@pytest.mark.parametrize("kind", SLOW_PROGRAMS)
def test_the_time_limit_ends_a_program_and_its_children(child, tmp_path, kind):
    body, message = SLOW_PROGRAMS[kind]
    pids = str(tmp_path / "pids")
    grandchild = f"p = subprocess.Popen(['sleep', '60']); open({pids!r}, 'w').write(f'{{os.getpid()}} {{p.pid}}')\n"
    size = (1200, 1600) if kind == "does not read" else (48, 64)
    started = time.monotonic()
    with pytest.raises(TrackerError, match=f"(?s){message}"):
        track(child(grandchild + body), timeout=1.5, size=size)
    assert time.monotonic() - started < 45  # the program itself would wait for 60 s
    assert all(is_gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_what_it_printed_beside_an_error_of_its_own_is_logged(child, caplog):
    caplog.set_level("DEBUG", logger="vos.exec")
    with pytest.raises(TrackerError, match="out of memory"):
        track(
            child("begin(); ask = read(); sys.stderr.write('Traceback: line 7\\n'); answer(ask, error='out of memory')")
        )
    assert "Traceback: line 7" in caplog.text


@pytest.mark.parametrize("end", ["begin(); good(read()); read()", "begin(); good(read()); time.sleep(60)"])
def test_close_ends_the_program(child, tmp_path, end, monkeypatch):
    monkeypatch.setattr("vos_exec.process.FAREWELL_SECONDS", 0.3)
    track(child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n" + end))
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_tracker_that_is_dropped_ends_its_program(child, tmp_path):
    tracker = ExecTracker(
        child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); hello(); time.sleep(60)"), 20, Runtime()
    )
    del tracker
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_after_a_failure_the_next_call_says_that_it_ended(child):
    tracker = ExecTracker(child("hello(); sys.exit(3)"), 20, Runtime())
    sequence = tiny_sequence("still")
    for message in ("ended with exit code 3 at start on frame 00000", "start on frame 00000: the process has ended"):
        with pytest.raises(TrackerError, match=message):
            tracker.start(sequence.frame(0), sequence.label_maps[0])
    tracker.close()


@pytest.mark.parametrize(
    ("command", "timeout", "message"),
    [
        ("", 1, r'no command was given\. Name a program: --tracker exec:"python my_tracker.py"'),
        ("no-such-program --fast", 1, r'"no-such-program" cannot be started \(No such file'),
        ("python 'unclosed", 1, "cannot be split into words"),
        ("true", 0, 'option "timeout" is 0, expected seconds above 0'),
    ],
)
def test_wrong_usage(command, timeout, message):
    with pytest.raises(OptionError, match=message):
        ExecTracker(command, timeout, Runtime())


def test_other_systems_are_told(monkeypatch):
    monkeypatch.setattr("vos_exec.os", SimpleNamespace(name="nt"))
    with pytest.raises(OptionError, match="need Linux or macOS"):
        make_exec_tracker(ExecOptions("true"), Runtime())


def test_the_host_names_the_frame_of_a_crash(child):
    sequence = tiny_sequence("moving")
    command = child("begin(); good(read()); read(); sys.exit('gone')")
    with pytest.raises(TrackerError, match=r'(?s)tracker "exec.*frame 00002.*exit code 1.*\n  gone'):
        list(stream(sequence, sequence.annotations[0], tracker=f"exec:{command}"))


def test_ctrl_c_kills_the_program(child, tmp_path):
    command = child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); begin(); read(); time.sleep(60)")
    previous = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        with pytest.raises(KeyboardInterrupt):
            track(command)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_the_output_tail_keeps_the_last_lines_in_bounded_memory():
    tail = OutputTail()
    assert str(tail) == "It printed nothing."
    for i in range(100):
        tail.add(f"line {i}\n".encode())
    tail.add(b"half a l")
    tail.add(b"ine \xff")
    lines = str(tail).split("\n  ")
    assert lines[1:] == [f"line {i}" for i in range(101 - LINES_SHOWN, 100)] + ["half a line \N{REPLACEMENT CHARACTER}"]
    tail.add(b"x" * 10_000_000)
    assert len(str(tail)) < 2000


PERL = r"""
use strict; use JSON::PP; binmode STDIN; binmode STDOUT; $| = 1;
my ($map, @ids);
while (my $line = <STDIN>) {
    my $ask = decode_json(substr($line, 4));
    my ($raw, $answer, $payload) = ("", {}, "");
    if ($ask->{bytes}) { read(STDIN, $raw, $ask->{bytes}); read(STDIN, my $newline, 1); }
    my $pixels = ($ask->{height} // 0) * ($ask->{width} // 0);
    if ($ask->{call} eq "hello") { $answer = {protocol => 1, capabilities => []}; }
    if ($ask->{call} eq "start") {
        $map = substr($raw, 3 * $pixels);
        my %seen = map { $_ => 1 } grep { $_ } unpack("C*", $map);
        @ids = map { $_ + 0 } sort keys %seen;
    }
    if ($ask->{call} eq "step") {
        if (defined $map) {
            $answer = {object_ids => \@ids, height => $ask->{height}, width => $ask->{width}};
            $payload = $map;
        } else { $answer = {error => "step before start"}; }
    }
    $answer->{id} = $ask->{id}; $answer->{bytes} = length($payload);
    print "VOS ", encode_json($answer), "\n", $payload, ($payload eq "" ? "" : "\n");
    last if $ask->{call} eq "close";
}
"""


@pytest.mark.skipif(shutil.which("perl") is None, reason="no perl here")
def test_a_program_in_another_language_keeps_the_contract(tmp_path):
    program = tmp_path / "still.pl"
    program.write_text(PERL)
    assert {"ids", "fresh-start", "sizes", "errors", "stream"} <= set(check_tracker(f"exec:perl {program}"))


def test_the_program_and_its_children_end_with_a_killed_parent(child, tmp_path):
    command = child(
        "other = subprocess.Popen(['sleep', '600'])\n"
        "begin()\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        "answer(read(), object_ids=[])\n"
        "time.sleep(600)\n"
    )
    code = (
        "import sys\n"
        "from vos import Runtime\n"
        "from vos.testing import tiny_sequence\n"
        "from vos_exec.tracker import ExecTracker\n"
        "s = tiny_sequence('moving')\n"
        "t = ExecTracker(sys.argv[1], 60, Runtime())\n"
        "t.start(s.frame(0), s.label_maps[0])\n"
        "print('started', flush=True)\n"
        "t.step(s.frame(1)); t.step(s.frame(2))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout.readline() == "started\n"
    until = time.monotonic() + 20
    while not (tmp_path / "pids").is_file() or not (tmp_path / "pids").read_text():
        assert time.monotonic() < until
    parent.kill()
    parent.communicate(timeout=20)
    assert all(is_gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_a_programs_text_is_bounded_and_moves_no_cursor(child):
    text = "\\x1b[2J\\x1b]0;title\\x07\\x9b31m" + "long " * 10_000
    for body in (
        f"print('{text}', file=sys.stderr); sys.exit(3)\n",
        f"begin(); answer(read(), error='{text}')\n",
        f"answer(read(), protocol='{text}')\n",
    ):
        with pytest.raises(TrackerError) as caught:
            track(child(body))
        said = str(caught.value)
        assert len(said) < 3_000
        assert all(c.isprintable() or c == "\n" for c in said)
