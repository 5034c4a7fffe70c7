"""Pictures as bytes inside a page: the same pixels give the same bytes."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np

PHOTO_QUALITY = 85
LOSSLESS_EFFORT = 75  # of 100: the rest takes three times as long for 2 % of the size
MEDIA_TYPE = "image/webp"


@dataclass(frozen=True)
class Picture:
    """One picture of a figure.

    Attributes:
        label: what this picture shows among the figure's pictures; empty if it is the only one.
        alt: description for readers who do not see it.
        content: encoded bytes (WebP).
        width, height: pixels.
        group: pictures of one group are compared with each other by flicker.
    """

    label: str
    alt: str
    content: bytes
    width: int
    height: int
    group: str = ""

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:{MEDIA_TYPE};base64,{base64.b64encode(self.content).decode()}"


def encode(pixels: np.ndarray, *, photo: bool = False) -> bytes:
    """Encode 8-bit pixels, grey (height, width) or RGB (height, width, 3), as WebP: photos with loss, others without.

    The file carries neither a date nor the name of a program.
    """
    from PIL import Image as Pillow

    buffer = BytesIO()
    image = Pillow.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    image.save(buffer, "WEBP", quality=PHOTO_QUALITY if photo else LOSSLESS_EFFORT, lossless=not photo)
    return buffer.getvalue()


def picture_of(figure, *, label: str = "", alt: str, photo: bool = False, group: str = "") -> Picture:
    """Render a matplotlib figure and close it."""
    import matplotlib.pyplot as plt

    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return Picture(label, alt, encode(pixels, photo=photo), pixels.shape[1], pixels.shape[0], group)
