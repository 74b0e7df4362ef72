"""The command line: one file for each verb, which parses, calls, and prints.

VERBS names each verb's function as text, so that no verb is imported before it is called, and
`residua --help` answers at once. `line` reads the words, `terminal` is all that is printed on.
"""

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo:demo", "the whole job on the bundled digits, in two minutes"),
    "check": ("check:check", "everything that is wrong with a data set, in one list"),
    "train": ("train:train", "train a classifier on labeled images"),
    "resume": ("resume:resume", "go on with a training exactly where it stopped"),
    "evaluate": ("evaluate:evaluate", "measure the error of a trained network, with its interval"),
    "predict": ("predict:predict", "name what is in pictures"),
    "show": ("show:show", "the layers of a network: shapes, parameters, multiply-adds"),
    "list": ("list:list_", "the networks, data sets, recipes and protocols that there are"),
    "report": ("report:report", "write a run's page and card again"),
    "verify": ("verify:verify", "compare the checkpoints of a run with their digests"),
    "digest": ("digest:digest", "SHA-256 of each part of a run, a checkpoint or a file"),
    "convert": ("convert:convert", "weights published elsewhere into ours, and back"),
    "download": ("download:download", "fetch a published data set and verify it"),
}  # verb -> (module of this folder:function, what it does)
