"""Charts as SVG: small pure functions from numbers to markup, coloured by attributes and themed by the page."""
