"""The page of outputs: one row per kind of file, with unit, meaning and step from its sidecar."""

from synthetic_tree import Tree, write_session

from scan2map.outputs import kind_of, outputs_page
from scan2map.provenance import write_sidecar
from scan2map.reporting.crate import find_results


def test_names_lose_what_differs_between_subjects():
    path = "derivatives/scan2map/sub-07/ses-2/anat/sub-07_ses-2_label-GM_probseg.nii.gz"
    assert kind_of(path) == "derivatives/scan2map/sub-X/ses-Y/anat/sub-X_ses-Y_label-<tissue>_probseg.nii.gz"
    assert kind_of("sub-1_ses-1_space-T1w_seg-lobes_dseg.nii.gz") == "sub-X_ses-Y_space-T1w_seg-<atlas>_dseg.nii.gz"


def test_every_kind_has_one_row_whatever_the_number_of_subjects(tmp_path):
    for subject in ("01", "02"):
        write_session(Tree(tmp_path / "derivatives"), subject, modalities=("anat", "asl"))
    table = tmp_path / "evaluation" / "rois.tsv"
    table.parent.mkdir()
    table.write_text("value\n1\n")
    columns = {"value": {"Description": "The | value", "Units": "ms"}, "n": {"Description": "Voxels"}}
    write_sidecar(table, step="gather_rois", description="All regions.", **columns)
    page = outputs_page(find_results(tmp_path))
    lines = page.splitlines()
    assert "## `derivatives/scan2map/sub-X/ses-Y/perf/`" in lines
    assert len([line for line in lines if line.startswith("| `cbf.nii.gz` | ml/100g/min |")]) == 2  # measured and true
    assert "| `rois.tsv` |  | All regions. Columns: `n`, `value` (ms) | `gather_rois` |" in lines
