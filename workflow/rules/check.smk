"""Readiness: what a run needs and does not find, what it would do, and which sessions no table knows yet."""


localrules:
    check,
    discover,


rule check:
    """Say whether all that the configuration asks for is there, and what will run, for whom and why."""
    log:
        "<logs>/check/check.log",
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=1,
    params:
        config=config,
        participants=SUBJECT_ROWS,
        derivatives=[
            f"{config['pathvars']['results']}/derivatives/{dataset}"
            for dataset in DATASETS
        ],
        snakefile=str(Path(workflow.basedir) / "Snakefile"),
        step_version=step_version("check"),
    script:
        "../../scripts/check.py"


rule discover:
    """Propose rows of the table of subjects for DICOM folders that it does not name yet."""
    log:
        "<logs>/discover/discover.log",
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        settings=config["input"],
        participants=SUBJECT_ROWS,
        proposal=f"{config['pathvars']['results']}/proposed_participants.tsv",
        step_version=step_version("discover"),
    script:
        "../../scripts/discover.py"
