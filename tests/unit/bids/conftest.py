"""One tiny session, written as DICOM and converted once for all tests of this folder."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from scan2map.bids.convert import Conversion, convert_session
from scan2map.config import load_schema


@pytest.fixture(scope="session")
def remove_metadata():
    """The default list of sidecar keys to remove."""
    return tuple(load_schema("input")["properties"]["remove_metadata"]["default"])


@pytest.fixture(scope="session")
def convert(root, remove_metadata):
    """Convert a DICOM folder with the shipped study map into ``<out>/bids``; returns the record."""

    def run(source, out, subject="01", session="01", study_map=None):
        job = Conversion(Path(source), subject, session, Path(out) / "bids", remove_metadata)
        record = Path(out) / "ingest" / f"sub-{subject}_ses-{session}.json"
        return convert_session(job, study_map or root / "config" / "bidsmap.yaml", record)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, convert):
    """A session with every kind of series: the DICOM folder, the series as the scanner meant them, and the result."""
    import tiny_session

    out = tmp_path_factory.mktemp("tiny")
    series = tiny_session.core_series() + tiny_session.further_series()
    dicom = tiny_session.write(out / "dicom", series)
    record = convert(dicom, out)
    return SimpleNamespace(out=out, dicom=dicom, bids=out / "bids", record=record, series=series)
