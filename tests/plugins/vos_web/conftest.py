"""A server in this process, and a real browser."""

import http.client
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

import vos
from vos_web.server.paths import AllowedFolders
from vos_web.server.serving import serve
from vos_web.service import Service, ServiceSettings
from vos_web.sessions.store import SessionStore

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_BROWSERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class RunningServer:
    """A served service, and requests to it as a page sends them."""

    def __init__(self, service):
        self.service = service
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        _, _, host, self.token, _ = self.address.split("/")
        self.port = int(host.partition(":")[2])

    def _serve(self):
        serve(self.service, 0, self._on_ready)

    def _on_ready(self, address):
        self.address = address
        self._ready.set()

    def request(self, method, path, body=None, headers=None, token=None):
        """Send a request; gives status, body and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {"Host": f"127.0.0.1:{self.port}", **(headers or {})}
        address = f"/{self.token if token is None else token}{path}"
        connection.putrequest(method, address, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            connection.putheader(name, value)
        if body is not None and "Content-Length" not in given:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        if body is not None:
            connection.send(body)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content, response.headers

    def json(self, method, path, values=None):
        """Send JSON; gives the answer, which must be a good one."""
        body = None if values is None else json.dumps(values).encode()
        status, content, _ = self.request(method, path, body)
        assert status == 200, content
        return json.loads(content)


@pytest.fixture(scope="session")
def plugins():
    return vos.load_plugins(autoload=True)


@pytest.fixture(scope="module")
def running_server(plugins):
    """Makes servers; all are closed at the end of the module."""
    services = []

    def start(folder, root, **settings):
        chosen = ServiceSettings(folder / "sessions", folder / "out", **settings)
        service = Service(plugins, vos.Runtime(threads=1), AllowedFolders([root]), chosen)
        services.append(service)
        return RunningServer(service)

    yield start
    for service in services:
        service.close()


@pytest.fixture
def start_server(tmp_path, running_server):
    """Makes servers over this test's folder."""
    return lambda **settings: running_server(tmp_path, tmp_path, **settings)


def browser_path():
    named = os.environ.get("VOS_BROWSER")
    found = [shutil.which(name) for name in (named, *BROWSERS) if name]
    found += [path for path in MAC_BROWSERS if Path(path).exists()]
    path = next((path for path in found if path), None)
    if path is None:
        pytest.fail("no Chromium or Chrome found: install the package chromium, or name a browser in VOS_BROWSER.")
    return path


@pytest.fixture
def store(tmp_path, plugins):
    opened = SessionStore(tmp_path / "sessions", plugins)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def browser():
    """A browser for the tests of one file: while it is open, no other test can start an event loop in its thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        yield opened
        opened.close()
