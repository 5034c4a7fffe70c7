"""Diffusion MRI: merge, mask, correct, fit the tensor, align with the T1w image, judge the quality."""

# What FSL's programs give beyond the files of both engines, where the settings ask for it.
FSL_EXTRAS = config["fsl"] if config["dwi"]["engine"] == "fsl" else None
EDDY_QUAD = (
    {
        "report": derivative("dwi", "qc", ".pdf", desc="eddyquad"),
        "report_figures": derivative("dwi", "qc", ".json", desc="eddyquad"),
    }
    if FSL_EXTRAS and FSL_EXTRAS["eddy"]["quality_report"]
    else {}
)
KURTOSIS = (
    {"MK": derivative("dwi", "dwimap", model="DKI", param="MK")}
    if FSL_EXTRAS and FSL_EXTRAS["dtifit"]["kurtosis"]
    else {}
)


rule prepare_dwi:
    """Check and merge the diffusion runs of a session, and collect its b = 0 volumes."""
    input:
        dwi=bids_files("dwi"),
        epi=bids_files("epi"),
    output:
        dwi=derivative("dwi", "dwi", desc="merged"),
        bval=derivative("dwi", "dwi", ".bval", desc="merged"),
        bvec=derivative("dwi", "dwi", ".bvec", desc="merged"),
        acquisition=derivative("dwi", "acquisition", ".tsv", desc="merged"),
        epi=derivative("fmap", "epi", desc="merged"),
        epi_acquisition=derivative("fmap", "acquisition", ".tsv", desc="merged"),
    log:
        "<logs>/prepare_dwi/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/prepare_dwi/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=config["dwi"],
        step_version=step_version("prepare_dwi"),
    script:
        "../../scripts/prepare_dwi.py"


rule mask_dwi:
    """Find the brain in the corrected b = 0 image."""
    input:
        epi=derivative("fmap", "epi", desc="corrected"),
    output:
        mask=derivative("dwi", "mask", desc="brain"),
    log:
        "<logs>/mask_dwi/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/mask_dwi/sub-{subject}_ses-{session}.tsv"
    conda:
        environment(config["dwi"]["mask"]["method"])
    threads: 1
    resources:
        mem_mb=2500,
        runtime=10,
    params:
        settings={block: config[block] for block in ("dwi", "fsl")},
        step_version=step_version("mask_dwi"),
    script:
        "../../scripts/mask_dwi.py"


rule correct_motion:
    """Undo susceptibility distortion, head motion and eddy currents in one interpolation."""
    input:
        dwi=rules.prepare_dwi.output.dwi,
        bval=rules.prepare_dwi.output.bval,
        bvec=rules.prepare_dwi.output.bvec,
        acquisition=rules.prepare_dwi.output.acquisition,
        fieldmap=derivative("fmap", "fieldmap", desc="pepolar"),
        mask=rules.mask_dwi.output.mask,
        runs=bids_files("dwi"),
    output:
        **EDDY_QUAD,
        dwi=derivative("dwi", "dwi", desc="preproc"),
        bval=derivative("dwi", "dwi", ".bval", desc="preproc"),
        bvec=derivative("dwi", "dwi", ".bvec", desc="preproc"),
        motion=derivative("dwi", "timeseries", ".tsv", desc="motion"),
        outliers=derivative("dwi", "slices", ".tsv", desc="outliers"),
    log:
        "<logs>/correct_motion/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/correct_motion/sub-{subject}_ses-{session}.tsv"
    conda:
        environment(config["dwi"]["engine"])
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings={block: config[block] for block in ("dwi", "fsl")},
        device=config["study"]["device"],
        seed=config["study"]["seed"],
        step_version=step_version("correct_motion"),
    script:
        "../../scripts/correct_motion.py"


rule fit_tensor:
    """Fit the diffusion tensor by weighted least squares and check its maps."""
    input:
        dwi=rules.correct_motion.output.dwi,
        bval=rules.correct_motion.output.bval,
        bvec=rules.correct_motion.output.bvec,
        mask=rules.mask_dwi.output.mask,
    output:
        **KURTOSIS,
        FA=derivative("dwi", "dwimap", model="DTI", param="FA"),
        MD=derivative("dwi", "dwimap", model="DTI", param="MD"),
        AD=derivative("dwi", "dwimap", model="DTI", param="AD"),
        RD=derivative("dwi", "dwimap", model="DTI", param="RD"),
        S0=derivative("dwi", "dwimap", model="DTI", param="S0"),
        tensor=derivative("dwi", "dwimap", model="DTI", param="tensor"),
        direction=derivative("dwi", "dwimap", model="DTI", param="direction"),
    log:
        "<logs>/fit_tensor/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/fit_tensor/sub-{subject}_ses-{session}.tsv"
    conda:
        environment(config["dwi"]["engine"])
    threads: 1
    resources:
        mem_mb=3000,
        runtime=10,
    params:
        settings={block: config[block] for block in ("dwi", "fsl")},
        device=config["study"]["device"],
        step_version=step_version("fit_tensor"),
    script:
        "../../scripts/fit_tensor.py"


rule align_dwi:
    """Register the diffusion scan to the T1w image and bring the tissue maps into its grid."""
    input:
        dwi=rules.correct_motion.output.dwi,
        bval=rules.correct_motion.output.bval,
        bvec=rules.correct_motion.output.bvec,
        mask=rules.mask_dwi.output.mask,
        t1w=derivative("anat", "T1w", desc="preproc"),
        t1w_mask=derivative("anat", "mask", desc="brain"),
        CSF=derivative("anat", "probseg", label="CSF"),
        GM=derivative("anat", "probseg", label="GM"),
        WM=derivative("anat", "probseg", label="WM"),
    output:
        transform=derivative("dwi", "xfm", ".mat", from_="dwi", to="T1w", mode="image"),
        CSF=derivative("dwi", "probseg", space="dwi", label="CSF"),
        GM=derivative("dwi", "probseg", space="dwi", label="GM"),
        WM=derivative("dwi", "probseg", space="dwi", label="WM"),
    log:
        "<logs>/align_dwi/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/align_dwi/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=15,
    params:
        settings=config["dwi"],
        seed=config["study"]["seed"],
        step_version=step_version("align_dwi"),
    script:
        "../../scripts/align_dwi.py"


rule resample_tensor:
    """Bring the tensor maps into the space of the T1w image, turned with the head."""
    input:
        tensor=rules.fit_tensor.output.tensor,
        mask=rules.mask_dwi.output.mask,
        transform=rules.align_dwi.output.transform,
        t1w=derivative("anat", "T1w", desc="preproc"),
    output:
        FA=derivative("dwi", "dwimap", space="T1w", model="DTI", param="FA"),
        MD=derivative("dwi", "dwimap", space="T1w", model="DTI", param="MD"),
        AD=derivative("dwi", "dwimap", space="T1w", model="DTI", param="AD"),
        RD=derivative("dwi", "dwimap", space="T1w", model="DTI", param="RD"),
        tensor=derivative("dwi", "dwimap", space="T1w", model="DTI", param="tensor"),
        direction=derivative(
            "dwi", "dwimap", space="T1w", model="DTI", param="direction"
        ),
    log:
        "<logs>/resample_tensor/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/resample_tensor/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=10,
    params:
        settings=config["dwi"],
        step_version=step_version("resample_tensor"),
    script:
        "../../scripts/resample_tensor.py"


rule assess_dwi:
    """Judge the quality of the diffusion scan in one row of numbers."""
    input:
        merged_dwi=rules.prepare_dwi.output.dwi,
        merged_bval=rules.prepare_dwi.output.bval,
        merged_bvec=rules.prepare_dwi.output.bvec,
        dwi=rules.correct_motion.output.dwi,
        bval=rules.correct_motion.output.bval,
        bvec=rules.correct_motion.output.bvec,
        motion=rules.correct_motion.output.motion,
        outliers=rules.correct_motion.output.outliers,
        mask=rules.mask_dwi.output.mask,
        tensor=rules.fit_tensor.output.tensor,
        S0=rules.fit_tensor.output.S0,
        FA=rules.fit_tensor.output.FA,
        transform=lambda wildcards: (
            rules.align_dwi.output.transform if runs(wildcards, "anat") else []
        ),
        t1w_mask=lambda wildcards: (
            derivative("anat", "mask", desc="brain") if runs(wildcards, "anat") else []
        ),
    output:
        metrics=derivative("dwi", "metrics", ".tsv", desc="qc"),
    log:
        "<logs>/assess_dwi/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/assess_dwi/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=5,
    params:
        settings=config["dwi"],
        step_version=step_version("assess_dwi"),
    script:
        "../../scripts/assess_dwi.py"
