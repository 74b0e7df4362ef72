"""What a run costs is counted and measured, and seeds of one network stand together."""

import pytest

from residua import api, networks
from residua.costs import by_network, costs
from residua.errors import BadData
from residua.networks.graph import graph


def test_a_row_holds_the_runs_own_error_and_its_networks_counts(finished: api.Run) -> None:
    (row,) = costs([finished.directory], "single", api.plain_execution())

    weights = finished.weights()
    size = weights.preprocessing.size
    drawn = graph(networks.build(weights.network, len(weights.classes)), (3, size, size))
    assert (row["parameters"], row["multiply_adds"]) == (drawn.parameters, drawn.multiply_adds)
    assert row["error"] == finished.evaluate().error
    assert row["interval"][0] <= row["error"] <= row["interval"][1]
    assert row["images_per_second"] > 0


def test_a_run_without_that_evaluation_is_refused(finished: api.Run) -> None:
    with pytest.raises(BadData, match="ten-crop.json"):
        costs([finished.directory], "ten-crop", api.plain_execution())


def test_seeds_of_one_network_on_one_data_set_stand_together() -> None:
    rows = [
        {"network": name, "data": data, "seed": seed, "error": error}
        for name, data, seed, error in (
            ("resnet20-cifar", "a", 0, 0.1),
            ("resnet20-cifar", "a", 1, 0.08),
            ("resnet20-cifar", "b", 2, 0.5),
            ("resnet56-cifar", "a", 0, 0.07),
            ("resnet14-cifar", "a", 3, 0.2),
            ("resnet14-cifar", "a", 3, 0.2),  # the same run twice
        )
    ]

    found = by_network(rows)

    assert list(found) == ["resnet20-cifar"]
    assert str(found["resnet20-cifar"]) == "8.00 % (9.00 ± 1.41, 2 runs)"
