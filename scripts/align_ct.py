"""Check the CT's numbers and geometry, and bring it, the brain and the tissue maps onto the grid of the MRI."""

from scan2map.logs import rule_log


def main(smk):
    with rule_log(smk):
        from scan2map.preprocess.ctmr.steps import align_ct

        align_ct(
            smk.input.ct, smk.input.mri, smk.input.t1w, smk.input.t1w_mask,
            {"CSF": smk.input.csf, "GM": smk.input.gm, "WM": smk.input.wm}, smk.params.settings, smk.params.seed,
            output=smk.output,
        )  # fmt: skip


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
