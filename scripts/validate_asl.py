"""Hold the figures of perfusion against their targets."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.evaluation.rail import validate_rail

        validate_rail(
            [*smk.input.experiments, *smk.input.scans],
            smk.output.table,
            targets=smk.input.targets,
            kinds=smk.params.kinds,
            settings=smk.params.settings,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
