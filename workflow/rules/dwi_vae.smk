"""Figures of the validation of dwi_vae; everything else it needs the shared rules do."""


rule plot_dwi_vae:
    """Draw errors over noise, maps beside the truth, latent space and calibration, with the numbers behind them."""
    input:
        tables=lambda wildcards: LEARNING.evaluations(
            "dwi_vae", TARGETS.format(system="dwi_vae")
        ),
        package=lambda wildcards: LEARNING.package("dwi_vae"),
        others=lambda wildcards: [
            LEARNING.package("dwi_vae", variant, LEARNING.models["dwi_vae"]["fold"])
            for variant in ("mlp", "unig", "gmm")
        ],
        test=lambda wildcards: LEARNING.dataset(
            "dwi_vae", LEARNING.models["dwi_vae"]["fold"], "test"
        ),
    output:
        noise="<results>/figures/dwi_vae/noise.svg",
        maps="<results>/figures/dwi_vae/maps.svg",
        latent="<results>/figures/dwi_vae/latent.svg",
        calibration="<results>/figures/dwi_vae/calibration.svg",
        others=expand(
            "<results>/figures/dwi_vae/{figure}.{kind}",
            figure=["noise", "maps", "latent", "calibration"],
            kind=["png", "tsv"],
        ),
    log:
        "<logs>/plot_dwi_vae/plot_dwi_vae.log",
    benchmark:
        "<benchmarks>/plot_dwi_vae/plot_dwi_vae.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=10,
    params:
        variant=LEARNING.own("dwi_vae"),
        step_version=step_version("plot_dwi_vae"),
    script:
        "../../scripts/plot_dwi_vae.py"
