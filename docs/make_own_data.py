"""Draw the pictures of docs/guide-own-data.md, by the commands of that page: `python docs/make_own_data.py`."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "guide-own-data.md"
BLOCK = re.compile(r"^```(sh|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DRAWN = {"my-fields.png": "own-data-classes.png", "my-rivers.png": "own-data-masks.png"}  # of the page -> kept


def main() -> None:
    """Run the page in a folder of its own; its pictures go to docs/figures."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        shutil.copytree(DOCS.parent / "examples", place / "examples")
        for kind, text in BLOCK.findall(PAGE.read_text("utf-8")):
            if kind == "yaml":
                (place / "own.yaml").write_text(text, "utf-8")
                continue
            for line in text.splitlines():
                done = subprocess.run(line, shell=True, cwd=place, env=dict(os.environ), check=False)  # noqa: S602
                if bool(done.returncode) != line.endswith("# refused"):
                    raise SystemExit(f"{line}: exit {done.returncode}")
        for drawn, kept in DRAWN.items():
            shutil.copyfile(place / drawn, DOCS / "figures" / kept)


if __name__ == "__main__":
    main()
