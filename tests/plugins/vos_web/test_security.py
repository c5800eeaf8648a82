"""Nothing is reachable without the token, from another site, or outside of the allowed folders."""

import http.client
import json

import pytest

import vos
from vos.example_clip import CLIP
from vos_web.server.paths import AllowedFolders, OutsideError

PATHS = ["/", "/static/main.js", "/api/start", "/api/events", "/api/sessions/x", "/api/browse?path=/"]


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "wrong", "x" * 43])
def test_without_the_token_nothing_answers(server, path, token):
    status, content, _ = server.request("GET", path, token=token)
    assert status == 403
    assert b"token" in content


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_host_is_refused(server, host):
    assert server.request("GET", "/api/start", headers={"Host": host})[0] in (400, 403)


def test_another_origin_is_refused_and_the_own_one_is_not(server):
    for method in ("GET", "POST"):
        for origin in ("http://evil.example", "null", f"https://127.0.0.1:{server.port}"):
            assert server.request(method, "/api/sessions", b"{}", {"Origin": origin})[0] == 403
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    assert server.request("GET", "/api/start", headers=own)[0] == 200
    assert server.request("GET", "/api/start", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403


def test_the_page_is_told_to_load_nothing_from_elsewhere(server):
    headers = server.request("GET", "/")[2]
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["/static/..%2f__init__.py", "/static/../handlers.py", "/static/%2e%2e%2fservice.py", "/static/py.typed"]
)
def test_static_addresses_do_not_lead_out(server, path):
    assert server.request("GET", path)[0] == 404


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../etc/passwd", "a/../../../../etc", "~root/.ssh", "/proc/self/environ"]
)
def test_paths_do_not_lead_out(server, path):
    import json

    status, content, _ = server.request("POST", "/api/sessions", json.dumps({"path": path}).encode())
    assert status in (400, 403)
    assert b"lies outside of" in content or b"no path" in content


def test_links_do_not_lead_out(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "v.mp4").write_bytes(b"")
    (inside / "link").symlink_to(outside)
    with pytest.raises(OutsideError, match="lies outside of"):
        AllowedFolders([inside]).resolve("link/v.mp4")
    with pytest.raises(vos.InputError, match="no path"):
        AllowedFolders([inside]).resolve("a\0b")


def test_messages_and_places_leave_out_folders_of_the_server_itself(tmp_path):
    mine, uploads = tmp_path / "mine", tmp_path / "uploads"
    mine.mkdir()
    uploads.mkdir()
    allowed = AllowedFolders([mine], [uploads])
    assert allowed.resolve(str(uploads / "v.mp4")) == uploads / "v.mp4"
    assert allowed.browse("")["roots"] == [str(mine)]
    with pytest.raises(OutsideError) as found:
        allowed.resolve("/etc")
    assert str(uploads) not in str(found.value)


@pytest.mark.parametrize("name", ["..", "../x", "..%2f..%2fetc", "a%00b", "sessions"])
def test_session_ids_do_not_lead_out(server, name):
    assert server.request("GET", f"/api/sessions/{name}")[0] in (400, 404)
    assert server.request("DELETE", f"/api/sessions/{name}")[0] in (400, 404, 405)


def test_a_huge_request_is_refused_before_it_is_read(server):
    for path in ("/api/sessions", "/api/uploads?name=v.mp4"):
        status, content, _ = server.request("POST", path, b"", {"Content-Length": str(10**13)})
        assert status == 413
        assert b"larger than" in content


def test_a_huge_upload_without_a_length_is_cut_off(start_server, tmp_path):
    server = start_server(max_upload=1000)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    chunks = (b"x" * 400 for _ in range(20))
    connection.request("POST", f"/{server.token}/api/uploads?name=v.mp4", chunks, encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    assert connection.getresponse().status == 413
    assert not list((tmp_path / "sessions" / "uploads").rglob("*"))


def test_an_upload_keeps_its_place(server, tmp_path):
    status, _, _ = server.request("POST", "/api/uploads?name=..%2f..%2fevil.mp4", CLIP.read_bytes())
    assert status == 200
    assert len(list((tmp_path / "sessions" / "uploads").glob("*/*evil.mp4"))) == 1
    assert server.request("POST", "/api/uploads?name=run.sh", b"x")[0] == 400


def test_nothing_stays_of_an_upload_that_is_no_video(server, tmp_path):
    status, content, _ = server.request("POST", "/api/uploads?name=notes.mp4", b"text")
    assert (status, json.loads(content)["error"].startswith("notes.mp4: cannot be opened")) == (400, True)
    assert not list((tmp_path / "sessions" / "uploads").rglob("*"))


def test_an_upload_that_cannot_be_written_is_said(start_server, tmp_path):
    server = start_server()
    (tmp_path / "sessions" / "uploads").write_text("no folder")
    status, content, _ = server.request("POST", "/api/uploads?name=v.mp4", CLIP.read_bytes())
    assert (status, "cannot be written" in json.loads(content)["error"]) == (500, True)


def test_writers_get_no_options_and_exports_stay_inside(server, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(CLIP.read_bytes())
    session = server.json("POST", "/api/sessions", {"path": str(tmp_path / "clip.mp4")})["id"]
    for body, said in (
        (b'{"writers": [["davis", {"path": "/x"}]]}', b"choose at least one"),
        (b'{"writers": ["davis"], "folder": "/etc"}', b"lies outside"),
        (b'{"writers": ["nope"]}', b"no writer named"),
        (b'{"writers": ', b"no JSON"),
        (b"[1]", b"no JSON object"),
    ):
        status, content, _ = server.request("POST", f"/api/sessions/{session}/export", body)
        assert status in (400, 403), content
        assert said in content
