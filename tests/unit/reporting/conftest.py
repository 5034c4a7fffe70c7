"""Fixtures of the report's tests."""

import pytest
from report_study import make_session

from scan2map.reporting.page import REPORT_FOLDER
from scan2map.reporting.spec import load_spec


@pytest.fixture(scope="session")
def session_tree(tmp_path_factory):
    """A complete synthetic session; tests must not change it."""
    return make_session(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def page_spec():
    return load_spec(REPORT_FOLDER / "subject.yaml")
