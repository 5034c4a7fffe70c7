"""What the network asl_quantnet needs beyond multi-delay preprocessing: one difference image per delay."""


rule average_delays:
    """Average the difference images of each delay, relative to M0, with how they were labelled."""
    input:
        series=delay_files("asl", desc="preproc"),
        labellings=delay_files("labelling", ".json"),
        offsets=delay_files("timing", desc="slice"),
        m0=derivative("perf", "m0scan", desc="aligned"),
        timing=derivative("perf", "labelling", ".json"),
        mask=derivative("perf", "mask", desc="brain"),
        csf=derivative("perf", "probseg", space="asl", label="CSF"),
        gm=derivative("perf", "probseg", space="asl", label="GM"),
        wm=derivative("perf", "probseg", space="asl", label="WM"),
    output:
        difference=derivative("perf", "deltam", acq="multidelay", desc="mean"),
        design=derivative("perf", "labelling", ".json", acq="multidelay", desc="mean"),
        delay_offsets=derivative("perf", "timing", acq="multidelay", desc="slice"),
    log:
        "<logs>/average_delays/sub-{subject}_ses-{session}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=2,
    params:
        settings=config["asl"],
        step_version=step_version("average_delays"),
    script:
        "../../scripts/average_delays.py"
