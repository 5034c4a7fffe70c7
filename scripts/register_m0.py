"""Register the M0 image to the T1w image and bring brain and tissue maps onto the ASL grid."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.asl.coregister import register_m0_files

        register_m0_files(
            smk.input.m0,
            smk.input.t1w,
            smk.input.t1w_mask,
            {"CSF": smk.input.csf, "GM": smk.input.gm, "WM": smk.input.wm},
            smk.params.seed,
            smk.params.settings,
            transform=smk.output.transform,
            mask=smk.output.mask,
            fractions={"CSF": smk.output.csf, "GM": smk.output.gm, "WM": smk.output.wm},
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
