"""Perfusion and arterial transit time from multi-delay PCASL and VSASL by an amplitude-aware network."""

from scan2map.training.files import PredictedMap, RailFile
from scan2map.training.system import Description

_CBF = {"unit": "mL/100g/min", "label": "CBF (ml/100g/min)", "display": (0.0, 100.0), "colour_map": "magma"}
_ATT = {"unit": "s", "label": "ATT (s)", "display": (0.0, 3.0), "colour_map": "viridis"}


def _truth(suffix: str) -> RailFile:
    return RailFile("perf", suffix, root="truth")


MAPS = (
    PredictedMap(
        "cbf", "perf", "cbf", description="Perfusion, network ensemble.", entities={"desc": "network"},
        truth=_truth("cbf"), **_CBF,
    ),
    PredictedMap(
        "att", "perf", "att", description="Arterial transit time, network ensemble.", entities={"desc": "network"},
        truth=_truth("att"), **_ATT,
    ),
    PredictedMap(
        "cbf_ls", "perf", "cbf", description="Perfusion, bounded least squares of the same signals.",
        entities={"desc": "leastsquares"}, role="baseline", of="cbf", **_CBF,
    ),
    PredictedMap(
        "att_ls", "perf", "att", description="Arterial transit time, bounded least squares of the same signals.",
        entities={"desc": "leastsquares"}, role="baseline", of="att", **_ATT,
    ),
    PredictedMap(
        "cbf_sd", "perf", "cbf", description="Standard deviation of the network's perfusion.",
        entities={"desc": "networksd"}, role="uncertainty", of="cbf", **_CBF | {"display": (0.0, 25.0)},
    ),
    PredictedMap(
        "att_sd", "perf", "att", description="Standard deviation of the network's transit time.",
        entities={"desc": "networksd"}, role="uncertainty", of="att", **_ATT | {"display": (0.0, 1.0)},
    ),
)  # fmt: skip

LIMITS = (
    "Trained on simulated scans alone (digital heads, one-compartment kinetic model, Rician noise): not validated in "
    "vivo.",
    "Six PCASL and six VSASL delays as in its settings; other delays are refused.",
    "Signals that follow the general kinetic model with tissue T1 give a perfusion that is too low, as they do for "
    "least squares with the consensus model; the validation table has the size.",
    "Neighbouring voxels are used: where the signal is weak, single-voxel detail is smoothed. The table gives the "
    "contrast recovery of lesions of 4 to 8 mm and the width of an edge.",
    "Blood in arteries and dispersion of the bolus are not modelled. Not for diagnosis.",
)


class AslQuantNet:
    """See :class:`scan2map.training.system.System`."""

    description = Description(
        title="Perfusion and transit time (ASL network)",
        cohort="phantom",
        modalities=("asl",),
        roles=("asl_multipld", "vsasl", "m0"),
        inputs={
            "difference": RailFile("perf", "deltam", entities={"acq": "multidelay", "desc": "mean"}),
            "design": RailFile("perf", "labelling", ".json", entities={"acq": "multidelay", "desc": "mean"}),
            "delay_offsets": RailFile("perf", "timing", entities={"acq": "multidelay", "desc": "slice"}),
            "mask": RailFile("perf", "mask", entities={"desc": "brain"}),
        },
        maps=MAPS,
        intended_use=(
            "Research: perfusion and arterial transit time maps with their uncertainty from PCASL and VSASL at six "
            "delays each, where the signal is too weak for voxel-wise least squares."
        ),
        limits=LIMITS,
    )

    def build_dataset(self, subject, sources, settings, output):
        """Tissue of one digital head."""
        from scan2map.phantom.slices.tissue import head_fractions
        from scan2map.training.dataset import save_subject

        fractions = head_fractions(subject, settings["voxel_size_mm"], settings["seed"])
        save_subject(output, {"fractions": fractions}, voxel_size_mm=settings["voxel_size_mm"])

    def normalisation(self, train, settings):
        """None: the network takes its scale from the signals around each voxel."""
        return {}

    def training_set(self, train, settings, seed):
        """Slices of tissue at random places; perfusion and noise are simulated in the training step."""
        from scan2map.phantom.slices.tissue import TissueSlices, load_heads
        from scan2map.training.stream import Samples

        return Samples(TissueSlices(load_heads(train), settings["simulation"]), seed)

    def validation_set(self, validation, settings, seed):
        """Fixed slices of the validation heads."""
        from scan2map.phantom.slices.tissue import TissueSlices, load_heads
        from scan2map.systems.asl_quantnet.training import FixedSlices

        return FixedSlices(TissueSlices(load_heads(validation), settings["simulation"]), seed)

    def network(self, settings, normalisation):
        """The estimator of the settings' design."""
        from scan2map.systems.asl_quantnet.estimators import build_estimator

        return build_estimator(settings)

    def module(self, settings, normalisation, training):
        """Its training."""
        from scan2map.systems.asl_quantnet.training import QuantModule

        return QuantModule(self.network(settings, normalisation), training, settings)

    def acquisition(self, settings):
        """Delays and the range of label parameters."""
        from scan2map.systems.asl_quantnet.session import demands

        return demands(settings)

    def read_acquisition(self, inputs):
        """Delays and label parameters of a session, from the sidecars."""
        from scan2map.systems.asl_quantnet.session import read_acquisition

        return read_acquisition(inputs)

    def predict(self, package, inputs, device):
        """Maps of one session, least squares beside them."""
        from scan2map.systems.asl_quantnet.session import predict_session

        return predict_session(package, inputs, device)

    def evaluate(self, package, test, settings, device):
        """The validation protocol."""
        from scan2map.systems.asl_quantnet.evaluate import evaluate_members

        trained = package.judged_by(settings)
        return evaluate_members(package.members, test, trained, device)


SYSTEM = AslQuantNet()
