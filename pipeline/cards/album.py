"""Small pictures for a page, inside it as data URLs, and never more bytes of them than a page can carry."""

from __future__ import annotations

import base64
import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xxhash import xxh3_128_digest

from pipeline.lake import LetGo
from pipeline.release.withheld import WithheldList
from reporting.errors import DataError, StoreError

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.models.detections import Box

SIDE: Final = 144
"""Pixels of a thumbnail's longer side: enough to judge a wall of pictures by, at 2 to 8 kB each."""
_QUALITY: Final = 78
_JPEG: Final = b"\xff\xd8"
_END_OF_JPEG: Final = b"\xff\xd9"
"""After it a decoder takes the rest for grey, where it would refuse a file that only stops."""
_MOST_DRAWN: Final = 2000
"""Pictures that are kept as they were drawn: some 12 MB."""
_LOCK: Final = threading.Lock()
_DRAWN: Final[OrderedDict[tuple[bytes, Box | None], tuple[str, str]]] = OrderedDict()
TAKEN_DOWN: Final = "taken down: it must not be shown"
FULL: Final = "left out: the page has no room for more pictures"


class Spot(NamedTuple):
    """Where a picture lies, and what the source said of it."""

    pack: str = ""
    """File of the lake; "" where no bytes were ever stored."""
    offset: int = 0
    bytes: int = 0
    title: str = ""
    offer: str = ""
    """`merchant/sku`."""
    group: str = ""
    """Product group."""
    picture: str = ""
    """sha256 of the whole picture."""
    box: Box | None = None
    """Of the object that is meant; None: the whole picture."""
    missing: str = "no picture was stored"
    """What is said where there is no pack."""


class Album:
    """Makes the pictures of one page.

    Args:
        lake: Holds the packs.
        limit_bytes: Of all pictures together, as they stand in the page; what does not fit any more is left out.
        hidden: What must not be shown, here as in any answer; None: nothing.
    """

    def __init__(self, lake: Lake, limit_bytes: int, hidden: WithheldList | None = None):
        self._lake = lake
        self._left = limit_bytes
        self._hidden = WithheldList() if hidden is None else hidden.takedowns

    def picture(self, spot: Spot) -> dict[str, Any]:
        """Return a picture as `dashboards/page/cards.py` has it: image, title, and a note that says why there is none.

        What is damaged, let go or gone is no error here: it is what the page is to show.
        """
        if self._is_hidden(spot):
            return {"image": None, "title": "", "note": TAKEN_DOWN}
        image, note = (None, spot.missing) if not spot.pack else self._image(spot)
        return {"image": image, "title": spot.title, "note": note}

    def _is_hidden(self, spot: Spot) -> bool:
        merchant, _, sku = spot.offer.partition("/")
        hidden = self._hidden
        return spot.picture in hidden.pictures or spot.group in hidden.groups or (merchant, sku) in hidden.offers

    def _image(self, spot: Spot) -> tuple[str | None, str]:
        from pipeline.images.decode import PictureError

        if self._left <= 0:
            return None, FULL
        try:
            with self._lake.open_pack(spot.pack) as pack:
                data = pack.read(spot.offset, spot.bytes)
            made, note = _drawn_once(data, spot.box)
        except PictureError as error:
            return None, f"cannot be drawn, {error}"
        except LetGo:
            return None, "let go: nothing that is stored needed it"
        except (DataError, StoreError):
            return None, "its file is gone or damaged"
        self._left -= len(made)
        return (made, note) if self._left >= 0 else (None, FULL)


def _drawn_once(data: bytes, box: Box | None) -> tuple[str, str]:
    """See `_drawn`; equal bytes are drawn once: a server draws the same day again with every request.

    The bytes are read each time, so that what was let go since is not shown.
    """
    key = xxh3_128_digest(data), box
    with _LOCK:
        known = _DRAWN.pop(key, None)
    made = known or _drawn(data, box)
    with _LOCK:
        _DRAWN[key] = made
        while len(_DRAWN) > _MOST_DRAWN:
            _DRAWN.popitem(last=False)
    return made


def _drawn(data: bytes, box: Box | None) -> tuple[str, str]:
    """Return a picture; of a JPEG that is cut off what there is of it, with a note.

    Raises:
        PictureError: it cannot be decoded.
        DataError: the box is not inside the picture.
    """
    from pipeline.images.decode import PictureError

    try:
        return _data_url(data, box), ""
    except PictureError as error:
        if error.reason != "truncated" or data[:2] != _JPEG:
            raise
        return _data_url(data + _END_OF_JPEG, box), "cut off: grey is what is missing"


def _data_url(data: bytes, box: Box | None) -> str:
    """Return a picture, or the object in a box of it, as a small JPEG.

    Raises:
        PictureError: it cannot be decoded.
        DataError: the box is not inside the picture.
    """
    from PIL import Image

    from pipeline.images.crop import DEFAULT_MARGIN, crop_object
    from pipeline.images.decode import DecodeLimits, decode_rgb

    limits = DecodeLimits()
    if box is None:  # scaled while it is decoded, and then by thumbnail: half the time of a crop
        pixels = decode_rgb(data, min_side=SIDE, limits=limits)
    else:
        pixels = crop_object(data, box, margin=DEFAULT_MARGIN, side=SIDE, limits=limits)
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
