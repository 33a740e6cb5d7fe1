import os
import shutil
import tempfile

import pytest

from gluon_aff.nn import native
from gluon_aff.nn.native import building, loading


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The operator, built once for all tests here and known to MXNet; no block uses it yet."""
    if native.compiler() is None:
        pytest.skip("no C++ compiler")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    try:
        if native.identity is None:  # else GLUON_AFF_NATIVE=1 has loaded it
            entry = native.build()
            loading.load(entry.library)
        else:
            entry = native.build()
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
    assert entry.state == native.State.BUILT
    return entry


@pytest.fixture
def operator(built, monkeypatch):
    """Blocks use the operator where it fits."""
    monkeypatch.setattr(native, "enabled", True)
    monkeypatch.setattr(native, "identity", built.identity)
    return native


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache and temporary folder, the native operator not switched off."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GLUON_AFF_NATIVE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def filled_cache(built, own_cache):
    """A cache of one's own with the operator in it."""
    shutil.copytree(built.folder, building.folder())
    return building.folder()
