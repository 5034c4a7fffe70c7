rule check:
    log:
        "<logs>/check/check.log",
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    """Say whether every program, device and input folder that the configuration asks for is there."""
    params:
        config=config,
        participants=SUBJECT_ROWS,
        step_version=step_version("check"),
    script:
        "../../scripts/check.py"
