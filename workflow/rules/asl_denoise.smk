"""Table and figures of the paper that the system asl_denoise follows, on held-out simulated subjects."""


rule tabulate_denoising:
    """Write the paper's table 1 with our numbers beside the published ones, and its picture."""
    input:
        tables=lambda wildcards: LEARNING.evaluations(
            "asl_denoise", TARGETS.format(system="asl_denoise")
        ),
        published="resources/published/ulas2018_table1.tsv",
    output:
        table="<results>/figures/asl_denoise/table1.tsv",
        picture="<results>/figures/asl_denoise/table1.svg",
        pixels="<results>/figures/asl_denoise/table1.png",
    log:
        "<logs>/tabulate_denoising/tabulate_denoising.log",
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        settings=BOOTSTRAP,
        variant=LEARNING.own("asl_denoise"),
        step_version=step_version("tabulate_denoising"),
    script:
        "../../scripts/tabulate_denoising.py"


rule plot_denoised:
    """Draw the paper's figures 2 to 4: denoised slices, and Bland and Altman's comparison in grey matter."""
    input:
        dilated=lambda wildcards: LEARNING.package(
            "asl_denoise", "dilated", LEARNING.models["asl_denoise"]["fold"]
        ),
        deepasl=lambda wildcards: LEARNING.package(
            "asl_denoise", "lambda05", LEARNING.models["asl_denoise"]["fold"]
        ),
        package=lambda wildcards: LEARNING.package("asl_denoise"),
        test=lambda wildcards: LEARNING.dataset(
            "asl_denoise", LEARNING.models["asl_denoise"]["fold"], "test"
        ),
    output:
        synthetic="<results>/figures/asl_denoise/figure2.svg",
        real="<results>/figures/asl_denoise/figure3.svg",
        agreement="<results>/figures/asl_denoise/figure4.svg",
        others=expand(
            "<results>/figures/asl_denoise/{figure}.{kind}",
            figure=["figure2", "figure3", "figure4"],
            kind=["png", "tsv"],
        ),
    log:
        "<logs>/plot_denoised/plot_denoised.log",
    benchmark:
        "<benchmarks>/plot_denoised/plot_denoised.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=5,
    params:
        settings=LEARNING.models["asl_denoise"]["settings"],
        step_version=step_version("plot_denoised"),
    script:
        "../../scripts/plot_denoised.py"
