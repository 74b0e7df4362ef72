"""Engines that are views of the network, and so give features and dense scores too."""

from residua.engines import Job, Ready, step_pixels
from residua.execution import DTYPES
from residua.networks.network import Network
from residua.rewrites.folded import folded
from residua.rewrites.packed import pack, possible


def folded_view(job: Job) -> Ready:
    """Norms in the convolutions and, on a processor, sums and ReLUs too."""
    view, pixels = placed(job), step_pixels(job)
    if job.execution.device.type != "cpu":
        return Ready(view)
    if not possible():
        note = "this torch lacks oneDNN: sums and ReLUs take a pass each"
        return Ready(view, pixels=pixels, notes=(note,))
    return Ready(pack(view), pixels=pixels)


def placed(job: Job) -> Network:
    """The folded view on the device, in the precision of its convolutions."""
    view = folded(job.network, DTYPES[job.precision or "fp32"])
    job.execution.place(view)
    return view
