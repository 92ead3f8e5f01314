"""The app's folder on the path, as MONAI Label puts it there."""

import sys
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "apps" / "mtinet_label"
sys.path.insert(0, str(APP))
