"""Where measured numbers go: results/<name>.json, with all that is needed to measure them again."""

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from residua.environment import environment

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"


def record(name: str, measured: Mapping[str, Any]) -> Path:
    """Write what was measured by the command that is running, and with what."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    table = {
        "command": " ".join(["python", str(script), *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        **environment(),
        "load": os.getloadavg()[0],  # runnable processes when it ended, ours among them
        "measured": dict(measured),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(table["measured"], indent=1))
    print(f"written: {path.relative_to(ROOT)}")
    return path
