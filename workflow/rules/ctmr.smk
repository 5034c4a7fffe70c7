"""CT and clinical MRI (FLAIR or ADC) of the head on one grid, with masks of brain, bone and lesion."""


rule align_ct:
    """Check the CT's numbers and geometry, and bring it, the brain and the tissue maps onto the grid of the MRI."""
    input:
        ct=bids_files("ct"),
        mri=bids_files(config["ctmr"]["contrast"]),
        t1w=derivative("anat", "T1w", desc="preproc"),
        t1w_mask=derivative("anat", "mask", desc="brain"),
        csf=derivative("anat", "probseg", label="CSF"),
        gm=derivative("anat", "probseg", label="GM"),
        wm=derivative("anat", "probseg", label="WM"),
    output:
        ct=derivative("ctmr", "ct", desc="preproc"),
        transform=derivative("ctmr", "xfm", ".mat", from_="ct", to="mri", mode="image"),
        brain=derivative("ctmr", "mask", desc="brain"),
        csf=derivative("ctmr", "probseg", space="mri", label="CSF"),
        gm=derivative("ctmr", "probseg", space="mri", label="GM"),
        wm=derivative("ctmr", "probseg", space="mri", label="WM"),
    log:
        "<logs>/align_ct/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/align_ct/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=10,
    params:
        settings=config["ctmr"],
        seed=config["study"]["seed"],
        step_version=step_version("align_ct"),
    script:
        "../../scripts/align_ct.py"


rule prepare_fusion:
    """Find bone in the CT and put the MRI's intensities on one scale."""
    input:
        ct=rules.align_ct.output.ct,
        brain=rules.align_ct.output.brain,
        mri=bids_files(config["ctmr"]["contrast"]),
    output:
        mri=derivative("ctmr", "mri", desc="normalised"),
        bone=derivative("ctmr", "mask", desc="bone"),
    log:
        "<logs>/prepare_fusion/sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=1,
    params:
        settings=config["ctmr"],
        step_version=step_version("prepare_fusion"),
    script:
        "../../scripts/prepare_fusion.py"


rule map_lesion:
    """Bring the expert's lesion mask onto the grid of the MRI."""
    input:
        lesion=bids_files("lesion_mask"),
        grid=rules.prepare_fusion.output.mri,
    output:
        lesion=derivative("ctmr", "mask", label="lesion", desc="expert"),
    log:
        "<logs>/map_lesion/sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        step_version=step_version("map_lesion"),
    script:
        "../../scripts/map_lesion.py"
