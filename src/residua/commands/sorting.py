"""Pictures copied into a folder for each class."""

import filecmp
import re
import shutil
from itertools import count
from pathlib import Path

from residua.errors import OutOfResources

UNSURE = "unsure"  # where pictures go whose best score is below the threshold


def copy_into(folder: Path, label: str, picture: Path) -> Path:
    """Copy a picture into the folder of its label, never over another; return the copy.

    A picture that is already there under its name is not copied again.

    Raises:
        OutOfResources: the copy could not be written.
    """
    home = folder / safe(label or UNSURE)
    try:
        home.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            ending = f"-{number}" if number > 1 else ""
            target = home / f"{picture.stem}{ending}{picture.suffix}"
            try:
                with target.open("xb") as copy, picture.open("rb") as original:
                    shutil.copyfileobj(original, copy)
                return target
            except FileExistsError:
                if target.is_file() and filecmp.cmp(picture, target, shallow=False):
                    return target
    except OSError as error:
        raise OutOfResources(f"cannot copy: {error.strerror}", f"{picture} into {home}") from error
    raise AssertionError("count() has no end")


def safe(label: str) -> str:
    """A class's name as the name of one folder, wherever it came from."""
    name = re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]', "_", label).strip(" .")
    return name[:100] or "_"
