"""Names of the ground-truth files: light, so that rules can import it."""

from __future__ import annotations

from scan2map.bids.names import bids_path

LABELS = {"csf": "CSF", "gm": "GM", "wm": "WM", "lesion": "lesion"}
SCALARS = {"DTI": ("tensor", "FA", "MD", "AD", "RD"), "cumulant": ("FA", "MD")}


def _tissue_names(datatype: str, labels) -> list[tuple[str, str, str, dict]]:
    maps = [(datatype, "probseg", ".nii.gz", {"label": LABELS[name]}) for name in labels]
    return [*maps, (datatype, "mask", ".nii.gz", {"desc": "brain"})]


def _names(modality: str) -> list[tuple[str, str, str, dict]]:
    brain = ("csf", "gm", "wm")
    if modality == "anat":
        return _tissue_names("anat", (*brain, "lesion"))
    if modality == "dwi":
        maps = [
            ("dwi", "dwimap", ".nii.gz", {"model": model, "param": parameter})
            for model, parameters in SCALARS.items()
            for parameter in parameters
        ]
        fieldmap = ("fmap", "fieldmap", ".nii.gz", {"desc": "truth"})
        motion = ("dwi", "timeseries", ".tsv", {"desc": "motion"})
        return [*_tissue_names("dwi", brain), *maps, fieldmap, motion]
    if modality == "asl":
        return [*_tissue_names("perf", brain), ("perf", "cbf", ".nii.gz", {}), ("perf", "att", ".nii.gz", {})]
    return []


def truth_paths(modalities, subject: str = "{subject}", session: str = "{session}") -> list[str]:
    """Paths, relative to the data set, of every truth file of a session; labels may be wildcards.

    Args:
        modalities: what is scanned (``phantom.modalities``).
        subject: label.
        session: label.
    """
    names = [name for modality in modalities for name in _names(modality)]
    return [bids_path(folder, suffix, extension, sub=subject, ses=session, **entities)
            for folder, suffix, extension, entities in names]  # fmt: skip


def parameters_path(subject: str = "{subject}", session: str = "{session}") -> str:
    """Path, relative to the data set, of the record of what was disturbed and how."""
    return f"sub-{subject}/ses-{session}/sub-{subject}_ses-{session}_desc-acquisition_parameters.json"
