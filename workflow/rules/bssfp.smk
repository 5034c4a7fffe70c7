"""Phase-cycled bSSFP: complex images, and the same on the grid of the diffusion scan."""


rule prepare_bssfp:
    """Take the scanner's phase conventions and Gibbs ringing out of the phase-cycled series."""
    input:
        magnitude=bids_files("bssfp_mag"),
        phase=bids_files("bssfp_phase"),
    output:
        magnitude=derivative("anat", "bSSFP", acq="pc12", part="mag", desc="preproc"),
        phase=derivative("anat", "bSSFP", acq="pc12", part="phase", desc="preproc"),
    log:
        "<logs>/prepare_bssfp/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/prepare_bssfp/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=90,
    params:
        settings=config["bssfp"],
        step_version=step_version("prepare_bssfp"),
    script:
        "../../scripts/prepare_bssfp.py"


rule align_bssfp:
    """Bring the phase-cycled series and the T1w image onto the diffusion grid."""
    input:
        magnitude=rules.prepare_bssfp.output.magnitude,
        phase=rules.prepare_bssfp.output.phase,
        t1w=derivative("anat", "T1w", desc="preproc"),
        t1w_mask=derivative("anat", "mask", desc="brain"),
        dwi_mask=derivative("dwi", "mask", desc="brain"),
        dwi_to_t1w=derivative("dwi", "xfm", ".mat", from_="dwi", to="T1w", mode="image"),
    output:
        transform=derivative(
            "anat", "xfm", ".mat", from_="bSSFP", to="T1w", mode="image"
        ),
        magnitude=derivative(
            "dwi", "bSSFP", acq="pc12", part="mag", space="dwi", desc="preproc"
        ),
        phase=derivative(
            "dwi", "bSSFP", acq="pc12", part="phase", space="dwi", desc="preproc"
        ),
        t1w=derivative("dwi", "T1w", space="dwi", desc="preproc"),
    log:
        "<logs>/align_bssfp/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/align_bssfp/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        seed=config["study"]["seed"],
        step_version=step_version("align_bssfp"),
    script:
        "../../scripts/align_bssfp.py"
