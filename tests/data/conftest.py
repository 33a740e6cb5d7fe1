import pytest


@pytest.fixture(autouse=True)
def own_mxnet_home(tmp_path, monkeypatch):
    """Nothing is read from or kept in the home of whoever runs the tests."""
    home = tmp_path / "mxnet-home"
    monkeypatch.setenv("MXNET_HOME", str(home))
    return home
