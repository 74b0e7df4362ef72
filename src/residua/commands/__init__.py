"""The command line: one file for each verb, which parses, calls, and prints.

VERBS names each verb's function as text, so that no verb is imported before it is called, and
`residua --help` answers at once. `line` reads the words, `terminal` is all that is printed on.
"""

from typing import NamedTuple


class Verb(NamedTuple):
    """A row of the registry."""

    function: str  # module of this folder:function
    takes: str  # what stands behind the verb
    about: str


VERBS: dict[str, Verb] = {
    "demo": Verb("demo:demo", "", "the whole job on the bundled digits, in three minutes"),
    "check": Verb("check:check", "DATA", "everything that is wrong with a data set, in one list"),
    "train": Verb("train:train", "DATA", "train a classifier on labeled images"),
    "resume": Verb("resume:resume", "RUN", "go on with a training exactly where it stopped"),
    "evaluate": Verb(
        "evaluate:evaluate", "RUN|WEIGHTS... [DATA]", "measure the error of trained networks"
    ),
    "compare": Verb("compare:compare", "RUN...", "the errors of runs against what they cost"),
    "predict": Verb("predict:predict", "RUN|WEIGHTS IMAGES...", "name what is in pictures"),
    "show": Verb(
        "show:show", "NETWORK|RUN|WEIGHTS...", "networks as tables, or drawn: --html, --svg, --diff"
    ),
    "list": Verb(
        "list:list_", "WHAT", "the networks, data sets, recipes, protocols and weights there are"
    ),
    "study": Verb(
        "study:study", "NAME [RUN|WEIGHTS] [DATA]", "answer a question about depth and shortcuts"
    ),
    "claims": Verb(
        "claims:claims", "[CLAIM...]", "what is said of deep networks: confirmed, refuted, not run"
    ),
    "audit": Verb(
        "audit:audit", "RUN|CONFIG", "where a training departs from a paper's, and what that does"
    ),
    "prune": Verb(
        "prune:prune", "RUN|WEIGHTS [DATA]", "remove the blocks that matter least, and train on"
    ),
    "deepen": Verb(
        "deepen:deepen", "RUN|WEIGHTS", "a deeper network that computes the same, to train on"
    ),
    "report": Verb("report:report", "RUN", "write a run's page and card again"),
    "verify": Verb("verify:verify", "RUN", "compare what a run saved with its digests"),
    "digest": Verb("digest:digest", "PATH", "SHA-256 of each part of a run or checkpoint"),
    "convert": Verb(
        "convert:convert", "WEIGHTS", "weights published elsewhere into ours, and back"
    ),
    "bench": Verb("bench:bench", "DATA", "how fast a training goes here, and what holds it up"),
    "download": Verb("download:download", "NAME", "fetch a published data set and verify it"),
}
