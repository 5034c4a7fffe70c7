"""Train one member: a variant of a system, on a fold, from a seed."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.training.launch import train_member

        train_member(
            dict(smk.wildcards.items()),
            {"train": list(smk.input.train), "validation": list(smk.input.validation)},
            dict(smk.output.items()),
            model=smk.params.model,
            checkpoints=smk.params.checkpoints,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
