"""Where an audit draws its lines: shared by what first concludes from observations and what compares two runs later."""

from __future__ import annotations

#: A finding is suspected up to this q.
SUSPECT_Q = 0.05
#: A region below this share of the image is blank after the crop (JPEG masks are never exactly 0).
BLANK_SHARE = 1e-4
#: Images whose control noise could not reach the feature's energy within this share are left out of the comparison.
ENERGY_TOLERANCE = 0.05
