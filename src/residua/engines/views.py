"""Engines that are views of the network, and so give features and dense scores too."""

from residua.engines import Job, Ready
from residua.execution import DTYPES
from residua.networks.network import Network
from residua.rewrites.folded import folded
from residua.rewrites.packed import pack, possible

# Of 224 x 224 four times, for each thread: feature maps in bf16 of a wide network then stay within
# the caches, and memory that was just freed is used again rather than asked for anew.
STEP = 4 * 224 * 224


def folded_view(job: Job) -> Ready:
    """Norms in the convolutions and, on a processor, sums and ReLUs too."""
    view = placed(job)
    if job.execution.device.type != "cpu":
        return Ready(view)
    if not possible():
        return Ready(view, notes=("this torch lacks oneDNN: sums and ReLUs take a pass each",))
    return Ready(pack(view), pixels=STEP * job.execution.threads)


def placed(job: Job) -> Network:
    """The folded view on the device, in the precision of its convolutions."""
    view = folded(job.network, DTYPES[job.precision or "fp32"])
    job.execution.place(view)
    return view
