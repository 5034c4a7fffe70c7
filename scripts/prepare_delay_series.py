"""Check the metadata of a series with several delays and sort its volumes."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.asl.series import prepare_asl_files

        prepare_asl_files(
            list(smk.input.asl),
            list(smk.input.m0),
            smk.params.settings,
            series=smk.output.series,
            m0scan=smk.output.m0scan,
            labelling=smk.output.labelling,
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
