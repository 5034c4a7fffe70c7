"""Compare network and least squares on a simulated session with the truth."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.systems.asl_quantnet.rail import compare_rail

        truth = {"cbf": smk.input.cbf, "att": smk.input.att, "GM": smk.input.gm, "WM": smk.input.wm}
        compare_rail(
            smk.input.maps, truth, smk.output.table, subject=smk.wildcards.subject, session=smk.wildcards.session,
            threshold=smk.params.threshold,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
