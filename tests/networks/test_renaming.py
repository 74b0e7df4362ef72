"""The tables of names read the same in both directions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua import networks
from residua.networks.elsewhere import STYLES, Names
from residua.networks.recognize import tables
from residua.networks.renaming import fill, has, ours_of, rename, styles_of

TABLES = [names for _, names in tables()]
NUMBERS = {"s": st.integers(1, 9), "i": st.integers(0, 400), "k": st.integers(1, 9)}
SHARED = ("stem.norm3", "branch.norm1")  # the same as stem.norm and before.norm there


@pytest.mark.parametrize("names", TABLES)
@given(values=st.fixed_dictionaries(NUMBERS).map(lambda d: {k: str(v) for k, v in d.items()}))
def test_a_name_of_theirs_finds_back(names: Names, values: dict[str, str]) -> None:
    for row in names:
        if "#" in row[1]:
            continue  # needs a network to count in
        module = fill(row[0], values)
        theirs, _ = rename(module, names, {})
        assert theirs
        back = ours_of(theirs, names)
        # Two of ours share a name where no network has both: the first norm of a preactivation.
        assert rename(back, names, {})[0] == theirs
        assert back == module or module.endswith(SHARED)


@pytest.mark.parametrize("names", TABLES)
def test_what_is_not_in_a_table_has_no_name(names: Names) -> None:
    for module in ("features.stage1.0.gate.layer", "head", "features.stage1.x.branch.conv1x"):
        if not any(row[0] == "features.*" for row in names):
            assert rename(module, names, {}) == ("", 0)
    assert ours_of("blocks.0.attn.qkv", names) == ""
    assert ours_of("", names) == ""


@pytest.mark.parametrize("style", STYLES)
def test_every_network_of_a_style_is_one_of_ours(style: str) -> None:
    table = STYLES[style]
    for ours in table.networks:
        name = ours.replace("{depth}", "20")
        networks.parse(name)
        assert has(style, name)
        assert style in styles_of(name)
    theirs = list(table.networks.values())
    assert style in ("cifar", "transformers") or len(set(theirs)) == len(theirs)
