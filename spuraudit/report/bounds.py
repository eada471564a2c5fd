"""How much a report holds. What is left out is counted and said; the run folder keeps everything.

Reports of comparable tools grew to hundreds of megabytes because nothing bounded their lists.
"""

from __future__ import annotations

CARDS = 20
"""Suspected features shown as cards."""
EXHIBITS = 3
"""Exhibits per card."""
COUNTEREXAMPLES = 1
"""Exhibits per card whose answer stays right."""
ROWS = 500
"""Rows of a table of findings or pairs."""
CLASS_ROWS = 1000
"""Rows of the table of classes: plain rows without pictures."""
CHART_ROWS = 30
"""Classes drawn in a chart."""
SWEEPS = 12
"""Patch-swap sweeps drawn, those with the largest drop first."""
SWEEP_CELLS = 10_000
"""Cells of all drawn sweeps together: twelve 7x7 grids are 588, and a grid of 56x56 is drawn three times."""
CURVES = 4
"""Source images of a drawn sweep whose own curves are drawn; the paper shows four."""
REPORT_BYTES = 10_000_000
"""Bytes of a report; above it pictures shrink, then go (report/fitting.py)."""
LOGO_BYTES = 200_000
"""Bytes of a logo."""
NOTES_BYTES = 100_000
"""Bytes of notes."""
CLEARED_CARDS = 3
"""Cleared features shown as cards where nothing is suspected: so many get exhibits."""
SHARED = 5
"""Classes or models that a card names with which it shares its feature."""
MATRIX = 12
"""Classes in a matrix of class pairs, those with the largest gaps."""
MATRICES = 4
"""Matrices of class pairs, one per region."""
COMPOSITES = 12
"""Composites beside the class pairs, one per pair."""
RECORD_BYTES = 1_500_000
"""Bytes of the embedded record; above it the most detailed measurements stay in scan.json."""
HEAT_ROWS = 60
"""Features in a zoo's heat table, those that fool most models first."""
HEAT_MODELS = 60
"""Models in a zoo's heat table and in its chart of ranks."""
MODEL_ROWS = 500
"""Models in a zoo's tables."""
NAMED_DOTS = 12
"""Models of a zoo up to which the chart tries to name all; above, only the ends of the range."""
NAME = 26
"""Characters of a name inside a chart; the tables hold all of it."""
GROUP_NAME = 17
"""The same for a group's name beside its bar."""
CSV_BYTES = 1_500_000
"""Bytes of a CSV inside a page as it is; a longer one is compressed."""
PACKED_BYTES = 5_000_000
"""Bytes of a compressed CSV inside a page; a longer one is left out."""
