"""What Gradio's advisories were about, tried on the running page; the table is in ADVISORIES.md."""

import http.client
import json
import re
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import httpx
import pytest
from server_process import Program, Tab
from small_scans import head, png

import app
from cyclegan.server.middleware import API, takes_files

ROOT = Path(__file__).parents[2]
SECRET = b"of the server alone"


@pytest.fixture(scope="module")
def server(served, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret") / "secret.txt"
    secret.write_bytes(SECRET)
    uploads = Path(served.uploads)
    url = served.url
    return SimpleNamespace(url=url, host=urlsplit(url).netloc, uploads=uploads, secret=secret)


@pytest.fixture
def listener():
    """An address of this machine, and whether anybody has come."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as waiting:

        def accept():
            try:
                while True:
                    connection, _ = waiting.accept()
                    came.append(True)
                    connection.close()
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        host, port = waiting.getsockname()
        yield SimpleNamespace(url=f"http://{host}:{port}/secret.png", came=came)


def raw(server, target, method="GET", body=None, headers=None):
    """A request whose path is sent as it is, dots and all."""
    connection = http.client.HTTPConnection(server.host, timeout=30)
    try:
        connection.putrequest(method, target, skip_host="Host" in (headers or {}))
        data = b"" if body is None else body
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        return SimpleNamespace(
            status=answer.status, headers=answer.headers, content=answer.read(2**22)
        )
    finally:
        connection.close()


def joined(server, data):
    """What the queue says to a call with `data`: a refusal, or the sentence that it ends with."""
    with Program(server.url) as program:
        try:
            return program.call(*data)[1]
        except httpx.HTTPStatusError as refused:
            return refused.response.json()["detail"]


CLOSED = [
    "file=app.py",
    "file=/etc/passwd",
    "file/app.py",
    "proxy=http://127.0.0.1:1/",
    "proxy=https://huggingface.co.hf.space/",
    "stream/a/b/1/playlist.m3u8",
    "stream/a/b/1/playlist-file",
    "deep_link?session_hash=a",
    "custom_component/file/client/component/../../app.py",
    "user",
    "login_check",
    "token",
    "dev/reload",
    "openapi.json",
    "queue/status",
    "runs",
    "run-history/records",
    "run-history/buckets",
    "vibe-code",
    "vibe-starter-queries",
    "upload_progress?upload_id=a",
    "profiling/traces",
    "mcp/sse",
]


@pytest.mark.parametrize("address", CLOSED)
def test_addresses_without_a_use_are_closed(server, address):
    for target in (f"{API}{address}", f"{API}{address}/", f"/{API}{address}"):
        assert raw(server, target).status in (404, 405), target


@pytest.mark.parametrize(
    "address",
    [
        "component_server",
        "run/translate",
        "api/translate",
        "api/predict",
        "process_recording",
        "vibe-edit",
        "vibe-code",
        "undo-vibe-edit",
        "run-history/connect",
        "stream/a",
        "call/shown",
        "call/handler",
    ],
)
def test_nothing_is_run_past_the_queue_or_by_its_name(server, address):
    body = json.dumps({"data": [{}, "T2"], "session_hash": "a"}).encode()
    headers = {"Content-Type": "application/json"}
    assert raw(server, f"{API}{address}", "POST", body, headers).status == 404


def test_the_open_way_past_the_queue_runs_nothing_that_belongs_into_it(server):
    config = httpx.get(f"{server.url}config").json()
    events = [each for each in config["dependencies"] if each["backend_fn"]]
    assert [each["api_name"] for each in events if each["queue"] is not False] == ["translate"]
    for event in events:
        body = {"fn_index": event["id"], "data": [None] * len(event["inputs"]), "session_hash": "a"}
        answer = httpx.post(f"{server.url}gradio_api/run/predict", json=body, timeout=30)
        assert (answer.status_code == 404) is (event["queue"] is not False), event
        assert str(ROOT) not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2f..%2fapp.py",
        "..\\..\\app.py",
        "//etc/passwd",
        "....//....//app.py",
        "C:/Windows/win.ini",
        "index.html/../../../../app.py",
        "%00/etc/passwd",
        "a" * 5000,
        "%ff%fe",
    ],
)
@pytest.mark.parametrize(
    "below", ["assets/", "static/", "svelte/", "gradio_api/file=", "viewer/", "scans/", "examples/"]
)
def test_no_path_leads_out_of_the_folders_of_the_page(server, below, path):
    answer = raw(server, f"/{below}{path}")
    assert answer.status in (400, 403, 404, 405), answer.content[:200]
    assert b"root:" not in answer.content
    assert b"create_app" not in answer.content
    assert b"Traceback" not in answer.content
    assert str(ROOT).encode() not in answer.content


def test_not_even_an_upload_can_be_fetched_back(server):
    with Program(server.url) as program:
        file = program.upload("page.html", b"<script>alert(1)</script>")
        path = file["path"]
        assert not Path(path).exists()
        for case in (path, path.upper(), quote(path, safe=""), f"{path}?a=b"):
            assert raw(server, f"{API}file={case}").status == 404
        assert "page.html: this is not an image" in program.call(file, "T2")[1]
    with Tab(server.url) as tab:
        assert "page.html: this is not an image" in tab.open("page.html", b"<script>")["error"]
    assert httpx.get(f"{server.url}?deep_link=../{Path(path).parts[-2]}").status_code == 200


def test_files_of_the_server_are_not_read(server):
    meta = {"_type": "gradio.FileData"}
    for path in (
        str(server.secret),
        str(ROOT / "app.py"),
        f"{server.uploads}/a/../../{server.secret.parent.name}/secret.txt",
        f"{server.uploads}/../{server.secret.parent.name}/secret.txt",
        "file:///etc/passwd",
        "/proc/self/environ",
        "a\0b",
        "x" * 5000,
    ):
        for file in ({"path": path}, {"path": path, "meta": meta}, {"path": path, "url": path}):
            for data in ([file, "T2"], [{}, "T2", file], [{}, "T2", None, None, [file]]):
                sentence = joined(server, data)
                assert "uploads only" in sentence
                assert SECRET.decode() not in sentence
                assert str(ROOT) not in sentence
                assert "Traceback" not in sentence
    assert server.secret.read_bytes() == SECRET  # what is no upload is not deleted either
    assert (ROOT / "app.py").is_file()


def test_no_address_is_fetched(server, listener):
    meta = {"_type": "gradio.FileData"}
    for path, url in (
        (listener.url, None),
        (listener.url.upper().replace("HTTP", "HtTp"), None),
        ("scan.png", listener.url),
        (listener.url, listener.url),
    ):
        file = {"path": path, "url": url, "meta": meta}
        assert joined(server, [file, "T2"]) not in ("", None)
    assert raw(server, f"{API}file={listener.url}").status == 404
    assert raw(server, f"{API}proxy={listener.url}").status == 404
    assert not listener.came


def test_an_address_of_the_world_is_refused_before_gradio_sees_it(server):
    file = {"path": "https://example.org/a.png", "meta": {"_type": "gradio.FileData"}}
    assert "uploads only" in joined(server, [file, "T2"])
    assert "uploads only" in joined(server, [[{"deep": [file]}], "T2"])


@pytest.mark.parametrize(
    "name",
    [
        "../../../secret.png",
        "/etc/cron.d/secret.png",
        "..\\..\\secret.png",
        "secret.png\0.html",
        "x" * 4000 + ".png",
        "~/.ssh/authorized_keys",
        "%2e%2e%2fsecret.png",
        "con.nii",
        "\u202egnp.exe",
        "",
        ".",
        "..",
    ],
)
def test_the_name_of_an_upload_does_not_choose_where_it_lies(server, name):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="'
        + name.encode().replace(b'"', b"%22")
        + b'"\r\nContent-Type: image/png\r\n\r\nbytes\r\n--x--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for target in (f"{API}upload", "/scans"):
        answer = raw(server, target, "POST", form, headers)
        assert answer.status in (200, 400, 422)
        assert b"Traceback" not in answer.content
        if answer.status == 200:
            (path,) = json.loads(answer.content)
            assert Path(path).parent == server.uploads.resolve()
            assert not Path(path).exists()
    assert not [path for path in server.uploads.rglob("*") if path.is_file()]


def test_a_form_without_end_is_refused(server):
    for boundary, form in (
        ("x", b"--x\r\n" + b"a" * 10_000),
        ("x", b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--" + b"-" * 1_000_000),
        ("x" * 1000, b""),
        ("", b"--"),
    ):
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        for target in (f"{API}upload", "/scans"):
            answer = raw(server, target, "POST", form, headers)
            assert answer.status == 400, answer.content
            assert b"Traceback" not in answer.content
    for target in (f"{API}upload", "/scans"):
        assert raw(server, target, "POST", b"x", {"Content-Type": "text/plain"}).status == 400


@pytest.mark.parametrize("origin", ["null", "https://example.org", "http://localhost.example.org"])
def test_no_other_origin_may_read_answers(server, origin):
    with Tab(server.url) as tab:
        tab.open("a.png", png(head()))
        scan = f"/scans/{tab.state['scan']}"
        answer = raw(server, scan, headers={"Origin": origin})
        assert answer.status == 200
        assert answer.headers.get("Access-Control-Allow-Origin") is None
    tries = (("/config", "GET"), (f"{API}queue/join", "OPTIONS"), ("/scans", "OPTIONS"))
    for target, method in tries:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Cookie": "a=b"}
        answer = raw(server, target, method, headers=headers)
        assert answer.headers.get("Access-Control-Allow-Origin") is None


def test_the_host_header_of_one_reader_is_not_shown_to_another(server):
    headers = {"Host": "evil.example.org", "X-Forwarded-Host": "evil.example.org"}
    raw(server, "/", headers=headers)
    raw(server, "/config", headers=headers)
    for target in ("/", "/config", f"{API}info"):
        answer = raw(server, target)
        assert answer.status == 200
        assert b"evil.example.org" not in answer.content


@pytest.mark.parametrize("address", ["monitoring", "monitoring/summary", "monitoring/x", "runs"])
def test_nobody_sees_who_uses_the_page(server, address):
    assert raw(server, f"/{address}").status in (403, 404)


def test_the_page_tells_only_of_what_it_offers(server):
    told = httpx.get(f"{server.url}gradio_api/info").json()
    assert list(told["named_endpoints"]) == ["/translate"]
    assert told["unnamed_endpoints"] == {}
    text = httpx.get(server.url).text
    assert str(ROOT) not in text
    assert str(server.uploads) not in text


def test_the_settings_that_the_table_relies_on(tiny):
    page = app.create_app(str(tiny))
    app.serve(page)
    assert page.has_launched  # or Gradio checks no path
    assert page.allowed_paths == []
    assert page.auth is None
    for name in ("run_history", "enable_monitoring", "show_error", "ssr_mode", "share"):
        assert not getattr(page, name)
    used = {type(block).__name__ for block in page.blocks.values()}
    assert not used & {"LoginButton", "DownloadButton", "DeepLinkButton", "Image", "Dataframe"}
    assert not used & {"Audio", "Video", "Chatbot", "Code", "FileExplorer", "UploadButton", "File"}
    assert page.proxy_urls == set()


def test_what_passes_the_gate_with_files_is_ours(tiny):
    page = app.create_app(str(tiny))
    api = app.serve(page)
    (gradio,) = (route.app for route in api.routes if getattr(route, "path", None) == "")
    theirs = list(gradio.openapi()["paths"])
    assert f"{API}queue/join" in theirs
    assert {path for path in theirs if takes_files(path)} <= {f"{API}upload"}  # ours comes first


def test_every_try_of_the_table_exists():
    table = (ROOT / "tests" / "ADVISORIES.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", table))
    assert len(named) > 10
    assert named <= set(globals())
