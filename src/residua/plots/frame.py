"""What several figures share: their width, and an arrow between two names."""

WIDTH = 5.0  # inches: text of 10 points is 17 px high at 600 px
MARK = "\N{LEFT-TO-RIGHT MARK}"  # keeps the order of two names in a right-to-left script
ARROW = f"{MARK} \N{RIGHTWARDS ARROW} {MARK}"
