"""The sample pack: everyday items in three looks, each drawn by another hand.

``items.csv`` lists the items (item = Unicode codepoint, name, category); ``pictures/{look}/{item}.{ext}``
holds one 192 px picture of every item in every look, with an alpha channel; ``ATTRIBUTION.md`` names the
sources, their licences and what was changed; ``build.py`` made it all.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def held_out(item: str) -> bool:
    """Tell whether an item is kept from everything that is trained or shipped as reference: about one in five.

    A pure function of the codepoint, so that training, the reference gallery and every measurement agree on it.

    Example:
        >>> held_out("1f355"), held_out("1f40d")
        (False, True)
    """
    return int(hashlib.sha256(item.encode()).hexdigest()[:8], 16) % 5 == 0


def samples_dir() -> Path:
    """Return the folder that holds ``items.csv``, ``ATTRIBUTION.md`` and ``pictures/``.

    Returns:
        The absolute folder of this installed package: it is read-only for its users.
    """
    return Path(__file__).resolve().parent
