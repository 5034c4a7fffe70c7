rule check:
    """Say whether every program, device and input folder that the configuration asks for is there."""
    params:
        config=config,
        participants=SUBJECT_ROWS,
        step_version=step_version("check"),
    log:
        "<logs>/check/check.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    conda:
        "../../envs/ingest.yaml"
    script:
        "../../scripts/check.py"
