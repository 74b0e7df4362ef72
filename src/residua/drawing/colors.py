"""The colors of a drawing, and its style with them or with their names."""

from importlib import resources

from residua.theme import INKS, inks

ORDER = (0, 2, 4, 3, 5, 1)  # of the theme's series: the largest maps are blue
SOFT = {"light": 0.2, "dark": 0.3}  # of a color in a box, over paper


def palette(theme: str) -> dict[str, str]:
    """Return colors by name: the theme's own, and soft ones for the boxes."""
    known = inks(theme)
    order = [known.series[i] for i in ORDER]
    boxes = {f"fill{i}": mixed(color, known.paper, SOFT[theme]) for i, color in enumerate(order)}
    return {
        "paper": known.paper,
        "ink": known.ink,
        "muted": known.muted,
        "grid": known.grid,
        "accent": known.series[0],
        "wrong": known.series[1],
        "soft": mixed(known.muted, known.paper, 0.09),
        "thin": mixed(known.muted, known.paper, 0.6),
        **boxes,
        **{f"edge{i}": mixed(color, known.paper, 0.9) for i, color in enumerate(order)},
    }


def mixed(color: str, paper: str, share: float) -> str:
    """A color laid thinly on paper."""
    parts = (
        round(share * int(color[i : i + 2], 16) + (1 - share) * int(paper[i : i + 2], 16))
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


def picture_style() -> str:
    """The style of a picture, its colors by name."""
    return resources.files("residua.drawing").joinpath("picture.css").read_text(encoding="utf-8")


def fixed_style(theme: str) -> str:
    """The same with a theme's colors written in, which every program that reads SVG understands."""
    style = picture_style()
    for name, value in palette(theme).items():
        style = style.replace(f"var(--{name})", value)
    return style


def variables() -> str:
    """The colors by name for a page: what its reader prefers, or chose; paper is white."""
    light, dark = (
        "".join(f"--{name}:{value};" for name, value in palette(theme).items()) for theme in INKS
    )
    return (
        f":root{{{light}}}\n"
        "@media screen and (prefers-color-scheme:dark)"
        f'{{:root:not([data-theme="light"]){{{dark}}}}}\n'
        f'@media screen{{:root[data-theme="dark"]{{{dark}}}}}\n'
    )
