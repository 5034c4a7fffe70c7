"""Validation: the study's figures against the project's targets."""


rule validate_rail:
    """Hold the figures of this study against the targets of the rail."""
    input:
        quality=expand(f"{EVALUATION}_quality.tsv", zip, **EVERYBODY),
        truth=expand(f"{EVALUATION}_truth.tsv", zip, **EVERYBODY) if HAS_TRUTH else [],
        scanner=lambda wildcards: [
            f"<results>/evaluation/sub-{subject}_ses-{session}_scanner.tsv"
            for subject, session in (sessions("dwi") if HAS_SCANNER_MAPS else [])
        ],
        targets="workflow/report/targets/rail.yaml",
    output:
        table=report(
            "<results>/validation/rail.tsv",
            caption="../report/captions/validation.rst",
            category="Validation",
            labels={"table": "rail"},
        ),
    log:
        "<logs>/validate_rail/validate_rail.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        kinds=["phantom" if HAS_TRUTH else "scan"],
        settings=BOOTSTRAP,
        step_version=step_version("validate_rail"),
    script:
        "../../scripts/validate_rail.py"


rule merge_validation:
    """Stack the validation tables of finished studies into the ones that the README shows."""
    input:
        sources=lambda wildcards: [
            path
            for path in config["validation"]["sources"]
            if Path(path).stem == wildcards.table
        ],
    output:
        table="docs/validation/{table}.tsv",
    log:
        "<logs>/merge_validation/{table}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=600,
        runtime=1,
    params:
        step_version=step_version("merge_validation"),
    script:
        "../../scripts/merge_validation.py"
