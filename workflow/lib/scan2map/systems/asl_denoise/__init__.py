"""Denoised perfusion-weighted images from few control-label pairs by a network with the kinetic model in its loss."""

from scan2map.training.files import PredictedMap, RailFile
from scan2map.training.system import Description

_CBF = {"unit": "mL/100g/min", "label": "CBF (ml/100g/min)", "colour_map": "magma", "display": (0.0, 100.0)}

MAPS = (
    PredictedMap(
        "cbf", "perf", "cbf", description="Perfusion from the denoised difference image, consensus formula.",
        entities={"desc": "denoised"}, name_shown="Denoised", truth=RailFile("perf", "cbf", root="truth"), **_CBF,
    ),
    PredictedMap(
        "cbf_averaged", "perf", "cbf", description="Perfusion from the plain average of the same pairs.",
        entities={"desc": "averaged"}, name_shown="Average", role="baseline", of="cbf", **_CBF,
    ),
    PredictedMap(
        "cbf_smoothed", "perf", "cbf", description="Perfusion from the average smoothed by a Gaussian of one voxel.",
        entities={"desc": "smoothed"}, name_shown="Smoothed", role="baseline", of="cbf", **_CBF,
    ),
    PredictedMap(
        "residual", "perf", "cbf", description="What the network took away from the average, counted as perfusion.",
        entities={"desc": "residual"}, role="residual", of="cbf",
        unit="mL/100g/min", label="removed CBF (ml/100g/min)", colour_map="RdBu_r", display=(-40.0, 40.0),
    ),
)  # fmt: skip

LIMITS = (
    "Trained on simulated scans alone (digital heads, one-compartment kinetic model, thermal and physiological noise): "
    "not validated in vivo.",
    "PCASL or CASL with one delay; several delays, pulsed and velocity-selective labelling are refused.",
    "It removes noise that is independent from voxel to voxel or smooth over a few; motion, ghosts and failed "
    "labelling stay, or turn into smooth perfusion that was not measured. Look at the residual.",
    "It looks at M0 and at the tissue maps of the T1w image: where these are wrong (registration that failed, a lesion "
    "taken for another tissue), perfusion may follow them. Look at the outlines of the tissues on the M0 image.",
    "Small lesions lose contrast where the average is noisy: the validation table gives the contrast recovery of 4 to "
    "8 mm and the width of an edge.",
    "The perfusion of a delay shorter than the transit time is too low before and after denoising. Not for diagnosis.",
)


class AslDenoise:
    """See :class:`scan2map.training.system.System`."""

    description = Description(
        title="Denoised perfusion (DeepASL)",
        cohort="phantom",
        modalities=("asl",),
        roles=("asl",),
        inputs={
            "difference": RailFile("perf", "deltam", entities={"desc": "mean"}),
            "m0": RailFile("perf", "m0scan", entities={"desc": "calibrated"}),
            "labelling": RailFile("perf", "labelling", ".json"),
            "mask": RailFile("perf", "mask", entities={"desc": "brain"}),
            "grey": RailFile("perf", "probseg", entities={"space": "asl", "label": "GM"}),
            "white": RailFile("perf", "probseg", entities={"space": "asl", "label": "WM"}),
        },
        maps=MAPS,
        intended_use="Research: perfusion maps from few PCASL pairs, where the plain average is too noisy to be read.",
        limits=LIMITS,
    )

    def build_dataset(self, subject, sources, settings, output):
        """Tissue of one digital head."""
        from scan2map.phantom.slices.tissue import head_fractions
        from scan2map.training.dataset import save_subject

        fractions = head_fractions(subject, settings["voxel_size_mm"], settings["seed"])
        save_subject(output, {"fractions": fractions}, voxel_size_mm=settings["voxel_size_mm"])

    def normalisation(self, train, settings):
        """None: signals are counted in the unit that the consensus formula gives them (``labelling``)."""
        return {}

    def training_set(self, train, settings, seed):
        """Slices of tissue at random places; perfusion and noise are simulated in the training step."""
        from scan2map.phantom.slices.tissue import TissueSlices, load_heads
        from scan2map.training.stream import Samples

        return Samples(TissueSlices(load_heads(train), settings["simulation"]), seed)

    def validation_set(self, validation, settings, seed):
        """Fixed slices of the validation heads."""
        from scan2map.systems.asl_denoise.training import VALIDATION_SLICES
        from scan2map.training.stream import First

        return First(self.training_set(validation, settings, seed), VALIDATION_SLICES)

    def network(self, settings, normalisation):
        """The network of the settings' design."""
        from scan2map.systems.asl_denoise.networks import build_network

        return build_network(settings)

    def module(self, settings, normalisation, training):
        """Its training."""
        from scan2map.systems.asl_denoise.training import DenoiseModule

        return DenoiseModule(self.network(settings, normalisation), training, settings)

    def acquisition(self, settings):
        """Labelling, delays and voxel size."""
        from scan2map.systems.asl_denoise.session import demands

        return demands(settings)

    def read_acquisition(self, inputs):
        """The same of a session, from its labelling and images."""
        from scan2map.systems.asl_denoise.session import read_acquisition

        return read_acquisition(inputs)

    def predict(self, package, inputs, device):
        """Maps of one session, plain and smoothed averages beside them."""
        from scan2map.systems.asl_denoise.session import predict_session

        return predict_session(package, inputs, device)

    def evaluate(self, package, test, settings, device):
        """The validation protocol."""
        from scan2map.systems.asl_denoise.evaluate import evaluate_package

        return evaluate_package(package, test, settings, device)


SYSTEM = AslDenoise()
