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


rule describe_run:
    """Describe the results of the study, and the steps that made them, as an RO-Crate."""
    input:
        page="<results>/report/index.html",
        quality=expand(
            "<results>/evaluation/quality_{modality}.tsv", modality=["dwi", "asl"]
        ),
        delays=lambda wildcards: expand(
            rules.quantify_multidelay.output.cbf, zip, **multidelay_sessions()
        ),
    output:
        crate="<results>/ro-crate-metadata.json",
    log:
        "<logs>/describe_run/describe_run.log",
    benchmark:
        "<benchmarks>/describe_run/describe_run.tsv"
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        root=lambda wildcards, output: str(Path(output.crate).parent),
        title=config["study"]["title"],
        step_version=step_version("describe_run"),
    script:
        "../../scripts/describe_run.py"
