"""The digital phantom: simulated scanner sessions and their ground truth."""

from scan2map.phantom.truth_names import parameters_path, truth_paths

# Memory and time grow with the number of voxels of the head: 8 GiB and half an hour at 1 mm.
PHANTOM_VOXELS_PER_MM3 = 1 / config["phantom_subject"]["voxel_size_mm"] ** 3


rule simulate_session:
    """Scan a digital subject and write the session as DICOM, with its ground truth."""
    output:
        dicom=directory("<results>/phantom/dicom/sub-{subject}/ses-{session}"),
        truth=[
            f"{TRUTH}/{path}" for path in truth_paths(config["phantom"]["modalities"])
        ],
        parameters=f"{TRUTH}/{parameters_path()}",
    log:
        "<logs>/simulate_session/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/simulate_session/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=int(max(1500, 8000 * PHANTOM_VOXELS_PER_MM3)),
        runtime=int(max(10, 30 * PHANTOM_VOXELS_PER_MM3)),
    params:
        head=config["phantom_subject"],
        protocol=config["phantom"],
        seed=config["study"]["seed"],
        truth_root=lambda wildcards, output: str(Path(output.parameters).parents[2]),
        step_version=step_version("simulate_session"),
    script:
        "../../scripts/simulate_session.py"
