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
    benchmark:
        "<benchmarks>/average_delays/sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=2,
    params:
        settings=config["asl"],
        step_version=step_version("average_delays"),
    script:
        "../../scripts/average_delays.py"


rule plot_asl_quantnet:
    """Draw the validation of the network: amplitude, noise, and maps beside the truth, with the numbers behind them."""
    input:
        tables=lambda wildcards: LEARNING.evaluations(
            "asl_quantnet", TARGETS.format(system="asl_quantnet")
        ),
        package=lambda wildcards: LEARNING.package("asl_quantnet"),
        test=lambda wildcards: LEARNING.dataset(
            "asl_quantnet", LEARNING.models["asl_quantnet"]["fold"], "test"
        ),
    output:
        linearity="<results>/figures/asl_quantnet/linearity.svg",
        noise="<results>/figures/asl_quantnet/noise.svg",
        maps="<results>/figures/asl_quantnet/maps.svg",
        others=expand(
            "<results>/figures/asl_quantnet/{figure}.{kind}",
            figure=["linearity", "noise", "maps"],
            kind=["png", "tsv"],
        ),
    log:
        "<logs>/plot_asl_quantnet/plot_asl_quantnet.log",
    benchmark:
        "<benchmarks>/plot_asl_quantnet/plot_asl_quantnet.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=5,
    params:
        settings=LEARNING.models["asl_quantnet"]["settings"],
        variant=LEARNING.own("asl_quantnet"),
        step_version=step_version("plot_asl_quantnet"),
    script:
        "../../scripts/plot_asl_quantnet.py"


rule validate_asl_quantnet_rail:
    """Hold network and least squares on the simulated sessions of this study against their targets."""
    input:
        tables=lambda wildcards: [
            rules.compare_prediction.output.table.format(
                system="asl_quantnet", subject=subject, session=session
            )
            for subject, session in sessions("asl")
            if predicts("asl_quantnet", subject, session)
        ],
        targets="workflow/report/targets/asl_quantnet_rail.yaml",
    output:
        table="<results>/validation/asl_quantnet_rail.tsv",
    log:
        "<logs>/validate_asl_quantnet_rail/validate_asl_quantnet_rail.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        settings=BOOTSTRAP,
        step_version=step_version("validate_asl_quantnet_rail"),
    script:
        "../../scripts/validate_asl_quantnet_rail.py"
