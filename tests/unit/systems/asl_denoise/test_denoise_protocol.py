"""The protocol: references that share pairs are refused, figures against values worked out by hand, filters."""

import numpy as np
import pytest
import torch

from scan2map.errors import DataError
from scan2map.evaluation.model_table import DICTIONARY, model_table
from scan2map.phantom.slices.perfusion import seeded
from scan2map.systems.asl_denoise import baselines, detail, protocol
from scan2map.systems.asl_denoise.evaluate import with_summaries
from scan2map.systems.asl_denoise.reference import Average, require_independent
from scan2map.training.split import read_split, subjects


def test_a_reference_that_shares_pairs_with_its_input_is_refused(denoise_scene):
    _, average, others = next(denoise_scene.averages([0.4]))
    everything = Average(average.image, average.pairs | others.pairs)
    estimates = {"averaging": average.image}
    with pytest.raises(DataError, match="shares control-label pairs"):
        list(protocol.score(denoise_scene, estimates, average, everything, "all pairs"))
    assert list(protocol.score(denoise_scene, estimates, average, others, "other pairs"))
    require_independent(average.pairs, Average(denoise_scene.slices.clean()))


def test_shared_pairs_flatter_the_average(denoise_scene):
    """Why they are refused: against all pairs the plain average looks better than against the truth."""
    _, average, others = next(denoise_scene.averages([0.8]))
    count = len(average.pairs), len(others.pairs)
    everything = (average.image * count[0] + others.image * count[1]) / sum(count)
    inside = denoise_scene.regions()["brain"]
    against_all, against_truth = (
        (average.image - reference)[inside].std() for reference in (everything, denoise_scene.slices.clean())
    )
    assert against_all < 0.7 * against_truth


def test_averages_hold_the_pairs_that_they_name(denoise_scene):
    for share, average, others in denoise_scene.averages([0.2, 0.6]):
        assert len(average.pairs) == round(share * denoise_scene.pairs)
        assert average.pairs.isdisjoint(others.pairs)
        error = (average.image - denoise_scene.slices.clean())[denoise_scene.regions()["brain"]]
        assert float(error.std()) == pytest.approx(denoise_scene.sigma(len(average.pairs)), rel=0.15)


def test_mean_perfusion_is_the_published_one(denoise_scene):
    cbf, _ = denoise_scene.slices.truth()
    regions = denoise_scene.regions()
    assert float(cbf[regions["GM"]].mean()) == pytest.approx(65.0, rel=0.1)
    assert float(cbf[regions["WM"]].mean()) == pytest.approx(20.0, rel=0.1)


def test_psnr_by_hand():
    truth = np.array([0.0, 2.0])
    assert protocol.psnr(truth + np.array([0.2, -0.2]), truth) == pytest.approx(20.0)


def test_perfect_estimate_has_no_error(denoise_scene):
    truth = denoise_scene.slices.clean()
    found = {
        (roi, metric): value
        for roi, metric, value, *_ in protocol.figures(denoise_scene, truth + 1e-4, truth)
    }  # fmt: skip
    assert found["brain", "psnr"] > 60
    assert found["brain", "cbf_ccc"] == pytest.approx(1.0, abs=1e-3)
    assert abs(found["GM", "cbf_bias"]) < 0.05


def test_filters_lower_noise_and_keep_a_constant(denoise_scene):
    mask = denoise_scene.slices.mask
    flat = 0.7 * mask
    noisy = flat + 0.2 * torch.randn(flat.shape, generator=seeded(4)) * mask
    for name, found in baselines.classical_filters(noisy, mask, 0.2).items():
        assert (found - flat)[mask > 0].std() < 0.7 * (noisy - flat)[mask > 0].std(), name
        assert torch.equal(found * mask, found)
    assert torch.allclose(baselines.gaussian(flat, mask, 1.0), flat, atol=1e-5)


def test_total_variation_solves_a_step_exactly():
    """Two flat halves of width n move towards each other by weight / n (the closed form for a single jump)."""
    step = torch.zeros(1, 1, 16, 16)
    step[..., 8:] = 1
    found = baselines.total_variation(step, torch.ones_like(step), 1.0, strength=0.4)
    assert found[0, 0, 8, 4] == pytest.approx(0.05, abs=0.005)
    assert found[0, 0, 8, 12] == pytest.approx(0.95, abs=0.005)


def test_lesions_and_edges_of_a_perfect_linear_method(denoise_scorer, denoise_scene):
    with torch.inference_mode():
        rows = model_table(
            [*detail.lesions(denoise_scorer, denoise_scene), *detail.edges(denoise_scorer, denoise_scene)]
        )
    plain = rows[rows["method"] == "averaging"]
    recovery = plain[plain["metric"] == "contrast_recovery"]["value"]
    assert recovery.to_numpy() == pytest.approx(np.ones(len(recovery)), abs=0.02)
    smoothed = rows[(rows["method"] == "gaussian10") & (rows["condition"] == "synthetic 4 mm")]["value"]
    assert (smoothed < 0.7).all()
    widths = rows[rows["metric"] == "cbf_edge_width"].set_index(["condition", "method"])["value"]
    for edge in ("synthetic edge", "synthetic hidden edge"):
        assert widths[edge, "gaussian10"] > 1.5 * widths[edge, "truth"]


def test_whole_protocol_gives_the_tables_columns_and_summaries(denoise_scorer, denoise_scene):
    with torch.inference_mode():
        rows = [
            *protocol.shares(denoise_scorer, denoise_scene),
            *protocol.mismatches(denoise_scorer, denoise_scene),
        ]
    table = with_summaries(model_table(rows))
    assert list(table.columns) == list(DICTIONARY)
    assert table["value"].notna().all()
    of = table[table["metric"] == "psnr"].set_index(["condition", "method"])["value"]
    shares = [of[f"synthetic share={share}", "averaging"] for share in (20, 40, 60, 80)]
    assert shares == sorted(shares)
    assert of["synthetic", "averaging"] == pytest.approx(np.mean(shares))
    assert of["synthetic", "single"] == pytest.approx(of["synthetic", "seed-1"])
    filters = [of["synthetic share=20", name] for name in ("gaussian06", "gaussian10", "nlm", "tv")]
    assert of["synthetic share=20", "classical"] == max(filters)
    assert not table.duplicated(["condition", "method", "roi", "metric"]).any()


def test_folds_leave_each_of_five_subjects_out_once():
    rows = read_split("config/split.tsv")
    folds = [f"loso{number}" for number in range(1, 6)]
    tested = [subjects(rows, "phantom", fold, "test") for fold in folds]
    assert sorted(label for labels in tested for label in labels) == ["L01", "L02", "L03", "L04", "L05"]
    for fold, labels in zip(folds, tested, strict=True):
        assert len(labels) == 1
        assert len({*subjects(rows, "phantom", fold, "train"), *labels}) == 5


def test_a_protocol_without_detail_has_no_filters(denoise_scorer, denoise_scene):
    brief = denoise_scorer.settings | {"evaluation": denoise_scorer.settings["evaluation"] | {"detail": False}}
    with torch.inference_mode():
        rows = protocol.shares(denoise_scorer._replace(settings=brief), denoise_scene)
        table = with_summaries(model_table(rows))
    assert set(table["method"]) == {"averaging", "network", "single", "seed-1", "seed-2"}
