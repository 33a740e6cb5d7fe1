import json

import pytest

from gluon_aff import published
from gluon_aff.cli import doctor
from gluon_aff.cli import main as cli
from gluon_aff.runtime import cuda, devices, importing, packages, threads


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    return tmp_path


def test_a_working_installation_without_data(home, capsys):
    assert cli.main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    states = {finding["topic"]: finding["state"] for finding in findings}
    assert states["Python"] == states["NumPy"] == states["MXNet"] == states["GluonCV"] == states["OpenCV"] == "ok"
    assert states["data"] == states["weights"] == "missing"
    text = {finding["topic"]: finding["found"] for finding in findings}
    assert text["MXNet"].startswith("1.9.1 (wheels: mxnet")
    assert "MKLDNN" in text["features"]
    assert str(home / "datasets" / "cifar100") in text["data"]
    assert str(home / "models") in text["weights"]


def test_table_puts_the_remedy_under_the_finding(home, monkeypatch, capsys):
    finding = doctor.Finding("NumPy", "broken", "2.1", "pip install 'numpy<2'")
    monkeypatch.setattr(doctor, "diagnose", lambda: [finding])
    assert cli.main(["doctor"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == "broken   NumPy      2.1"
    assert second.strip() == "-> pip install 'numpy<2'"


def test_without_mxnet_it_says_why_and_what_to_run(home, monkeypatch, capsys):
    def fail():
        raise importing.MXNetImportError("found NumPy 2.1.0", "pip install 'numpy<2'")

    monkeypatch.setattr(importing, "import_mxnet", fail)
    assert cli.main(["doctor", "--json"]) == 1
    (finding,) = [found for found in json.loads(capsys.readouterr().out) if found["topic"] == "MXNet"]
    assert finding["state"] == "broken"
    assert finding["found"].startswith("found NumPy 2.1.0 (wheels: mxnet")
    assert finding["remedy"] == "pip install 'numpy<2'"


def test_data_set_that_is_unpacked(home):
    (home / "datasets/cifar10/cifar-10-batches-py").mkdir(parents=True)
    found = [finding for finding in doctor._datasets() if "cifar10:" in finding.found]
    assert [finding.state for finding in found] == ["ok"]
    assert "cifar-10-batches-py" in found[0].found


def test_damaged_archive_is_broken(home):
    archive = home / "datasets/cifar100/cifar-100-binary.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"half of it")
    found = [finding for finding in doctor._datasets() if "cifar-100" in finding.found]
    assert [finding.state for finding in found] == ["broken"]
    assert f"rm {archive}" in found[0].remedy


def test_weights_are_counted_and_checked_by_size(home):
    record = published.record(published.list_published()[0])
    path = home / "models" / record["file"]
    path.parent.mkdir()
    with open(path, "wb") as handle:
        handle.truncate(record["bytes"])
    assert doctor._weights().state == "ok"
    assert doctor._weights().found.startswith("1 of ")
    with open(path, "wb") as handle:
        handle.truncate(10)
    assert doctor._weights().state == "broken"
    assert f"{record['file']} has 10 bytes, expected {record['bytes']}" in doctor._weights().found


@pytest.mark.parametrize(
    "count, capabilities, state, words",
    [
        (0, [], "ok", "CPU only"),
        (0, [(7, 5)], "note", "cannot use the 1 GPU(s)"),
        (1, [(8, 6)], "ok", "GPU 0: sm_86"),
        (1, [(9, 0)], "broken", "sm_90, newer than"),
    ],
)
def test_devices(monkeypatch, count, capabilities, state, words):
    monkeypatch.setattr(devices, "count", lambda: count)
    monkeypatch.setattr(cuda, "capabilities", lambda: capabilities)
    (finding,) = doctor._devices()
    assert finding.state == state
    assert words in finding.found


def test_threads_that_differ_from_the_cores(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    monkeypatch.setattr(threads, "imported_before_us", False)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert doctor.openmp_threads().state == "ok"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert doctor.openmp_threads().state == "note"
    monkeypatch.setattr(threads, "imported_before_us", True)
    assert "MXNet was imported before gluon_aff" in doctor.openmp_threads().found


@pytest.mark.parametrize("version, state", [("1.23.5", "ok"), ("1.26.4", "ok"), ("2.1.0", "broken"), (None, "broken")])
def test_numpy_versions(monkeypatch, version, state):
    monkeypatch.setattr(packages, "version_of", lambda package: version)
    assert doctor.numpy().state == state


def test_required_package_that_is_not_there(monkeypatch):
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["tqdm<5", "gone-for-good>=1", "x==1; extra == 'cpu'"]
    )
    finding = doctor.required_packages()
    assert finding.state == "broken"
    assert finding.found == "not installed: gone-for-good"


def test_package_that_does_not_import_names_the_system_library(monkeypatch):
    def fail(name):
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", fail)
    finding = doctor._importable("OpenCV", "cv2")
    assert finding.state == "broken"
    assert "libgl1" in finding.remedy
