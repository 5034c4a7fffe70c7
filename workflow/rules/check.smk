"""Readiness: what a run needs and does not find, before its first job."""


rule check:
    """Say whether every program, device and input folder that the configuration asks for is there."""
    log:
        "<logs>/check/check.log",
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        config=config,
        participants=SUBJECT_ROWS,
        step_version=step_version("check"),
    script:
        "../../scripts/check.py"
