"""Learned systems: data sets, training, packages, prediction for every session, validation. Nothing names a system."""

from scan2map.training.study import Learning

LEARNING = Learning(config["learning"])
DATASET = "<results>/datasets/{system}/sub-{subject}.safetensors"
RUN = "<results>/models/{system}/{variant}/fold-{fold}"
PREDICTION = "<results>/derivatives/{system}/sub-{subject}/ses-{session}"
TARGETS = "workflow/report/targets/{system}.yaml"
VARIANTS = "workflow/report/targets/{system}_variants.yaml"


wildcard_constraints:
    system="|".join(LEARNING.models) or "none",
    variant="[a-z0-9_]+",
    fold="[A-Za-z0-9]+",
    seed="[0-9]+",


rule build_dataset:
    """Write what a system learns from one subject of the split."""
    input:
        files=lambda wildcards: LEARNING.sources(
            wildcards.system,
            wildcards.subject,
            derivative,
            sessions_of(wildcards.subject, wildcards.system),
        ),
    output:
        data=DATASET,
    log:
        "<logs>/build_dataset/{system}_sub-{subject}.log",
    benchmark:
        "<benchmarks>/build_dataset/{system}_sub-{subject}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        sessions=lambda wildcards: sessions_of(wildcards.subject, wildcards.system),
        settings=lambda wildcards: LEARNING.data_settings(wildcards.system),
        step_version=lambda wildcards: step_version(f"build_{wildcards.system}"),
    script:
        "../../scripts/build_dataset.py"


rule train_model:
    """Train one member: a variant of a system, on a fold, from a seed; a killed job goes on where it was."""
    input:
        train=lambda wildcards: LEARNING.dataset(
            wildcards.system, wildcards.fold, "train"
        ),
        validation=lambda wildcards: LEARNING.dataset(
            wildcards.system, wildcards.fold, "validation"
        ),
    output:
        weights=f"{RUN}/seed-{{seed}}/weights.safetensors",
        summary=f"{RUN}/seed-{{seed}}/summary.json",
        history=f"{RUN}/seed-{{seed}}/history.tsv",
    log:
        "<logs>/train_model/{system}_{variant}_fold-{fold}_seed-{seed}.log",
    benchmark:
        "<benchmarks>/train_model/{system}_{variant}_fold-{fold}_seed-{seed}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: lambda wildcards: LEARNING.compute(wildcards.system)["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt
        * LEARNING.compute(wildcards.system)["mem_mb"],
        runtime=lambda wildcards, attempt: attempt
        * LEARNING.compute(wildcards.system)["runtime_min"],
        gpu=lambda wildcards: LEARNING.gpus(wildcards.system),
    params:
        model=lambda wildcards: LEARNING.training_settings(
            wildcards.system, wildcards.variant
        ),
        # Outside the outputs, which Snakemake deletes before it tries again.
        checkpoints=lambda wildcards, output: str(
            Path(output.weights).parents[5] / "checkpoints"
        ),
        step_version=lambda wildcards: step_version(f"train_{wildcards.system}"),
    script:
        "../../scripts/train_model.py"


rule package_model:
    """Put the members of an ensemble into one package."""
    input:
        weights=lambda wildcards: LEARNING.members(
            wildcards.system, wildcards.variant, wildcards.fold, "weights.safetensors"
        ),
        summaries=lambda wildcards: LEARNING.members(
            wildcards.system, wildcards.variant, wildcards.fold, "summary.json"
        ),
    output:
        package=directory(f"{RUN}/package"),
    log:
        "<logs>/package_model/{system}_{variant}_fold-{fold}.log",
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=1,
    params:
        parts=lambda wildcards: LEARNING.parts(wildcards.system, wildcards.fold),
        step_version=step_version("package_model"),
    script:
        "../../scripts/package_model.py"


rule predict_maps:
    """Predict the maps of a session with the package that the settings name."""
    input:
        unpack(
            lambda wildcards: {
                name: file.path(derivative, DERIVATIVES)
                for name, file in LEARNING.description(wildcards.system).inputs.items()
            }
        ),
        package=lambda wildcards: LEARNING.package(wildcards.system),
    output:
        maps=directory(PREDICTION),
    log:
        "<logs>/predict_maps/{system}_sub-{subject}_ses-{session}.log",
    benchmark:
        "<benchmarks>/predict_maps/{system}_sub-{subject}_ses-{session}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: lambda wildcards: LEARNING.compute(wildcards.system)["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt
        * LEARNING.compute(wildcards.system)["mem_mb"],
        runtime=lambda wildcards, attempt: attempt
        * LEARNING.prediction_minutes(wildcards.system),
        gpu=lambda wildcards: min(1, LEARNING.gpus(wildcards.system)),
    params:
        compute=lambda wildcards: LEARNING.compute(wildcards.system),
        # Outside the outputs: a system that fits the session goes on where it was.
        checkpoints=lambda wildcards, output: str(
            Path(output.maps).parents[3]
            / "checkpoints"
            / "predict"
            / wildcards.system
            / f"sub-{wildcards.subject}_ses-{wildcards.session}"
        ),
        step_version=lambda wildcards: step_version(f"predict_{wildcards.system}"),
    script:
        "../../scripts/predict_maps.py"


rule predict_all:
    """Predict for every session that has what the study's systems read, and show their cards."""
    input:
        maps=lambda wildcards: [
            PREDICTION.format(system=system, subject=subject, session=session)
            for subject, session in INTAKE.pairs
            for system in predicted(subject, session)
        ],
        cards=expand("<results>/report/model-{system}.html", system=LEARNING.systems),


rule evaluate_model:
    """Run a system's validation protocol on a package, on held-out subjects."""
    input:
        package=lambda wildcards: LEARNING.package(
            wildcards.system, wildcards.variant, wildcards.fold
        ),
        test=lambda wildcards: LEARNING.dataset(
            wildcards.system, wildcards.fold, "test"
        ),
    output:
        table=f"{RUN}/evaluation.tsv",
    log:
        "<logs>/evaluate_model/{system}_{variant}_fold-{fold}.log",
    benchmark:
        "<benchmarks>/evaluate_model/{system}_{variant}_fold-{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: lambda wildcards: LEARNING.compute(wildcards.system)["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt
        * LEARNING.compute(wildcards.system)["mem_mb"],
        runtime=lambda wildcards, attempt: attempt
        * LEARNING.compute(wildcards.system)["runtime_min"],
        gpu=lambda wildcards: min(1, LEARNING.gpus(wildcards.system)),
    params:
        settings=lambda wildcards: LEARNING.variant(
            wildcards.system, wildcards.variant
        )["settings"],
        compute=lambda wildcards: LEARNING.compute(wildcards.system),
        step_version=lambda wildcards: step_version(f"evaluate_{wildcards.system}"),
    script:
        "../../scripts/evaluate_model.py"


rule validate_model:
    """Hold a system's packages against its targets."""
    input:
        tables=lambda wildcards: LEARNING.evaluations(
            wildcards.system, TARGETS.format(system=wildcards.system)
        ),
        targets=TARGETS,
    output:
        table=report(
            "<results>/validation/{system}.tsv",
            caption="../report/captions/validation.rst",
            category="Validation",
            labels={"table": "{system}"},
        ),
    log:
        "<logs>/validate_model/{system}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        variant=lambda wildcards: LEARNING.own(wildcards.system),
        settings=BOOTSTRAP,
        step_version=step_version("validate_model"),
    script:
        "../../scripts/validate_model.py"


rule compare_variants:
    """Hold the variants of a system beside each other, by its list of figures."""
    input:
        tables=lambda wildcards: LEARNING.evaluations(
            wildcards.system, VARIANTS.format(system=wildcards.system)
        ),
        targets=VARIANTS,
    output:
        table=report(
            "<results>/validation/{system}_variants.tsv",
            caption="../report/captions/validation.rst",
            category="Validation",
            labels={"table": "{system}, variants"},
        ),
    log:
        "<logs>/compare_variants/{system}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        variant=lambda wildcards: LEARNING.own(wildcards.system),
        settings=BOOTSTRAP,
        step_version=step_version("compare_variants"),
    script:
        "../../scripts/compare_variants.py"


rule publish_package:
    """Copy a trained package together with its validation: the folder that ships in resources/models."""
    input:
        package=lambda wildcards: LEARNING.package(wildcards.system),
        metrics="<results>/validation/{system}.tsv",
    output:
        package=directory("<results>/published/{system}"),
    log:
        "<logs>/publish_package/{system}.log",
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        step_version=step_version("publish_package"),
    script:
        "../../scripts/publish_package.py"


rule write_model_page:
    """Write the card of the package that predicts in this study as a page."""
    input:
        package=lambda wildcards: LEARNING.package(wildcards.system),
    output:
        page=report(
            "<results>/report/model-{system}.html",
            caption="../report/captions/model.rst",
            category="Models",
            labels={"system": "{system}"},
        ),
    log:
        "<logs>/write_model_page/{system}.log",
    conda:
        "../../envs/imaging.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=1,
    params:
        step_version=step_version("write_model_page"),
    script:
        "../../scripts/write_model_page.py"
