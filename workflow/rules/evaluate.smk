"""Evaluation: maps per tissue and region, quality figures, comparison with the truth and with the scanner's maps."""

from functools import partial

from scan2map.evaluation import inputs as evaluation_inputs

HAS_TRUTH = config["input"]["kind"] == "phantom"
HAS_SCANNER_MAPS = config["validation"]["scanner_maps"]
EVALUATION = "<results>/evaluation/sub-{subject}_ses-{session}"
EVERYBODY = {
    "subject": [subject for subject, _ in INTAKE.pairs],
    "session": [session for _, session in INTAKE.pairs],
}


rule tabulate_rois:
    """Summarise every map of a session over tissues and atlas regions."""
    input:
        unpack(
            lambda wildcards: evaluation_inputs.roi_files(
                derivative,
                partial(runs, wildcards),
                (
                    *ATLASES,
                    *native_paths.session_atlases(
                        NATIVE_ATLASES, wildcards.subject, wildcards.session
                    ),
                ),
            )
        ),
    output:
        table=f"{EVALUATION}_rois.tsv",
    log:
        "<logs>/tabulate_rois/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/tabulate_rois/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=5,
    params:
        settings={
            key: config["evaluation"][key]
            for key in ("tissue_threshold", "partial_volume")
        },
        step_version=step_version("tabulate_rois"),
    script:
        "../../scripts/tabulate_rois.py"


rule gather_rois:
    """Stack the regional values of all sessions."""
    input:
        tables=expand(f"{EVALUATION}_rois.tsv", zip, **EVERYBODY),
    output:
        table="<results>/evaluation/rois.tsv",
    log:
        "<logs>/gather_rois/gather_rois.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        step_version=step_version("gather_rois"),
    script:
        "../../scripts/gather_rois.py"


rule tabulate_quality:
    """Collect the quality figures of a session and compare its opposed b = 0 images."""
    input:
        unpack(
            lambda wildcards: evaluation_inputs.quality_files(
                derivative, partial(runs, wildcards)
            )
        ),
    output:
        table=f"{EVALUATION}_quality.tsv",
    log:
        "<logs>/tabulate_quality/sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        settings={"edge_voxels": config["evaluation"]["edge_voxels"]},
        step_version=step_version("tabulate_quality"),
    script:
        "../../scripts/tabulate_quality.py"


rule gather_quality:
    """Stack the quality rows of all scans of a modality, with their data dictionary."""
    input:
        tables=lambda wildcards: [
            evaluation_inputs.quality_table(derivative, wildcards.modality).format(
                subject=subject, session=session
            )
            for subject, session in evaluation_inputs.assessed_scans(
                wildcards.modality, sessions
            )
        ],
    output:
        table="<results>/evaluation/quality_{modality}.tsv",
    log:
        "<logs>/gather_quality/{modality}.log",
    wildcard_constraints:
        modality="dwi|asl",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        scans=lambda wildcards: evaluation_inputs.assessed_scans(
            wildcards.modality, sessions
        ),
        step_version=step_version("gather_quality"),
    script:
        "../../scripts/gather_quality.py"


rule compare_truth:
    """Compare the maps of a simulated session with its ground truth."""
    input:
        unpack(
            lambda wildcards: evaluation_inputs.truth_files(
                derivative, partial(derivative, root=TRUTH), partial(runs, wildcards)
            )
        ),
    output:
        table=f"{EVALUATION}_truth.tsv",
    log:
        "<logs>/compare_truth/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/compare_truth/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=10,
    params:
        settings={
            "tissue_threshold": config["evaluation"]["tissue_threshold"],
            "max_b_value_s_per_mm2": config["dwi"]["tensor"]["max_b_value_s_per_mm2"],
        },
        step_version=step_version("compare_truth"),
    script:
        "../../scripts/compare_truth.py"


rule compare_prediction:
    """Compare predicted maps of a session with conventional estimates and, where it is known, with the truth."""
    input:
        unpack(lambda wildcards: LEARNING.regions(wildcards.system, derivative)),
        unpack(
            lambda wildcards: (
                LEARNING.truth(wildcards.system, derivative, TRUTH)
                if HAS_TRUTH
                else {}
            )
        ),
        maps=PREDICTION,
    output:
        table=f"{EVALUATION}_model-{{system}}.tsv",
    log:
        "<logs>/compare_prediction/{system}_sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=1,
    params:
        threshold=config["evaluation"]["tissue_threshold"],
        step_version=step_version("compare_prediction"),
    script:
        "../../scripts/compare_prediction.py"


rule compare_scanner_maps:
    """Compare a plain tensor of the uncorrected series with the maps that the scanner exported."""
    input:
        dwi=bids_files("dwi"),
        record="<results>/ingest/sub-{subject}_ses-{session}.json",
        mask=derivative("dwi", "mask", desc="brain"),
    output:
        table=f"{EVALUATION}_scanner.tsv",
    log:
        "<logs>/compare_scanner_maps/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/compare_scanner_maps/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=10,
    params:
        source=lambda wildcards: str(INTAKE.folder(wildcards)),
        settings={"edge_voxels": config["evaluation"]["edge_voxels"]},
        step_version=step_version("compare_scanner_maps"),
    script:
        "../../scripts/compare_scanner_maps.py"
