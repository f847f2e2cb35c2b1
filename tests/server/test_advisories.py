"""What Gradio's advisories were about, tried on the running page; the table is in ADVISORIES.md."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import httpx
import pytest
from server_process import Program, Tab
from small_scans import head, png

import app
from cyclegan.server import limits
from cyclegan.server.middleware import API, takes_files

ROOT = Path(__file__).parents[2]
SECRET = b"of the server alone"


@pytest.fixture(scope="module")
def server(served, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret") / "secret.txt"
    secret.write_bytes(SECRET)
    return SimpleNamespace(url=served.url, uploads=Path(served.uploads), secret=secret)


def raw(server, target, method="GET", body=None, headers=None):
    """A request whose path is sent as it is, dots and all."""
    url = httpx.URL(server.url).copy_with(raw_path=target.encode())
    return httpx.request(method, url, content=body, headers=headers, timeout=30)


# What reads files, fetches addresses, edits the app, runs events past the queue or by their names.
CLOSED = {
    "GET": """
        file=app.py file=/etc/passwd file/app.py proxy=http://127.0.0.1:1/
        proxy=https://huggingface.co.hf.space/ stream/a/b/1/playlist.m3u8
        stream/a/b/1/playlist-file deep_link?session_hash=a user login_check token dev/reload
        custom_component/file/client/component/../../app.py openapi.json queue/status runs
        run-history/records run-history/buckets vibe-code vibe-starter-queries
        upload_progress?upload_id=a profiling/traces mcp/sse""",
    "POST": """
        component_server run/translate api/translate api/predict process_recording vibe-edit
        vibe-code undo-vibe-edit run-history/connect stream/a call/shown call/handler""",
}


@pytest.mark.parametrize(
    ("method", "address"), [(method, a) for method in CLOSED for a in CLOSED[method].split()]
)
def test_addresses_without_a_use_are_closed(server, method, address):
    body = json.dumps({"data": [{}, "T2"], "session_hash": "a"}).encode()
    headers = {"Content-Type": "application/json"}
    for target in (f"{API}{address}", f"{API}{address}/", f"/{API}{address}"):
        assert raw(server, target, method, body, headers).status_code in (404, 405), target


def test_the_open_way_past_the_queue_runs_nothing_that_belongs_into_it(server):
    config = httpx.get(f"{server.url}config").json()
    events = [each for each in config["dependencies"] if each["backend_fn"]]
    assert [each["api_name"] for each in events if each["queue"] is not False] == ["translate"]
    for event in events:
        body = {"fn_index": event["id"], "data": [None] * len(event["inputs"]), "session_hash": "a"}
        answer = httpx.post(f"{server.url}gradio_api/run/predict", json=body, timeout=30)
        assert (answer.status_code == 404) is (event["queue"] is not False), event
        assert str(ROOT) not in answer.text


OUTSIDE = r"""
/etc/passwd ../../../../../../etc/passwd %2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd
..%2f..%2f..%2fapp.py ..\..\app.py //etc/passwd ....//....//app.py C:/Windows/win.ini
index.html/../../../../app.py %00/etc/passwd %ff%fe
"""


@pytest.mark.parametrize("path", [*OUTSIDE.split(), "a" * 5000])
@pytest.mark.parametrize(
    "below", ["assets/", "static/", "svelte/", "gradio_api/file=", "viewer/", "scans/", "examples/"]
)
def test_no_path_leads_out_of_the_folders_of_the_page(server, below, path):
    answer = raw(server, f"/{below}{path}")
    assert answer.status_code in (400, 403, 404, 405), answer.content[:200]
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
            assert raw(server, f"{API}file={case}").status_code == 404
        assert "page.html: this is not an image" in program.call(file, "T2")[1]
    with Tab(server.url) as tab:
        assert "page.html: this is not an image" in tab.open("page.html", b"<script>")["error"]
    assert httpx.get(f"{server.url}?deep_link=../{Path(path).parts[-2]}").status_code == 200


def test_no_file_of_the_server_is_read_and_no_address_fetched(server):
    meta = {"_type": "gradio.FileData"}
    with Program(server.url) as program:
        for path in (
            str(server.secret),
            str(ROOT / "app.py"),
            f"{server.uploads}/a/../../{server.secret.parent.name}/secret.txt",
            f"{server.uploads}/../{server.secret.parent.name}/secret.txt",
            "file:///etc/passwd",
            "/proc/self/environ",
            "a\0b",
            "x" * 5000,
            server.url,
            server.url.upper().replace("HTTP", "HtTp"),
            "https://example.org/a.png",
        ):
            for more in ({}, {"meta": meta}, {"url": path}, {"path": "scan.png", "url": path}):
                file = {"path": path, **more}
                for data in ([file, "T2"], [{}, "T2", file], [[{"deep": [file]}], "T2"]):
                    with pytest.raises(httpx.HTTPStatusError) as refused:
                        program.join(*data)
                    sentence = refused.value.response.json()["detail"]
                    assert sentence == limits.FILES_ONLY
    for address in ("file", "proxy"):
        assert raw(server, f"{API}{address}={server.url}").status_code == 404
    assert server.secret.read_bytes() == SECRET  # what is no upload is not deleted either
    assert (ROOT / "app.py").is_file()


NAMES = r"""
../../../secret.png /etc/cron.d/secret.png ..\..\secret.png ~/.ssh/authorized_keys
%2e%2e%2fsecret.png con.nii . ..
"""
UPLOADS = pytest.mark.parametrize("target", [f"{API}upload", "/scans"])


@UPLOADS
def test_the_name_of_an_upload_does_not_choose_where_it_lies(server, target):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for name in (*NAMES.split(), "secret.png\0.html", "x" * 4000 + ".png", "\u202egnp.exe", ""):
        disposition = f'Content-Disposition: form-data; name="files"; filename="{name}"'
        form = f"--x\r\n{disposition}\r\nContent-Type: image/png\r\n\r\nbytes\r\n--x--\r\n"
        answer = raw(server, target, "POST", form.encode(), headers)
        assert answer.status_code in (200, 400, 422)
        assert b"Traceback" not in answer.content
        if answer.status_code == 200:
            (path,) = json.loads(answer.content)
            assert Path(path).parent == server.uploads.resolve()
            assert not Path(path).exists()
    assert not [path for path in server.uploads.rglob("*") if path.is_file()]


@UPLOADS
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"a" * 10_000),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--" + b"-" * 1_000_000,
        ),
        (f"multipart/form-data; boundary={'x' * 1000}", b""),
        ("multipart/form-data; boundary=", b"--"),
        ("text/plain", b"x"),
    ],
)
def test_a_form_without_end_is_refused(server, target, kind, form):
    answer = raw(server, target, "POST", form, {"Content-Type": kind})
    assert answer.status_code == 400, answer.content
    assert b"Traceback" not in answer.content


@pytest.mark.parametrize("origin", ["null", "https://example.org", "http://localhost.example.org"])
def test_no_other_origin_may_read_answers(server, origin):
    with Tab(server.url) as tab:
        tab.open("a.png", png(head()))
        scan = f"/scans/{tab.state['scan']}"
        answer = raw(server, scan, headers={"Origin": origin})
        assert answer.status_code == 200
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
        assert answer.status_code == 200
        assert b"evil.example.org" not in answer.content


def test_nobody_sees_who_uses_the_page(server):
    for address in ("monitoring", "monitoring/summary", "monitoring/x", "runs"):
        assert raw(server, f"/{address}").status_code in (403, 404)


def test_the_page_tells_only_of_what_it_offers(server):
    info = httpx.get(f"{server.url}gradio_api/info").json()
    assert list(info["named_endpoints"]) == ["/translate"]
    assert info["unnamed_endpoints"] == {}
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
