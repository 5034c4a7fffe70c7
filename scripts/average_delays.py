"""Average the difference images of each delay."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.systems.asl_quantnet.session import average_delays_files

        average_delays_files(
            smk.input.series, smk.input.labellings, smk.input.offsets, smk.input.m0, smk.input.timing, smk.input.mask,
            {"CSF": smk.input.csf, "GM": smk.input.gm, "WM": smk.input.wm}, smk.params.settings,
            difference=smk.output.difference, design=smk.output.design, delay_offsets=smk.output.delay_offsets,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
