"""Which files each evaluation reads, for the modalities that a session runs. Light to import: the rules use it."""

from __future__ import annotations

from collections.abc import Callable

from scan2map.evaluation.maps import MAPS, TENSOR_UNITS, TISSUES

# The b = 0 images before and after susceptibility correction.
STAGES = ("uncorrected", "corrected")
# Modalities whose quality row needs the T1w image.
NEED_T1W = ("asl",)


def space_files(
    derivative: Callable[..., str], datatype: str, space: str, atlases: tuple[str, ...] = ()
) -> dict[str, str]:
    """Mask and tissue maps of one grid, keyed ``<space>_<what>``; for atlases also the transform to the T1w image."""
    files = {f"{space}_mask": derivative(datatype, "mask", desc="brain")}
    for tissue in TISSUES:
        files[f"{space}_{tissue}"] = derivative(datatype, "probseg", space=space, label=tissue)
    if atlases:
        transform = {"from": space, "to": "T1w", "mode": "image"}
        files[f"{space}_to_T1w"] = derivative(datatype, "xfm", ".mat", **transform)
    return files


def roi_files(
    derivative: Callable[..., str], runs: Callable[[str], bool], atlases: tuple[str, ...] = ()
) -> dict[str, str]:
    """Every file that the ROI table of a session reads.

    Args:
        derivative: the workflow's function from entities to a path.
        runs: whether the session runs a modality.
        atlases: atlas labels, on the T1w grid.
    """
    maps = [quantity for quantity in MAPS if runs(quantity.modality) and runs("anat")]
    files = {f"map_{quantity.metric}": quantity.path(derivative) for quantity in maps}
    for space, datatype in sorted({(quantity.space, quantity.datatype) for quantity in maps}):
        files |= space_files(derivative, datatype, space, atlases)
    for atlas in atlases if maps else ():
        files[f"atlas_{atlas}"] = derivative("anat", "dseg", space="T1w", seg=atlas)
    return files


def quality_table(derivative: Callable[..., str], modality: str) -> str:
    """Path of the one-row quality table of a scan."""
    return derivative({"dwi": "dwi", "asl": "perf"}[modality], "metrics", ".tsv", desc="qc")


def is_assessed(modality: str, runs: Callable[[str], bool]) -> bool:
    """Whether a session has a quality row of a modality."""
    return runs(modality) and (modality not in NEED_T1W or runs("anat"))


def assessed_scans(modality: str, sessions: Callable[[str], list]) -> list[tuple[str, str]]:
    """The (subject, session) pairs that have a quality row of a modality.

    Args:
        modality: ``dwi`` or ``asl``.
        sessions: the workflow's function from a modality to the pairs that run it.
    """
    with_t1w = sessions("anat")
    return [pair for pair in sessions(modality) if modality not in NEED_T1W or pair in with_t1w]


def quality_files(derivative: Callable[..., str], runs: Callable[[str], bool]) -> dict[str, str]:
    """Every file that the quality table of a session reads, for the modalities that it runs."""
    modalities = [modality for modality in ("dwi", "asl") if is_assessed(modality, runs)]
    files = {f"qc_{modality}": quality_table(derivative, modality) for modality in modalities}
    if runs("dwi"):
        files |= {stage: derivative("fmap", "epi", desc=stage) for stage in STAGES}
        files["dwi_mask"] = derivative("dwi", "mask", desc="brain")
    return files


def truth_files(
    derivative: Callable[..., str], truth: Callable[..., str], runs: Callable[[str], bool]
) -> dict[str, str]:
    """Every file that the comparison reads, for the modalities that the session runs.

    Args:
        derivative: the workflow's function from entities to the path of a derivative.
        truth: the same for the ground truth.
        runs: whether the session runs a modality.
    """
    makers = {
        ("anat",): _anatomy_files,
        ("dwi",): _diffusion_files,
        ("anat", "asl"): _perfusion_files,
        ("anat", "multidelay"): _multidelay_files,
    }
    files = {}
    for needs, make in makers.items():
        files |= make(derivative, truth) if all(map(runs, needs)) else {}
    return files


def _tissue_files(truth, datatype: str) -> dict[str, str]:
    files = {f"true_{datatype}_{tissue}": truth(datatype, "probseg", label=tissue) for tissue in TISSUES}
    return files | {f"true_{datatype}_mask": truth(datatype, "mask", desc="brain")}


def _anatomy_files(derivative, truth) -> dict[str, str]:
    files = {f"anat_{tissue}": derivative("anat", "probseg", label=tissue) for tissue in TISSUES}
    return files | {"anat_mask": derivative("anat", "mask", desc="brain")} | _tissue_files(truth, "anat")


def _diffusion_files(derivative, truth) -> dict[str, str]:
    def tensor(root, param):
        return root("dwi", "dwimap", model="DTI", param=param)

    files = {f"dwi_{name}": tensor(derivative, name) for name in (*TENSOR_UNITS, "direction")}
    files |= {f"true_{name}": tensor(truth, name) for name in (*TENSOR_UNITS, "tensor")}
    files |= {f"merged_{kind}": derivative("dwi", "dwi", f".{kind}", desc="merged") for kind in ("bval", "bvec")}
    return (
        files
        | _tissue_files(truth, "dwi")
        | {
            "merged": derivative("dwi", "dwi", desc="merged"),
            "acquisition": derivative("dwi", "acquisition", ".tsv", desc="merged"),
            "dwi_mask": derivative("dwi", "mask", desc="brain"),
            "field": derivative("fmap", "fieldmap", desc="pepolar"),
            "true_field": truth("fmap", "fieldmap", desc="truth"),
        }
    )


def _perfusion_files(derivative, truth) -> dict[str, str]:
    files = {"CBF": derivative("perf", "cbf"), "true_CBF": truth("perf", "cbf")}
    return files | {"perf_mask": derivative("perf", "mask", desc="brain")} | _tissue_files(truth, "perf")


def _multidelay_files(derivative, truth) -> dict[str, str]:
    maps = {quantity.metric: quantity.path(derivative) for quantity in MAPS if quantity.modality == "multidelay"}
    return maps | {"true_ATT": truth("perf", "att")}
