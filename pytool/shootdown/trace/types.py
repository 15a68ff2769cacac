"""Names for the array types that the whole package speaks of."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Events: TypeAlias = npt.NDArray[np.void]
"""A structured array of dtype ``schema.DTYPE``: one element an event."""

Slots: TypeAlias = npt.NDArray[np.uint64]
"""The entries of a page table: 512 raw values, by index."""
