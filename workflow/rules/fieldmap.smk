"""Susceptibility distortion: one field map per session from b = 0 images with opposed phase encoding."""


rule estimate_field:
    """Estimate the off-resonance field from b = 0 images with opposed phase encoding."""
    input:
        epi=derivative("fmap", "epi", desc="merged"),
        acquisition=derivative("fmap", "acquisition", ".tsv", desc="merged"),
    output:
        fieldmap=derivative("fmap", "fieldmap", desc="pepolar"),
        uncorrected=derivative("fmap", "epi", desc="uncorrected"),
        corrected=derivative("fmap", "epi", desc="corrected"),
        motion=derivative("fmap", "motion", ".tsv", desc="pepolar"),
        metrics=derivative("fmap", "metrics", ".tsv", desc="pepolar"),
    log:
        "<logs>/estimate_field/sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/estimate_field/sub-{subject}_ses-{session}.tsv"
    conda:
        environment(config["fieldmap"]["engine"])
    threads: 1
    resources:
        mem_mb=2500,
        runtime=20,
    params:
        settings={block: config[block] for block in ("fieldmap", "fsl")},
        device=config["study"]["device"],
        step_version=step_version("estimate_field"),
    script:
        "../../scripts/estimate_field.py"
