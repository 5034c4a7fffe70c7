"""Validation of perfusion: experiments with known truth, and a real scan against the scanner's own images."""

HAS_SCANNER_PERFUSION = config["validation"]["scanner_perfusion"]


rule run_asl_registration:
    """Misplace the M0 image of a simulated subject and measure what its registration leaves of it."""
    output:
        table="<results>/validation/asl/sub-{subject}_ses-{session}_registration.tsv",
    log:
        "<logs>/run_asl_registration/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/run_asl_registration/sub-{subject}_ses-{session}.tsv"
    conda:
        environment(config["asl"]["registration"]["engine"])
    threads: 1
    resources:
        mem_mb=int(max(2500, 8000 * PHANTOM_VOXELS_PER_MM3)),
        runtime=20,
    params:
        head=config["phantom_subject"],
        protocol=config["phantom"],
        anatomy=config["anat"],
        engine={
            "engine": config["asl"]["registration"]["engine"],
            "fsl": config["fsl"]["registration"],
        },
        settings=config["validation"]["asl_registration"],
        seed=config["study"]["seed"],
        step_version=step_version("run_asl_registration"),
    script:
        "../../scripts/run_asl_registration.py"


rule run_asl_experiment:
    """Fit simulated difference signals of one subject and measure errors of perfusion and transit time."""
    output:
        table="<results>/validation/asl/sub-{subject}_ses-{session}_quantification.tsv",
    log:
        "<logs>/run_asl_experiment/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/run_asl_experiment/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=int(max(2500, 8000 * PHANTOM_VOXELS_PER_MM3)),
        runtime=10,
    params:
        head=config["phantom_subject"],
        protocol=config["phantom"]["asl"],
        settings=config["validation"]["asl_experiments"],
        seed=config["study"]["seed"],
        step_version=step_version("run_asl_experiment"),
    script:
        "../../scripts/run_asl_experiment.py"


rule compare_scanner_perfusion:
    """Compare the mean difference image with the perfusion-weighted image that the scanner exported."""
    input:
        deltam=derivative("perf", "deltam", desc="mean"),
        mask=derivative("perf", "mask", desc="brain"),
        record="<results>/ingest/sub-{subject}_ses-{session}.json",
    output:
        table=f"{EVALUATION}_perfusion.tsv",
    log:
        "<logs>/compare_scanner_perfusion/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/compare_scanner_perfusion/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=5,
    params:
        source=lambda wildcards: str(INTAKE.folder(wildcards)),
        settings={"edge_voxels": config["evaluation"]["edge_voxels"]},
        step_version=step_version("compare_scanner_perfusion"),
    script:
        "../../scripts/compare_scanner_perfusion.py"


rule validate_asl:
    """Hold the figures of perfusion against their targets."""
    input:
        experiments=(
            expand(rules.run_asl_registration.output.table, zip, **EVERYBODY)
            + expand(rules.run_asl_experiment.output.table, zip, **EVERYBODY)
            if HAS_TRUTH
            else []
        ),
        scans=lambda wildcards: [
            f"{EVALUATION}_{table}.tsv".format(subject=subject, session=session)
            for subject, session in ([] if HAS_TRUTH else sessions("asl"))
            for table in ["quality"] + ["perfusion"] * HAS_SCANNER_PERFUSION
        ],
        targets="workflow/report/targets/asl.yaml",
    output:
        table=report(
            "<results>/validation/asl.tsv",
            caption="../report/captions/validation.rst",
            category="Validation",
            labels={"table": "asl"},
        ),
    log:
        "<logs>/validate_asl/validate_asl.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        kinds=["phantom" if HAS_TRUTH else "scan"] + ["scanner"] * HAS_SCANNER_PERFUSION,
        settings={
            "confidence": config["validation"]["confidence"],
            "resamples": config["validation"]["resamples"],
            "seed": config["study"]["seed"],
        },
        step_version=step_version("validate_asl"),
    script:
        "../../scripts/validate_asl.py"
