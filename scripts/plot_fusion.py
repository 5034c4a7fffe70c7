"""Draw fused images by lesion size, scores over sampling steps, and calibration."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.systems.ctmr_fusion.figures import plot_fusion

        plot_fusion(
            smk.input.tables, {"own": smk.input.package, "one_pass": smk.input.one_pass}, smk.input.test,
            own=smk.params.variant, settings=smk.params.settings,
            outputs={name: smk.output[name] for name in ("images", "steps", "calibration")},
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
