"""Fetching, finding and telling published files, with a server on this machine and a catalogue made for it."""

import contextlib
import hashlib
import http.server
import json
import re
import socket
import threading
from urllib.parse import unquote, urlsplit

import pytest

from gluon_aff import facts, published
from gluon_aff.cli import main as cli
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.utils import console

CONTENT = bytes(range(251)) * 5000  # 1.2 MB
ID, OTHER_READING, ANOTHER = "first", "first__r4", "second"
BLOB = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.content``; ``server.cut`` closes the first answers early."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(self.server.content[: self.server.cut.pop() if self.server.cut else None])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server with the file of a catalogue of three ids, two of them readings of that file."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.asked, made.cut, made.content = [], [], CONTENT
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    use_catalogue(monkeypatch, tmp_path, f"http://127.0.0.1:{made.server_port}")
    yield made
    made.shutdown()
    made.server_close()


def use_catalogue(monkeypatch, folder, host):
    record = {**published.record("paper_cifar100_resnext29_AFF_0.8973"), "file": "0.9-first.params"}
    record.update(git_blob_sha1=BLOB, bytes=len(CONTENT), address=f"{host}/r%20%3D%204/0.9-first.params")
    records = [{**record, "id": ID}, {**record, "id": OTHER_READING, "bytes": 7, "alternative_reading_of": ID}]
    records.append({**record, "id": ANOTHER, "file": "0.8-second.params", "git_blob_sha1": "0" * 40, "bytes": 9})
    (folder / "params").mkdir()
    (folder / "params" / "catalogue.json").write_text(json.dumps(records), encoding="utf-8")
    monkeypatch.setattr(facts, "_PACKAGE", folder)


def test_fetches_to_the_models_directory(server, own_mxnet_home):
    path = published.fetch(ID)
    assert path == own_mxnet_home / "models" / "0.9-first.params"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert unquote(server.asked[0]) == "/r = 4/0.9-first.params"
    assert published.find_file(OTHER_READING) == path
    assert published.fetch(ID) == path and len(server.asked) == 1  # nothing is fetched twice


def test_a_broken_connection_is_tried_again(server):
    server.cut = [500_000]
    assert published.fetch(ID).read_bytes() == CONTENT and len(server.asked) == 2


def test_a_changed_file_is_refused_and_not_kept(server, own_mxnet_home):
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(GluonAFFError, match="git blob SHA-1") as caught:
        published.fetch(ID)
    assert BLOB in str(caught.value)
    assert not list((own_mxnet_home / "models").iterdir())


def test_a_file_in_its_place_that_is_another_is_left_alone(server):
    place = published.place_of(ID)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    with pytest.raises(GluonAFFError, match=r"4 bytes.*7 or 1255000 bytes.*move it away"):
        published.fetch(ID)
    assert place.read_bytes() == b"mine" and not server.asked


def test_a_mirror(server):
    host = f"http://127.0.0.1:{server.server_port}"
    assert published.fetch(ID, url=f"{host}/elsewhere").read_bytes() == CONTENT
    assert server.asked[0] == "/elsewhere"
    with pytest.raises(UsageError, match="not an address"):
        published.fetch(ANOTHER, url="elsewhere")


def test_offline_says_address_and_place(monkeypatch, tmp_path, own_mxnet_home, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    use_catalogue(monkeypatch, tmp_path, host)
    with pytest.raises(GluonAFFError, match="no connection") as caught:
        published.fetch(ID)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{host}/r%20%3D%204/0.9-first.params" in message
    assert str(own_mxnet_home / "models" / "0.9-first.params") in message
    assert console.run(cli.main, ["published", "fetch", ID]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err


def test_finding_a_file_that_is_not_here_says_how_to_get_it(own_mxnet_home):
    identity = "release_cifar100_AFF-ResNet-32_fine_0.8357"
    with pytest.raises(GluonAFFError) as caught:
        published.find_file(identity)
    for words in (str(published.place_of(identity)), published.address(identity), f"published fetch {identity}"):
        assert words in str(caught.value)


def test_the_models_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path / "elsewhere"))
    assert published.models_directory() == tmp_path / "elsewhere" / "models"
    monkeypatch.setenv("MXNET_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert published.models_directory() == tmp_path / ".mxnet" / "models"


def test_identify_by_content_not_by_name(server, tmp_path):
    path = tmp_path / "renamed.params"
    path.write_bytes(CONTENT)
    assert published.identify(path) == [ID, OTHER_READING]
    path.write_bytes(CONTENT[1:])
    assert published.identify(path) == []
    with pytest.raises(GluonAFFError, match="cannot be read"):
        published.identify(tmp_path / "nowhere")


def test_the_digest_is_gits(tmp_path):
    (tmp_path / "x").write_bytes(b"hello\n")
    assert published.git_blob_sha1(tmp_path / "x") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_every_record_is_complete():
    for identity, record in published.catalogue().items():
        parts = urlsplit(record["address"])
        assert parts.scheme == "https" and " " not in record["address"]
        assert unquote(parts.path).endswith(f"/{record['commit']}/{record['path']}")
        assert record["path"].endswith("/" + record["file"])
        assert re.fullmatch("[0-9a-f]{40}", record["git_blob_sha1"])
        assert record["dataset"] in identity
        scale = record["normalisation"]["pixel_range"][1]
        assert [round(value / scale, 1) for value in record["normalisation"]["mean"]] == [0.5, 0.5, 0.4]
        assert record["label_mode"] == {"c": "coarse", "f": "fine", "N": None}[str(record["labels"])[0]]
        assert record["resize_short"] == (256 if record["dataset"] == "imagenet" else None)


def test_values_are_counts_of_their_images():
    """value x images is whole, as far as the value's four digits go; the logs' six digits told which it is."""
    for record in published.catalogue().values():
        count = round(record["value"] * record["images"])
        assert record["metric"] == "iou" or abs(count / record["images"] - record["value"]) <= 5e-5
        if record["dataset"] == "imagenet":
            assert record["images"] in (49_664, 49_920, 50_176)
        elif record["dataset"] == "sirst":
            assert record["images"] == 96  # no count of images, but IoU
        else:
            assert record["images"] == 10_000


def test_one_file_has_one_name_and_one_digest():
    files = {}
    for record in published.catalogue().values():
        files.setdefault(record["file"], set()).add(record["git_blob_sha1"])
    assert len(files) == 24 and all(len(digests) == 1 for digests in files.values())
    assert len(set.union(*files.values())) == 24
