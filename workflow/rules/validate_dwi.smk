"""Validation of diffusion preprocessing: experiments with known truth; a real scan against FSL and the scanner."""

from scan2map.evaluation import dwi_inputs

FSL_FILES = dwi_inputs.fsl_files(config["validation"]["fsl_reference"])


rule run_dwi_experiment:
    """Disturb a simulated diffusion scan in one way and measure what the correction leaves of it."""
    output:
        table="<results>/validation/dwi/sub-{subject}_ses-{session}_{condition}.tsv",
    log:
        "<logs>/run_dwi_experiment/sub-{subject}_ses-{session}_{condition}.log",
    benchmark:
        "<benchmarks>/run_dwi_experiment/sub-{subject}_ses-{session}_{condition}.tsv"
    wildcard_constraints:
        condition="|".join(dwi_inputs.CONDITIONS),
    conda:
        environment(
            config["dwi"]["engine"],
            config["dwi"]["mask"]["method"],
            config["fieldmap"]["engine"],
        )
    threads: 1
    resources:
        mem_mb=int(max(2500, 8000 * PHANTOM_VOXELS_PER_MM3)),
        runtime=int(max(20, 60 * PHANTOM_VOXELS_PER_MM3)),
    params:
        head=config["phantom_subject"],
        protocol=config["phantom"],
        steps={block: config[block] for block in ("dwi", "fieldmap", "fsl")},
        settings=config["validation"]["dwi_experiments"]
        | {"tissue_threshold": config["evaluation"]["tissue_threshold"]},
        seed=config["study"]["seed"],
        device=config["study"]["device"],
        step_version=step_version("run_dwi_experiment"),
    script:
        "../../scripts/run_dwi_experiment.py"


rule compare_corrected_maps:
    """Compare the corrected tensor maps with the maps that the scanner exported."""
    input:
        fa=derivative("dwi", "dwimap", model="DTI", param="FA"),
        md=derivative("dwi", "dwimap", model="DTI", param="MD"),
        mask=derivative("dwi", "mask", desc="brain"),
        record="<results>/ingest/sub-{subject}_ses-{session}.json",
    output:
        table=f"{EVALUATION}_corrected.tsv",
    log:
        "<logs>/compare_corrected_maps/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/compare_corrected_maps/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=10,
    params:
        source=lambda wildcards: str(INTAKE.folder(wildcards)),
        settings={"edge_voxels": config["evaluation"]["edge_voxels"]},
        step_version=step_version("compare_corrected_maps"),
    script:
        "../../scripts/compare_corrected_maps.py"


rule compare_fsl:
    """Compare field, tensor maps, corrected b = 0 images and time with those of FSL on the same scan."""
    input:
        **FSL_FILES,
        **dwi_inputs.compared_files(derivative),
    output:
        table=f"{EVALUATION}_fsl.tsv",
    log:
        "<logs>/compare_fsl/sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=1,
    params:
        # Not inputs: Snakemake writes benchmark files beside the outputs that are.
        benchmarks=lambda wildcards: dwi_inputs.timed_files(
            config["pathvars"]["benchmarks"], wildcards.subject, wildcards.session
        ),
        settings={
            "edge_voxels": config["evaluation"]["edge_voxels"],
            "fsl_time_s": config["validation"]["fsl_time_s"],
        },
        step_version=step_version("compare_fsl"),
    script:
        "../../scripts/compare_fsl.py"


rule validate_dwi:
    """Hold the figures of diffusion preprocessing against their targets."""
    input:
        experiments=(
            expand(
                expand(
                    rules.run_dwi_experiment.output.table,
                    zip,
                    allow_missing=True,
                    **EVERYBODY,
                ),
                condition=dwi_inputs.CONDITIONS,
            )
            if HAS_TRUTH
            else []
        ),
        scans=lambda wildcards: [
            f"{EVALUATION}_{table}.tsv".format(subject=subject, session=session)
            for subject, session in ([] if HAS_TRUTH else sessions("dwi"))
            for table in ["quality"]
            + ["scanner", "corrected"] * HAS_SCANNER_MAPS
            + ["fsl"] * bool(FSL_FILES)
        ],
        targets="workflow/report/targets/dwi.yaml",
    output:
        table=report(
            "<results>/validation/dwi.tsv",
            caption="../report/captions/validation.rst",
            category="Validation",
            labels={"table": "dwi"},
        ),
    log:
        "<logs>/validate_dwi/validate_dwi.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        kinds=["phantom" if HAS_TRUTH else "scan"]
        + ["scanner"] * HAS_SCANNER_MAPS
        + ["fsl"] * bool(FSL_FILES),
        settings={
            "confidence": config["validation"]["confidence"],
            "resamples": config["validation"]["resamples"],
            "seed": config["study"]["seed"],
        },
        step_version=step_version("validate_dwi"),
    script:
        "../../scripts/validate_dwi.py"
