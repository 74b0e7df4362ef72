"""What a figure says, read from its SVG."""

import xml.etree.ElementTree as ET

from matplotlib.figure import Figure

from residua import plots


def texts(figure: Figure) -> str:
    """All text of a figure's SVG, which must be well-formed."""
    root = ET.fromstring(plots.render(figure, "svg"))
    return "\n".join(root.itertext())
