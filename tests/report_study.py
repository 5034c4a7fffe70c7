"""A synthetic session with everything that a page reads, and rows of the study's tables."""

from types import SimpleNamespace

from synthetic_tree import Tree, write_session

from scan2map.evaluation.inputs import quality_files, roi_files, truth_files
from scan2map.evaluation.quality import tabulate_quality
from scan2map.evaluation.roi_table import tabulate_rois
from scan2map.evaluation.truth import compare_truth
from scan2map.reporting.page import REPORT_FOLDER
from scan2map.reporting.spec import load_spec, page_files

REPORT_SETTINGS = {"slices": 3, "picture_width_px": 400, "viewer_voxel_mm": 2.0, "outlier_threshold": 3.5}
BOOTSTRAP = {"confidence": 0.95, "resamples": 200, "seed": 1}
TRUTH_SETTINGS = {"tissue_threshold": 0.8, "max_b_value_s_per_mm2": 1500}
SERIES = [
    {"number": "10", "description": "report", "used": "no", "modality": "", "reason": "not an image", "files": ""},
    {"number": "2", "description": "t1w_mprage", "used": "yes", "modality": "anat", "reason": "", "files": "x.nii.gz"},
]


def inventory_row(modality, status="runs", reason="", remedy="", subject="01", session="1"):
    """One row of the inventory."""
    labels = {"subject": subject, "session": session, "modality": modality}
    return labels | {"status": status, "reason": reason, "remedy": remedy}


def make_session(folder, subject="01", session="1", modalities=("anat", "dwi", "asl")):
    """Write a session and its tables; returns the page's files and the inventory rows."""
    derivative, truth = write_session(Tree(folder), subject, session, modalities=modalities)

    def runs(modality):
        return modality in modalities

    names = {"subject": subject, "session": session}
    tables = {kind: folder / f"{subject}_{session}_{kind}.tsv" for kind in ("rois", "quality", "truth")}
    settings = {"tissue_threshold": 0.8, "partial_volume": False}
    tabulate_rois(roi_files(derivative, runs), tables["rois"], settings=settings, **names)
    tabulate_quality(quality_files(derivative, runs), tables["quality"], settings={"edge_voxels": 1}, **names)
    compare_truth(truth_files(derivative, truth, runs), tables["truth"], settings=TRUTH_SETTINGS, **names)
    files = page_files(load_spec(REPORT_FOLDER / "subject.yaml"), derivative, runs, lambda role: [])
    missing = {name: "the series is absent" for name in ("anat", "dwi", "asl") if name not in modalities}
    inventory = [
        inventory_row(name, "incomplete" if name in missing else "runs", missing.get(name, ""),
                      "scan it" if name in missing else "", subject, session)
        for name in ("anat", "dwi", "asl")
    ]  # fmt: skip
    return SimpleNamespace(files={**files, **tables}, inventory=inventory, derivative=derivative, **names)
