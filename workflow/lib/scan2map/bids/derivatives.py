"""The description that makes a folder of results a BIDS derivative data set."""

from __future__ import annotations

import scan2map
from scan2map.provenance import write_json
from scan2map.systems import load_system

NAMES = {
    "scan2map": "Maps, transforms and quality figures made by scan2map",
    "phantom": "Ground truth of the digital phantom (simulated)",
}


def write_description(path, dataset: str) -> None:
    """Write ``dataset_description.json`` of a derivative data set.

    Args:
        path: the file.
        dataset: ``scan2map`` (results), ``phantom`` (ground truth), or the name of a learned system.
    """
    content = {
        "Name": NAMES.get(dataset) or f"Maps predicted by {load_system(dataset).description.title}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "scan2map", "Version": scan2map.__version__}],
    }
    write_json(path, content)
