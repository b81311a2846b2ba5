"""Draw the picture of a report on the front page: `make demo`, then `python docs/make_front.py` (needs Chromium)."""

import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent


def main() -> None:
    """Take docs/figures/report.png of demo/report.html."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    page = DOCS.parent / "demo" / "report.html"
    if browser is None or not page.exists():
        sys.exit("needs Chromium, and demo/report.html of `make demo`")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,900"]
    kept = DOCS / "figures" / "report.png"
    subprocess.run([browser, *flags, f"--screenshot={kept}", page.as_uri()], check=True)  # noqa: S603


if __name__ == "__main__":
    main()
