"""The ROI table of synthetic sessions."""

import json

import numpy as np
import pytest
from synthetic_tree import AFFINE, VALUES, Tree, brain, head_radius, write_session

from scan2map.errors import DataError
from scan2map.evaluation.inputs import roi_files
from scan2map.evaluation.long_table import COLUMNS, read_table
from scan2map.evaluation.roi_table import gather_rois, tabulate_rois
from scan2map.images import save_image
from scan2map.preprocess.registration import Transform, rigid_matrix, save_transform

SETTINGS = {"tissue_threshold": 0.8, "partial_volume": False}


def tabulate(tmp_path, derivative, modalities, *, atlases=(), subject="01"):
    out = tmp_path / f"{subject}_rois.tsv"
    files = roi_files(derivative, lambda modality: modality in modalities, atlases)
    tabulate_rois(files, out, subject=subject, session="1", settings=SETTINGS)
    return out


def test_tissue_values_come_back(tmp_path):
    modalities = ("anat", "dwi", "asl")
    derivative, _ = write_session(Tree(tmp_path), modalities=modalities)
    table = read_table(tabulate(tmp_path, derivative, modalities))
    assert tuple(table.columns) == COLUMNS
    assert set(table["metric"]) == {"FA", "MD", "AD", "RD", "CBF"}
    means = table[table["statistic"] == "mean"].set_index(["roi", "metric"])["value"]
    assert means["GM", "CBF"] == pytest.approx(VALUES["CBF"][1], rel=1e-4)
    assert means["WM", "CBF"] == pytest.approx(VALUES["CBF"][2], rel=1e-4)
    assert (table["coverage"] == 1).all()


def test_maps_of_several_delays_have_regional_values(tmp_path):
    modalities = ("anat", "asl", "multidelay")
    derivative, _ = write_session(Tree(tmp_path), modalities=modalities)
    table = read_table(tabulate(tmp_path, derivative, modalities)).query("statistic == 'mean'")
    means = table.set_index(["roi", "metric"])["value"]
    assert means["WM", "ATT"] == pytest.approx(VALUES["ATT"][2], rel=1e-4)
    assert means["GM", "CBF_multidelay"] == pytest.approx(0.9 * VALUES["CBF"][1], rel=1e-4)
    assert set(table.query("metric == 'ATT'")["unit"]) == {"s"}


def test_the_dictionary_names_every_column(tmp_path):
    derivative, _ = write_session(Tree(tmp_path), modalities=("anat", "asl"))
    out = tabulate(tmp_path, derivative, ("anat", "asl"))
    dictionary = json.loads(out.with_suffix(".json").read_text())
    assert set(COLUMNS) <= set(dictionary)
    assert dictionary["GeneratedBy"]["Step"] == "tabulate_rois"


@pytest.mark.parametrize("modalities", [("anat",), ("dwi", "asl"), ()])
def test_sessions_without_maps_or_tissues_give_an_empty_table(tmp_path, modalities):
    derivative, _ = Tree(tmp_path).session("01", "1")
    assert read_table(tabulate(tmp_path, derivative, modalities)).empty


def test_an_atlas_is_carried_through_the_registration(tmp_path):
    """The T1w world is the ASL world moved by 8 mm along z; the labels must follow."""
    derivative, _ = write_session(Tree(tmp_path), modalities=("anat", "asl"))
    upper = brain() & (AFFINE[2, 2] * np.arange(brain().shape[2]) + AFFINE[2, 3] > 0)
    labels = brain().astype(np.int16) + upper
    t1w_to_asl = rigid_matrix((0, 0, -8.0), (0, 0, 0))
    atlas_affine = AFFINE + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 8.0], [0, 0, 0, 0]])
    atlas = derivative("anat", "dseg", space="T1w", seg="halves")
    save_image(atlas, labels, atlas_affine, dtype=np.int16)
    save_transform(
        derivative("perf", "xfm", ".mat", **{"from": "asl", "to": "T1w", "mode": "image"}), Transform(t1w_to_asl)
    )
    with open(atlas.replace(".nii.gz", ".json"), "w") as handle:
        json.dump({"Labels": {"1": "lower", "2": "upper"}}, handle)
    table = read_table(tabulate(tmp_path, derivative, ("anat", "asl"), atlases=("halves",)))
    counts = table[table["statistic"] == "mean"].set_index("roi")["n_voxels"]
    assert counts["halves:upper"] == upper.sum()
    assert counts["halves:lower"] == (brain() & ~upper).sum()


def test_a_map_on_another_grid_than_its_mask_is_refused(tmp_path):
    derivative, _ = write_session(Tree(tmp_path), modalities=("anat", "asl"))
    save_image(derivative("perf", "cbf"), head_radius()[:-1], AFFINE)
    with pytest.raises(DataError, match="different grids"):
        tabulate(tmp_path, derivative, ("anat", "asl"))


def test_group_table_stacks_sessions_in_order(tmp_path):
    tables = []
    for subject in ("02", "01"):
        derivative, _ = write_session(Tree(tmp_path), subject, modalities=("anat", "asl"))
        tables.append(tabulate(tmp_path, derivative, ("anat", "asl"), subject=subject))
    out = tmp_path / "rois.tsv"
    gather_rois([*tables, tabulate(tmp_path, derivative, (), subject="03")], out)
    assert read_table(out)["subject"].unique().tolist() == ["01", "02"]
