"""Known weights: fetch with progress and resume from a local server, verify, and say what is wrong."""

import dataclasses
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from vos import weights
from vos.cli.weights import command
from vos.errors import PluginError
from vos.plugin import WeightsError, hookimpl, load_plugins
from vos.registry.offers import Origin

CONTENT = bytes(range(256)) * 20_000


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; ``cut`` ends the connection after so many bytes, ``broken`` sends other bytes."""

    requests: list[str | None]
    cut: int | None
    broken: bool

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).requests.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = CONTENT[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body if type(self).cut is None else body[: type(self).cut]
        self.wfile.write(b"\0" * len(body) if type(self).broken else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    Server.requests, Server.cut, Server.broken = [], None, False
    instance = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=instance.serve_forever, daemon=True).start()
    known = weights.Checkpoint(
        "small",
        "small.pth",
        f"http://127.0.0.1:{instance.server_port}/small.pth",
        hashlib.sha256(CONTENT).hexdigest(),
        "Apache-2.0",
        "A small model",
        len(CONTENT),
    )

    class Plugin:
        @hookimpl
        def vos_checkpoints(self):
            return [known]

    def load(*_):
        plugins = load_plugins()
        plugins.register(Plugin(), Origin("small", "small", "test"))
        return plugins

    monkeypatch.setattr("vos.weights.checkpoints.load_plugins", load)
    monkeypatch.setattr("vos.cli_options.settings.load_plugins", load)
    yield Server
    instance.shutdown()
    instance.server_close()


def test_fetch_gets_and_verifies(server, tmp_path):
    seen = []
    path = weights.fetch("small", tmp_path, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert weights.local_path("small.pth", tmp_path) == path
    assert weights.fetch("small", tmp_path) == path
    assert len(server.requests) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"small.pth"}


def test_fetch_goes_on_where_it_stopped(server, tmp_path):
    server.cut = 1_500_000
    with pytest.raises(WeightsError, match="cannot be fetched"):
        weights.fetch("small", tmp_path)
    partial = tmp_path / "small.pth.part"
    done = partial.stat().st_size
    assert 0 < done <= 1_500_000
    assert not (tmp_path / "small.pth").exists()
    server.cut = None
    assert weights.fetch("small", tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={done}-"]
    assert not partial.exists()


def test_what_is_not_the_published_content_is_not_kept(server, tmp_path):
    server.broken = True
    with pytest.raises(WeightsError, match="another SHA-256 than"):
        weights.fetch("small", tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_network_says_where_to_put_the_file(server, tmp_path, monkeypatch):
    known = dataclasses.replace(weights.checkpoint("small"), address="http://127.0.0.1:9/small.pth")
    with pytest.raises(WeightsError, match=r"cannot be fetched \(no connection\).*or put the file at .*small\.pth"):
        weights.fetch(known, tmp_path)


def test_a_file_of_the_wrong_size_and_one_of_the_wrong_content(server, tmp_path):
    path = tmp_path / "small.pth"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=r"5119999 bytes, expected 5120000: the file is truncated"):
        weights.local_path("small", tmp_path)
    path.write_bytes(b"\1" + CONTENT[1:])
    with pytest.raises(WeightsError, match=r"SHA-256 is [0-9a-f]{64}, expected"):
        weights.verify("small", tmp_path)
    path.write_bytes(CONTENT)
    assert weights.verify("small", tmp_path) == path


def test_unknown_names():
    with pytest.raises(
        WeightsError, match=r'no known weights named "vit_g"\. Known: vit_b, vit_l, vit_h, vit_t\. Did you'
    ):
        weights.checkpoint("vit_g")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"file_name": "../vit_b.pth"}, "file_name is '../vit_b.pth', expected a file's name without a folder"),
        ({"sha256": "abc"}, "sha256 is 'abc', expected 64 hexadecimal digits"),
        ({"address": "ftp://x"}, "address is 'ftp://x', expected an address that begins with https://"),
        ({"size": 0}, "size is 0, expected bytes or None"),
    ],
)
def test_a_checkpoint_checks_itself(changed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        weights.Checkpoint(**{**dataclasses.asdict(weights.checkpoint("vit_b")), **changed})


def test_a_name_that_two_plugins_offer_is_an_error_when_used():
    plugins = load_plugins()

    class Plugin:
        @hookimpl
        def vos_checkpoints(self):
            return [weights.checkpoint("vit_b")]

    plugins.register(Plugin(), Origin("other", "other", "test"))
    with pytest.raises(PluginError, match=r'two plugins offer a checkpoint named "vit_b": plugin sam .* and .* other'):
        weights.checkpoint("vit_b", plugins)
    assert weights.checkpoint("vit_t", plugins).file_name == "mobile_sam.pt"


def test_the_verb_lists_fetches_and_verifies(server, tmp_path, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(tmp_path))
    runner = CliRunner()
    listed = runner.invoke(command, ["list"]).output
    assert "vit_h      2565 MB  Apache-2.0  no    Segment Anything, ViT-H" in listed
    assert str(tmp_path) in listed
    fetched = runner.invoke(command, ["fetch", "small"], catch_exceptions=False)
    assert fetched.output == f"{tmp_path / 'small.pth'}\n"
    assert "yes   A small model" in runner.invoke(command, ["list"]).output
    assert runner.invoke(command, ["verify"]).output == f"{tmp_path / 'small.pth'}: ok\n"
    with pytest.raises(WeightsError, match="are not there.*-O checkpoint=PATH, or --checkpoint PATH"):
        runner.invoke(command, ["verify", "vit_b"], catch_exceptions=False)


def test_verify_without_any_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="no weights to verify"):
        CliRunner().invoke(command, ["verify"], catch_exceptions=False)
