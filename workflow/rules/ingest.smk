"""Ingest: every session from DICOM to BIDS, then the inventory that says who runs, and the validator's verdict."""

from scan2map.bids.intake import Intake

INTAKE = Intake(config["input"], SUBJECT_ROWS)
FROM_PHANTOM = config["input"]["kind"] == "phantom"


rule convert_session:
    """Convert one session's DICOM series to BIDS, count what came out and take the patient out."""
    input:
        dicom=(
            rules.simulate_session.output.dicom
            if FROM_PHANTOM
            else INTAKE.existing_folder
        ),
        bidsmap=config["input"]["bidsmap"],
    output:
        record="<results>/ingest/sub-{subject}_ses-{session}.json",
    log:
        "<logs>/convert_session/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/convert_session/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        source=lambda wildcards, input: (
            input.dicom if FROM_PHANTOM else str(INTAKE.folder(wildcards))
        ),
        bids=lambda wildcards, output: str(Path(output.record).parents[1] / "bids"),
        remove_metadata=config["input"]["remove_metadata"],
        step_version=step_version("convert_session"),
    script:
        "../../scripts/convert_session.py"


checkpoint build_inventory:
    """Say which sessions run, which do not, and why."""
    input:
        records=[
            f"<results>/ingest/sub-{subject}_ses-{session}.json"
            for subject, session in INTAKE.converted()
        ],
        tables=INTAKE.tables(),
    output:
        inventory="<results>/inventory.tsv",
        series="<results>/series.tsv",
        files="<results>/files.tsv",
        index=directory("<results>/ingest/bids_index"),
    log:
        "<logs>/build_inventory/build_inventory.log",
    benchmark:
        "<benchmarks>/build_inventory/build_inventory.tsv"
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        pairs=INTAKE.pairs,
        settings=config["input"],
        asl={
            key: config["asl"][key]
            for key in ("slice_timing", "suppression_pulses", "without_m0")
        },
        title=config["study"]["title"],
        bids=lambda wildcards, output: config["input"]["bids_dir"]
        or str(Path(output.files).parent / "bids"),
        step_version=step_version("build_inventory"),
    script:
        "../../scripts/build_inventory.py"


rule validate_bids:
    """List what the BIDS validator has to say about the data set."""
    input:
        inventory="<results>/inventory.tsv",
    output:
        table="<results>/bids_validation.tsv",
    log:
        "<logs>/validate_bids/validate_bids.log",
    benchmark:
        "<benchmarks>/validate_bids/validate_bids.tsv"
    conda:
        "../../envs/ingest.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        bids=lambda wildcards, input: config["input"]["bids_dir"]
        or str(Path(input.inventory).parent / "bids"),
        step_version=step_version("validate_bids"),
    script:
        "../../scripts/validate_bids.py"
