"""Figures of the validation of ctmr_fusion; everything else it needs the shared rules do."""


rule plot_fusion:
    """Draw fused images by lesion size, scores over sampling steps, and calibration, with the numbers behind them."""
    input:
        tables=lambda wildcards: LEARNING.evaluations(
            "ctmr_fusion", TARGETS.format(system="ctmr_fusion")
        ),
        package=lambda wildcards: LEARNING.package("ctmr_fusion"),
        one_pass=lambda wildcards: LEARNING.package(
            "ctmr_fusion", "one_pass", LEARNING.models["ctmr_fusion"]["fold"]
        ),
        test=lambda wildcards: LEARNING.dataset(
            "ctmr_fusion", LEARNING.models["ctmr_fusion"]["fold"], "test"
        ),
    output:
        images="<results>/figures/ctmr_fusion/images.svg",
        steps="<results>/figures/ctmr_fusion/steps.svg",
        calibration="<results>/figures/ctmr_fusion/calibration.svg",
        others=expand(
            "<results>/figures/ctmr_fusion/{figure}.{kind}",
            figure=["images", "steps", "calibration"],
            kind=["png", "tsv"],
        ),
    log:
        "<logs>/plot_fusion/plot_fusion.log",
    benchmark:
        "<benchmarks>/plot_fusion/plot_fusion.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=15,
    params:
        variant=LEARNING.own("ctmr_fusion"),
        settings=LEARNING.models["ctmr_fusion"]["settings"],
        step_version=step_version("plot_fusion"),
    script:
        "../../scripts/plot_fusion.py"
