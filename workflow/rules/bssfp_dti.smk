"""What the system bssfp_dti needs beyond the rules that all systems share: its figures."""

# Trainings whose losses are shown, and packages whose maps are shown beside those of the system's own.
BSSFP_TRAININGS = [
    "autoencoder",
    "multi",
    "single",
    "single_cycle",
    "t1w",
]
BSSFP_MAPS = ["template", "t1w", "autoencoder"]


rule plot_bssfp_dti:
    """Draw maps beside the truth, errors by tissue and input, and losses, with the numbers behind them."""
    input:
        tables=lambda wildcards: LEARNING.evaluations(
            "bssfp_dti", TARGETS.format(system="bssfp_dti")
        ),
        histories=lambda wildcards: [
            history
            for variant in BSSFP_TRAININGS
            for history in LEARNING.members(
                "bssfp_dti",
                variant,
                LEARNING.models["bssfp_dti"]["fold"],
                "history.tsv",
            )
        ],
        package=lambda wildcards: LEARNING.package("bssfp_dti"),
        others=lambda wildcards: [
            LEARNING.package(
                "bssfp_dti", variant, LEARNING.models["bssfp_dti"]["fold"]
            )
            for variant in BSSFP_MAPS
        ],
        test=lambda wildcards: LEARNING.dataset(
            "bssfp_dti", LEARNING.models["bssfp_dti"]["fold"], "test"
        ),
    output:
        elements="<results>/figures/bssfp_dti/elements.svg",
        scalars="<results>/figures/bssfp_dti/scalars.svg",
        errors="<results>/figures/bssfp_dti/errors.svg",
        losses="<results>/figures/bssfp_dti/losses.svg",
        spread="<results>/figures/bssfp_dti/distributions.tsv",
        others=expand(
            "<results>/figures/bssfp_dti/{figure}.{kind}",
            figure=["elements", "scalars", "errors", "losses"],
            kind=["png", "tsv"],
        ),
    log:
        "<logs>/plot_bssfp_dti/plot_bssfp_dti.log",
    benchmark:
        "<benchmarks>/plot_bssfp_dti/plot_bssfp_dti.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=2500,
        runtime=10,
    params:
        shown=BSSFP_MAPS,
        step_version=step_version("plot_bssfp_dti"),
    script:
        "../../scripts/plot_bssfp_dti.py"
