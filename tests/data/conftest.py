import pytest
from image_files import write, write_zip


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path):
    """Writes the files into a folder or a zip and returns it."""
    if request.param == "zip":
        return lambda files: write_zip(tmp_path / "images.zip", files)
    return lambda files: write(tmp_path / "images", files)


@pytest.fixture(autouse=True)
def own_mxnet_home(tmp_path, monkeypatch):
    """Nothing is read from or kept in the home of whoever runs the tests."""
    home = tmp_path / "mxnet-home"
    monkeypatch.setenv("MXNET_HOME", str(home))
    return home
