"""The toy system, for every test of the shared training path."""

import sys

import pytest
from toy_study import install

import scan2map
import scan2map.systems
from scan2map import config


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    """A folder that holds the toy and the module ``with_toy``, for other processes."""
    return install(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def toy(toy_folder, monkeypatch):
    """The toy is the only system of this process."""
    monkeypatch.setattr(scan2map, "__path__", [*scan2map.__path__, str(toy_folder / "toy")])
    monkeypatch.setattr(scan2map.systems, "__path__", [str(toy_folder / "toy" / "systems")])
    monkeypatch.setattr(config, "SYSTEM_FOLDER", toy_folder / "toy" / "systems")
    config.load_system_schema.cache_clear()
    scan2map.systems.load_system.cache_clear()
    yield
    scan2map.systems.load_system.cache_clear()
    config.load_system_schema.cache_clear()
    for name in [name for name in sys.modules if name.startswith("scan2map.systems.toy")]:
        del sys.modules[name]
