"""Exchange messages with another process within a time limit, even if the process hangs or ends.

A message is a line ``VOS `` + JSON + newline; its ``bytes`` says how many raw bytes and one more
newline follow. Other lines on the process's standard output, and all of its standard error, are its
log: error messages quote the last of these lines.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO, Any

from vos.plugin import AnyArray, OptionError, TrackerError

logger = logging.getLogger("vos.exec")

PREFIX = b"VOS "
LONGEST_LINE = 1 << 16
CHUNK = 1 << 20
LINES_SHOWN = 8
PIPE_BYTES = 1 << 20
FAREWELL_SECONDS = 3.0
LONGEST_TEXT = 500
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
"""Sequences that move a terminal's cursor, colour its text or set its title (ECMA-48)."""
WATCHDOG = 'read _; kill -s KILL -- "-$0"'
"""Shell program that waits for the end of its input and ends the process group of its argument.

``dash`` takes ``--`` after ``-s`` alone.
"""


def plain_text(text: object) -> str:
    """Make a program's text safe to print: bounded, on one line, without terminal escapes.

    Args:
        text: anything that the program sent.
    Returns:
        At most ``LONGEST_TEXT`` characters and three dots.
    """
    shown = ESCAPES.sub("", str(text)[: 8 * LONGEST_TEXT])
    shown = "".join(c if c.isprintable() else " " for c in shown).strip()
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]}..."


class OutputTail:
    """The last lines that a process printed, in bounded memory."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=LINES_SHOWN)
        self._open = b""

    def add(self, data: bytes) -> None:
        """Append output; only the beginning of a very long line is kept."""
        *lines, rest = (self._open + data[-LONGEST_LINE:]).split(b"\n")
        self._lines.extend(line[:200] for line in lines if line.strip())
        self._open = rest[:200]

    def __str__(self) -> str:
        lines = [*self._lines, self._open] if self._open.strip() else [*self._lines]
        if not lines:
            return "It printed nothing."
        shown = "\n  ".join(plain_text(line.decode(errors="replace")) for line in lines[-LINES_SHOWN:])
        return f"Its last output:\n  {shown}"


def split_command(command: str) -> list[str]:
    """Split a program and its arguments, as a shell does, without expansion.

    Raises:
        OptionError: the command is empty or cannot be split.
    """
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise OptionError(f"exec: command {command!r} cannot be split into words ({error}).") from None
    if not arguments:
        raise OptionError('exec: no command was given. Name a program: --tracker exec:"python my_tracker.py".')
    return arguments


class Process:
    """A running program that answers one message at a time.

    Attributes:
        command: as the user gave it.
    """

    def __init__(self, command: str, timeout: float) -> None:
        """Start a program in a process group of its own.

        Args:
            command: program and arguments, split as a shell does, without expansion.
            timeout: seconds for one exchange.
        Raises:
            OptionError: the command is empty or cannot be started.
        """
        self.command = command
        self._timeout = timeout
        arguments = split_command(command)
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise OptionError(f'exec: "{arguments[0]}" cannot be started ({error.strerror or error}).') from None
        try:
            watchdog = _watch(self._process.pid)
        except OSError as error:
            _kill_group(self._process, None)
            raise OptionError(f"exec: /bin/sh cannot be started ({error.strerror or error}).") from None
        self.kill = weakref.finalize(self, _kill_group, self._process, watchdog)
        self._stdin, self._stdout, self._stderr = (_pipe(p) for p in _pipes(self._process))
        self._received = bytearray()
        self._output = OutputTail()
        self._message = 0
        self._most = 0

    def ask(
        self, header: Mapping[str, Any], what: str, payload: Sequence[AnyArray] = (), most: int = 0
    ) -> tuple[Any, bytes]:
        """Send a message and wait for its answer.

        Args:
            header: the JSON object, without ``id`` and ``bytes``.
            what: name of the request in error messages (``"step on frame 00003"``).
            payload: C-contiguous arrays whose bytes are sent one after another.
            most: limit of the answer's raw bytes.
        Returns:
            The answer's JSON object and its raw bytes.
        Raises:
            TrackerError: a late or malformed answer, an answer with an error, or the process ended.
                The process is killed unless it answered with an error.
        """
        if not self.kill.alive:
            raise TrackerError(f'"{self.command}": {what}: the process has ended.')
        self._message += 1
        self._most = most
        views = [part.data.cast("B") for part in payload]
        size = sum(len(view) for view in views)
        line = json.dumps({"id": self._message, **header, "bytes": size}).encode()
        outgoing = deque([memoryview(PREFIX + line + b"\n"), *views, *([memoryview(b"\n")] if size else [])])
        try:
            answer, answered = self._exchange(outgoing, what)
        except BaseException:
            self.kill()
            raise
        if "error" in answer:
            self._read_stderr()
            logger.debug('"%s": %s', self.command, self._output)
            raise TrackerError(f'"{self.command}": {what}: {plain_text(answer["error"])}')
        return answer, answered

    def refuse(self, what: str, found: str) -> TrackerError:
        """Kill the process for a malformed answer.

        Args:
            what: name of the request.
            found: the fault of the answer.
        Returns:
            The error to raise.
        """
        self.kill()
        return TrackerError(f'"{self.command}": {what}: {plain_text(found)} See docs/exec.md for the protocol.')

    def close(self) -> None:
        """Ask the process to end, and kill it if it does not. May be called twice."""
        if self.kill.alive:
            self._timeout = min(self._timeout, FAREWELL_SECONDS)
            with contextlib.suppress(TrackerError):
                self.ask({"call": "close"}, "close")
        self.kill()

    def _exchange(self, outgoing: deque[memoryview], what: str) -> tuple[Any, bytes]:
        """Write and read at once, so that neither side can block the other."""
        deadline = time.monotonic() + self._timeout
        header: Any = None
        with selectors.DefaultSelector() as selector:
            for pipe, event in (
                (self._stdin, selectors.EVENT_WRITE),
                (self._stdout, selectors.EVENT_READ),
                (self._stderr, selectors.EVENT_READ),
            ):
                if not pipe.closed:
                    selector.register(pipe, event)
            while True:
                if header is None:
                    header = self._take_header(what)
                if header is not None and len(self._received) > header["bytes"] - (header["bytes"] == 0):
                    return header, self._take_payload(header["bytes"], what)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TrackerError(self._late(header, outgoing, what))
                for key, _ in selector.select(left):
                    if key.fileobj is self._stdin:
                        self._write(outgoing, selector)
                    elif not self._read(key.fileobj, selector):
                        raise TrackerError(self._ended(what))

    def _write(self, outgoing: deque[memoryview], selector: selectors.BaseSelector) -> None:
        try:
            written = os.write(self._stdin.fileno(), outgoing[0][:CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:  # the process closed its input; its exit or the time limit is handled later
            selector.unregister(self._stdin)
            return
        outgoing[0] = outgoing[0][written:]
        if not outgoing[0]:
            outgoing.popleft()
        if not outgoing:
            selector.unregister(self._stdin)

    def _read(self, pipe: Any, selector: selectors.BaseSelector) -> bool:
        """Read the bytes available in a pipe; False at the end of standard output."""
        try:
            data = os.read(pipe.fileno(), CHUNK)
        except BlockingIOError:
            return True
        if pipe is self._stdout:
            self._received += data
            return bool(data)
        if data:
            self._output.add(data)
        else:
            selector.unregister(pipe)
            pipe.close()
        return True

    def _take_header(self, what: str) -> Any:
        """Parse the next message's line from the received bytes; other lines go to the log."""
        while True:
            end = self._received.find(b"\n")
            if end < 0:
                if len(self._received) > LONGEST_LINE:
                    self._output.add(bytes(self._received))
                    self._received.clear()
                return None
            line = bytes(self._received[:end])
            del self._received[: end + 1]
            words, prefix, text = line.partition(PREFIX)
            if not prefix:
                self._output.add(line + b"\n")
                continue
            if words:
                self._output.add(words + b"\n")
            return self._checked(text, what)

    def _checked(self, text: bytes, what: str) -> Any:
        shown = text[:100].decode(errors="replace")
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            raise self.refuse(what, f"answered with a line that is no JSON: {shown}.") from None
        if not isinstance(header, dict) or header.get("id") != self._message:
            raise self.refuse(what, f"answered {shown}, expected an object with id {self._message}.")
        size = header.setdefault("bytes", 0)
        if type(size) is not int or not 0 <= size <= self._most:
            raise self.refuse(what, f"announced {size!r} bytes, expected at most {self._most}.")
        return header

    def _take_payload(self, size: int, what: str) -> bytes:
        if not size:
            return b""
        payload = bytes(memoryview(self._received)[:size])
        if self._received[size] != ord("\n"):
            raise self.refuse(what, f"announced {size} bytes, but sent more.")
        del self._received[: size + 1]
        return payload

    def _late(self, header: Any, outgoing: deque[memoryview], what: str) -> str:
        if header is not None:
            state = f"sent {min(len(self._received), header['bytes'])} of the {header['bytes']} bytes that it announced"
        else:
            state = "did not read its message" if outgoing else "did not answer"
        return (
            f'"{self.command}" {state} within {self._timeout:g} s at {what} and was killed. '
            f"Give it more time with -O timeout=SECONDS. {self._output}"
        )

    def _ended(self, what: str) -> str:
        """Describe the end of the process after it has closed its standard output."""
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(FAREWELL_SECONDS)
        self._read_stderr()
        if self._received:
            self._output.add(bytes(self._received[:LONGEST_LINE]))
        if code is None:
            how = "closed its standard output"
        elif code >= 0:
            how = f"ended with exit code {code}"
        else:
            how = f"was ended by signal {-code} ({signal.strsignal(-code)})"
        return f'"{self.command}" {how} at {what}. {self._output}'

    def _read_stderr(self) -> None:
        """Read the bytes available on standard error into the log."""
        with contextlib.suppress(BlockingIOError):
            while not self._stderr.closed and (data := os.read(self._stderr.fileno(), CHUNK)):
                self._output.add(data)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr


def _pipe(pipe: IO[bytes]) -> IO[bytes]:
    """Make a pipe fit for ``select``, and as large as a frame where the system allows."""
    os.set_blocking(pipe.fileno(), False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return pipe


def _watch(group: int) -> subprocess.Popen[bytes]:
    """Start a shell that ends a process group when this process ends, even by SIGKILL.

    Its input is a pipe whose other end this process alone holds, so the system closes it.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", WATCHDOG, str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _kill_group(process: subprocess.Popen[bytes], watchdog: subprocess.Popen[bytes] | None) -> None:
    """End a process with all that it started, and leave no zombie."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if watchdog is not None:  # after that, as this process may be killed here; before the number can be another's
        watchdog.kill()
        watchdog.wait()
        if watchdog.stdin is not None:
            watchdog.stdin.close()
    process.wait()
    for pipe in _pipes(process):
        pipe.close()
