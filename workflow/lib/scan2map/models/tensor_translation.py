"""Networks from an image of one of several modalities to a diffusion tensor image.

Their common face: ``network(image, modality)`` with image (batch, channels of the modality, x, y, z) gives the six
elements of a tensor representation (batch, 6, x, y, z). A network with a prior reads the place in the template in three
more channels behind those of the modality.

References:
    [1] Ronneberger et al. 2015, MICCAI 9351:234; Falk et al. 2019, Nat Methods 16:67 (MONAI's BasicUNet).
    [2] Isola et al. 2017, CVPR 1125 (conditional GAN, patch discriminator).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import BasicUNet
from torch import nn
from torch.nn import functional

ELEMENTS = 6
ACTIVATION = ("PRELU", {"init": 0.25})
PLACE_CHANNELS = 3
MIDDLE = 0.5  # of a representation scaled to 0 to 1: no off-diagonal elements, from where a network starts
DEEPEST_FACTOR = 16  # BasicUNet halves the image four times: sides must be multiples of this


class InputHead(nn.Module):
    """A residual block of three convolutions from a modality's channels to those of the shared body.

    Args:
        channels: of the modality.
        width: of what the body reads.
        norm: ``batch`` or ``instance``; instance normalisation makes a voxel's result depend on the whole patch.
    """

    def __init__(self, channels: int, width: int, norm: str):
        super().__init__()
        widths = (channels, width, width, width)
        self.convolutions = nn.Sequential(
            *(
                Convolution(
                    3, widths[index], widths[index + 1], act="RELU" if index < 2 else None, norm=norm, bias=False
                )
                for index in range(3)
            )
        )
        self.shortcut = nn.Conv3d(channels, width, 1) if channels != width else nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(batch, channels, x, y, z) to (batch, width, x, y, z)."""
        return functional.relu(self.convolutions(image) + self.shortcut(image))


class TensorGenerator(nn.Module):
    """One input head per modality on a shared U-Net body [1].

    Args:
        channels: of each modality.
        head_width: channels between heads and body.
        widths: features of the five levels and of the last layer, as MONAI's BasicUNet.
        norm, head_norm: normalisation of the body and of the heads, ``batch`` or ``instance``.
        dropout: share of features dropped in the body.
        prior: mean representation of the training heads (6, x, y, z) over the box of the template, which the body
            corrects; ``None`` for none.
    """

    staged = True  # heads can be trained apart from the body

    def __init__(
        self,
        channels: Mapping[str, int],
        head_width: int,
        widths: Sequence[int],
        norm: str,
        head_norm: str,
        dropout: float,
        prior: torch.Tensor | None = None,
    ):
        super().__init__()
        self.channels = dict(channels)
        self.prior = None if prior is None else TemplateTensor(prior, learned=False)
        more = 0 if prior is None else PLACE_CHANNELS + ELEMENTS
        self.heads = nn.ModuleDict({name: InputHead(count, head_width, head_norm) for name, count in channels.items()})
        self.body = BasicUNet(
            spatial_dims=3, in_channels=head_width + more, out_channels=ELEMENTS, features=tuple(widths),
            act=ACTIVATION, norm=norm, dropout=dropout,
        )  # fmt: skip
        nn.init.constant_(self.body.final_conv.bias, MIDDLE if prior is None else 0)
        if prior is not None:
            nn.init.zeros_(self.body.final_conv.weight)

    def expected(self, image: torch.Tensor, modality: str) -> torch.Tensor | None:
        """What the prior says at the image's places (batch, 6, x, y, z); ``None`` without a prior."""
        return None if self.prior is None else self.prior(image[:, self.channels[modality] :], modality)

    def forward(self, image: torch.Tensor, modality: str) -> torch.Tensor:
        """Tensor representation (batch, 6, x, y, z); sides must be multiples of 16."""
        image = image.contiguous(memory_format=torch.channels_last_3d)
        count = self.channels[modality]
        features = self.heads[modality](image[:, :count])
        if self.prior is None:
            return self.body(features)
        expected = self.expected(image, modality)
        return expected + self.body(torch.cat([features, image[:, count:], expected], dim=1))


class VoxelwiseNetwork(nn.Module):
    """A multi-layer perceptron on the channels of each voxel alone: no neighbours, no anatomy (a baseline).

    Args:
        channels: of each modality.
        width: hidden features.
    """

    staged, prior = False, None

    def __init__(self, channels: Mapping[str, int], width: int):
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Conv3d(count, width, 1) for name, count in channels.items()})
        self.body = nn.Sequential(
            nn.PReLU(), nn.Conv3d(width, width, 1), nn.PReLU(), nn.Conv3d(width, width, 1), nn.PReLU(),
            nn.Conv3d(width, ELEMENTS, 1),
        )  # fmt: skip

    def forward(self, image: torch.Tensor, modality: str) -> torch.Tensor:
        """Tensor representation (batch, 6, x, y, z)."""
        return self.body(self.heads[modality](image))


class TemplateTensor(nn.Module):
    """One tensor image in template space, read where a voxel lies in the template (a baseline that sees no signal).

    Where they are learned, an L1 loss over the training subjects makes its values the median representation.

    Args:
        lattice: values (6, x, y, z) that span −1 to 1 of the template coordinates, to begin from.
        learned: whether they are parameters; else they are constants that are not saved with the weights.
    """

    staged, prior = False, None

    def __init__(self, lattice: torch.Tensor, learned: bool = True):
        super().__init__()
        if learned:
            self.lattice = nn.Parameter(lattice[None].clone())
        else:
            self.register_buffer("lattice", lattice[None].clone(), persistent=False)

    def forward(self, image: torch.Tensor, modality: str) -> torch.Tensor:
        """Representation at template coordinates (batch, 3, x, y, z), each −1 to 1; ``modality`` is ignored."""
        points = image.float().movedim(1, -1).flip(-1)
        lattice = self.lattice.expand(len(image), -1, -1, -1, -1)
        return functional.grid_sample(lattice, points, padding_mode="border", align_corners=True)


class TensorFeatures(nn.Module):
    """A small autoencoder of tensor images; what its encoder sees is the perceptual distance of two of them.

    Args:
        width: features of the finest level.
    """

    def __init__(self, width: int):
        super().__init__()
        steps = ((ELEMENTS, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 2))
        self.levels = nn.ModuleList(
            Convolution(3, entering, leaving, strides=stride, act="PRELU", norm=None)
            for entering, leaving, stride in steps
        )
        self.decoder = nn.Sequential(
            Convolution(3, 2 * width, 2 * width, strides=2, act="PRELU", norm=None, is_transposed=True),
            Convolution(3, 2 * width, width, strides=2, act="PRELU", norm=None, is_transposed=True),
            nn.Conv3d(width, ELEMENTS, 3, padding=1),
        )

    def features(self, tensors: torch.Tensor) -> list[torch.Tensor]:
        """Features of every level."""
        found = []
        for level in self.levels:
            tensors = level(tensors)
            found.append(tensors)
        return found

    def forward(self, tensors: torch.Tensor) -> torch.Tensor:
        """Reconstructed tensors; sides must be multiples of 4."""
        return self.decoder(self.features(tensors)[-1])
