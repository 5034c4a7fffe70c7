"""The descriptions that make the result folders BIDS derivative data sets."""


rule describe_derivatives:
    """Write the description of a derivative data set."""
    output:
        description="<results>/derivatives/{dataset}/dataset_description.json",
    log:
        "<logs>/describe_derivatives/{dataset}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=600,
        runtime=1,
    params:
        step_version=step_version("describe_derivatives"),
    script:
        "../../scripts/describe_derivatives.py"
