"""Downloads from a server on this machine that behaves as badly as a test asks it to."""

import contextlib
import hashlib
import http.server
import socket
import threading
import time

import pytest

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.runtime import mxnet_home
from gluon_aff.utils.download import download, expect

CONTENT = bytes(range(256)) * 4000  # about 1 MB


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; what the server object says decides how."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        server = self.server
        server.asked += 1
        if server.delay:
            time.sleep(server.delay)
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked may have given up
            self.wfile.write(CONTENT[: server.cut.pop() if server.cut else None])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.asked, made.statuses, made.delay, made.cut = 0, [], 0, []
    made.url = f"http://127.0.0.1:{made.server_port}/data/some.tar.gz"
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def fetch(server, path, **options):
    return download(server.url, path, **{"pause": 0.01, "timeout": 5, **options})


GOOD = expect(md5=hashlib.md5(CONTENT).hexdigest(), sha1=hashlib.sha1(CONTENT).hexdigest())


def test_fetches_checks_and_renames_but_not_what_is_already_there(server, tmp_path):
    path = tmp_path / "new" / "folder" / "some.tar.gz"
    assert fetch(server, path, verify=GOOD) == path
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["some.tar.gz"]
    path.write_bytes(b"mine")
    fetch(server, path)
    assert path.read_bytes() == b"mine" and server.asked == 1


def test_a_connection_that_breaks_is_asked_again(server, tmp_path):
    server.cut = [300_000, 0]
    assert fetch(server, tmp_path / "some.tar.gz", verify=GOOD).read_bytes() == CONTENT and server.asked == 3
    server.cut = [5000] * 3
    with pytest.raises(GluonAFFError, match=f"closed after 5000 of {len(CONTENT)} bytes.*run it again"):
        fetch(server, tmp_path / "other", attempts=3)
    assert server.asked == 6 and [entry.name for entry in tmp_path.iterdir()] == ["some.tar.gz"]


def test_wrong_content_is_refused_and_not_kept(server, tmp_path):
    path = tmp_path / "some.tar.gz"
    found = hashlib.sha1(CONTENT).hexdigest()
    with pytest.raises(GluonAFFError, match=f"sent is wrong: it has SHA-1 {found}, expected {'0' * 40}"):
        fetch(server, path, verify=expect(sha1="0" * 40))
    assert not list(tmp_path.iterdir())
    assert server.asked == 1


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 503]
    assert fetch(server, tmp_path / "some.tar.gz", attempts=3).read_bytes() == CONTENT
    server.statuses = [503, 503]
    with pytest.raises(GluonAFFError, match="the server answers 503"):
        fetch(server, tmp_path / "other", attempts=2)


def test_a_file_that_is_not_there_is_reported_at_once(server, tmp_path):
    server.statuses = [404] * 9
    with pytest.raises(GluonAFFError, match=r"cannot download some.tar.gz \(the server answers 404") as caught:
        fetch(server, tmp_path / "some.tar.gz")
    assert server.asked == 1
    assert server.url in str(caught.value) and f"put it at {tmp_path}/some.tar.gz" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_without_a_network_it_fails_fast_in_one_line(tmp_path, monkeypatch, host):
    monkeypatch.setenv("no_proxy", "*")
    if host.endswith("invalid"):

        def no_answer(*args, **options):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        monkeypatch.setattr(socket, "getaddrinfo", no_answer)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://{host}:{reserved.getsockname()[1]}/cifar.tar.gz"
        started = time.monotonic()
        with pytest.raises(GluonAFFError, match="cannot download cifar.tar.gz") as caught:
            download(url, tmp_path / "cifar.tar.gz")
    assert time.monotonic() - started < 2
    message = str(caught.value)
    assert "\n" not in message and url in message and f"put it at {tmp_path}/cifar.tar.gz" in message
    assert not list(tmp_path.iterdir())


def test_a_server_that_never_answers_is_given_up(server, tmp_path):
    server.delay = 1
    started = time.monotonic()
    with pytest.raises(GluonAFFError, match="no answer: .*timed out"):
        fetch(server, tmp_path / "some.tar.gz", timeout=0.1, attempts=2)
    assert time.monotonic() - started < 2


def test_a_place_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GluonAFFError, match="cannot write .*file"):
        fetch(server, tmp_path / "file" / "some.tar.gz")


def test_expect_names_what_differs(tmp_path):
    path = tmp_path / "hello.txt"
    path.write_bytes(b"hello\n")
    expect(md5="b1946ac92492d2347c6235b4d2611184")(path)
    with pytest.raises(GluonAFFError, match="has md5 b1946ac92492d2347c6235b4d2611184, expected beef"):
        expect(md5="beef")(path)


def test_mxnet_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    assert mxnet_home() == tmp_path
    monkeypatch.delenv("MXNET_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(mxnet_home()) == "/home/someone/.mxnet"


@pytest.mark.parametrize("url", ["http://[::1/x", "http://127.0.0.1:port/x", "nonsense", "http://127.0.0.1/a b"])
def test_what_is_no_address_is_told_at_once(tmp_path, url):
    with pytest.raises(UsageError, match="is not an address"):
        download(url, tmp_path / "file", pause=60)
    assert list(tmp_path.iterdir()) == []
