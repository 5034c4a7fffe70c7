"""Arterial spin labelling: sort, correct for motion, register to the T1w image, quantify perfusion."""

from scan2map.preprocess.asl import delay_outputs

DELAY_ROLES = delay_outputs.roles(config["asl"]["multidelay"]["series"])
MULTIDELAY_MAPS = delay_outputs.map_files(
    derivative, config["asl"]["multidelay"]["arterial_component"]
)


rule prepare_asl:
    """Check the ASL metadata of a session and sort its volumes."""
    input:
        asl=bids_files("asl"),
        m0=bids_files("m0"),
    output:
        series=derivative("perf", "asl", desc="raw"),
        m0scan=derivative("perf", "m0scan", desc="raw"),
        labelling=derivative("perf", "labelling", ".json"),
    log:
        "<logs>/prepare_asl/sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=1,
    params:
        settings=config["asl"],
        step_version=step_version("prepare_asl"),
    script:
        "../../scripts/prepare_asl.py"


rule correct_asl_motion:
    """Correct the ASL series for head motion and bring its M0 image onto it."""
    input:
        series=derivative("perf", "asl", desc="raw"),
        m0scan=derivative("perf", "m0scan", desc="raw"),
        labelling=derivative("perf", "labelling", ".json"),
    output:
        preproc=derivative("perf", "asl", desc="preproc"),
        m0=derivative("perf", "m0scan", desc="aligned"),
        motion=derivative("perf", "timeseries", ".tsv", desc="motion"),
    log:
        "<logs>/correct_asl_motion/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/correct_asl_motion/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        seed=config["study"]["seed"],
        step_version=step_version("correct_asl_motion"),
    script:
        "../../scripts/correct_asl_motion.py"


rule register_m0:
    """Register the M0 image to the T1w image and bring brain and tissue maps onto the ASL grid."""
    input:
        m0=derivative("perf", "m0scan", desc="aligned"),
        t1w=derivative("anat", "T1w", desc="preproc"),
        t1w_mask=derivative("anat", "mask", desc="brain"),
        csf=derivative("anat", "probseg", label="CSF"),
        gm=derivative("anat", "probseg", label="GM"),
        wm=derivative("anat", "probseg", label="WM"),
    output:
        transform=derivative("perf", "xfm", ".mat", from_="asl", to="T1w", mode="image"),
        mask=derivative("perf", "mask", desc="brain"),
        csf=derivative("perf", "probseg", space="asl", label="CSF"),
        gm=derivative("perf", "probseg", space="asl", label="GM"),
        wm=derivative("perf", "probseg", space="asl", label="WM"),
    log:
        "<logs>/register_m0/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/register_m0/sub-{subject}_ses-{session}.tsv"
    conda:
        environment(config["asl"]["registration"]["engine"])
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        seed=config["study"]["seed"],
        settings={
            "engine": config["asl"]["registration"]["engine"],
            "fsl": config["fsl"]["registration"],
        },
        step_version=step_version("register_m0"),
    script:
        "../../scripts/register_m0.py"


rule quantify_cbf:
    """Quantify perfusion by the consensus formula."""
    input:
        series=derivative("perf", "asl", desc="preproc"),
        m0=derivative("perf", "m0scan", desc="aligned"),
        mask=derivative("perf", "mask", desc="brain"),
        labelling=derivative("perf", "labelling", ".json"),
        transform=derivative("perf", "xfm", ".mat", from_="asl", to="T1w", mode="image"),
        t1w=derivative("anat", "T1w", desc="preproc"),
        csf=derivative("perf", "probseg", space="asl", label="CSF"),
        gm=derivative("perf", "probseg", space="asl", label="GM"),
        wm=derivative("perf", "probseg", space="asl", label="WM"),
    output:
        cbf=derivative("perf", "cbf"),
        cbf_t1w=derivative("perf", "cbf", space="T1w"),
        deltam=derivative("perf", "deltam", desc="mean"),
        calibrated=derivative("perf", "m0scan", desc="calibrated"),
        pairs=derivative("perf", "pairs", ".tsv", desc="outliers"),
    log:
        "<logs>/quantify_cbf/sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=1,
    params:
        settings=config["asl"],
        step_version=step_version("quantify_cbf"),
    script:
        "../../scripts/quantify_cbf.py"


rule assess_cbf:
    """Judge the quality of a perfusion map."""
    input:
        cbf=derivative("perf", "cbf"),
        series=derivative("perf", "asl", desc="preproc"),
        labelling=derivative("perf", "labelling", ".json"),
        pairs=derivative("perf", "pairs", ".tsv", desc="outliers"),
        mask=derivative("perf", "mask", desc="brain"),
        csf=derivative("perf", "probseg", space="asl", label="CSF"),
        gm=derivative("perf", "probseg", space="asl", label="GM"),
        wm=derivative("perf", "probseg", space="asl", label="WM"),
        motion=derivative("perf", "timeseries", ".tsv", desc="motion"),
        transform=derivative("perf", "xfm", ".mat", from_="asl", to="T1w", mode="image"),
        template=derivative("anat", "xfm", from_="MNI152", to="T1w", mode="image"),
    output:
        metrics=derivative("perf", "metrics", ".tsv", desc="qc"),
    log:
        "<logs>/assess_cbf/sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=1,
    params:
        corrected=config["asl"]["partial_volume"]["method"] != "none",
        step_version=step_version("assess_cbf"),
    script:
        "../../scripts/assess_cbf.py"


rule prepare_delay_series:
    """Check the metadata of a series with several delays and sort its volumes."""
    input:
        asl=lambda wildcards: bids_files(DELAY_ROLES[wildcards.acquisition])(wildcards),
        m0=bids_files("m0"),
    output:
        series=derivative("perf", "asl", acq="{acquisition}", desc="raw"),
        m0scan=derivative("perf", "m0scan", acq="{acquisition}", desc="raw"),
        labelling=derivative(
            "perf", "labelling", ".json", acq="{acquisition}", desc="raw"
        ),
    log:
        "<logs>/prepare_delay_series/sub-{subject}_ses-{session}_{acquisition}.log",
    wildcard_constraints:
        acquisition="|".join(DELAY_ROLES),
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=1,
    params:
        settings=config["asl"],
        step_version=step_version("prepare_delay_series"),
    script:
        "../../scripts/prepare_delay_series.py"


rule align_delay_series:
    """Correct a series with several delays for head motion and bring it onto the grid of the single-delay scan."""
    input:
        series=derivative("perf", "asl", acq="{acquisition}", desc="raw"),
        labelling=derivative(
            "perf", "labelling", ".json", acq="{acquisition}", desc="raw"
        ),
        m0=derivative("perf", "m0scan", desc="aligned"),
        mask=derivative("perf", "mask", desc="brain"),
    output:
        preproc=derivative("perf", "asl", acq="{acquisition}", desc="preproc"),
        offsets=derivative("perf", "timing", acq="{acquisition}", desc="slice"),
        timing=derivative("perf", "labelling", ".json", acq="{acquisition}"),
        motion=derivative(
            "perf", "timeseries", ".tsv", acq="{acquisition}", desc="motion"
        ),
    log:
        "<logs>/align_delay_series/sub-{subject}_ses-{session}_{acquisition}.log",
    benchmark:
        "<benchmarks>/align_delay_series/sub-{subject}_ses-{session}_{acquisition}.tsv"
    wildcard_constraints:
        acquisition="|".join(DELAY_ROLES),
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        seed=config["study"]["seed"],
        step_version=step_version("align_delay_series"),
    script:
        "../../scripts/align_delay_series.py"


rule quantify_multidelay:
    """Fit perfusion and arterial transit time jointly to all series with several delays."""
    input:
        series=delay_files("asl", desc="preproc"),
        labellings=delay_files("labelling", ".json"),
        offsets=delay_files("timing", desc="slice"),
        m0=derivative("perf", "m0scan", desc="aligned"),
        timing=derivative("perf", "labelling", ".json"),
        mask=derivative("perf", "mask", desc="brain"),
        transform=derivative("perf", "xfm", ".mat", from_="asl", to="T1w", mode="image"),
        t1w=derivative("anat", "T1w", desc="preproc"),
        csf=derivative("perf", "probseg", space="asl", label="CSF"),
        gm=derivative("perf", "probseg", space="asl", label="GM"),
        wm=derivative("perf", "probseg", space="asl", label="WM"),
    output:
        **MULTIDELAY_MAPS,
        cbf_t1w=derivative("perf", "cbf", acq="multidelay", space="T1w"),
        att_t1w=derivative("perf", "att", acq="multidelay", space="T1w"),
        pairs=derivative("perf", "pairs", ".tsv", acq="multidelay", desc="outliers"),
    log:
        "<logs>/quantify_multidelay/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/quantify_multidelay/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=10,
    params:
        maps=list(MULTIDELAY_MAPS),
        settings=config["asl"],
        device=config["study"]["device"],
        step_version=step_version("quantify_multidelay"),
    script:
        "../../scripts/quantify_multidelay.py"
