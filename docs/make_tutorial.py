"""Run docs/tutorial-python.ipynb, write what it shows into it, and draw the tutorials' picture.

`python docs/make_tutorial.py`
"""

import base64
import contextlib
import io
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
NOTEBOOK = DOCS / "tutorial-python.ipynb"


def main() -> None:
    """Run every cell in a folder of its own; what is printed, and what is drawn as `figure`, is kept."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    names: dict[str, Any] = {}
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        for number, cell in enumerate(one for one in notebook["cells"] if one["cell_type"] == "code"):
            source, out = "".join(cell["source"]), io.StringIO()
            if source.startswith("!"):
                for line in source.splitlines():
                    subprocess.run(line.removeprefix("!"), shell=True, check=True, capture_output=True)  # noqa: S602
            else:
                with contextlib.redirect_stdout(out):
                    exec(compile(source, f"<cell {number}>", "exec"), names)  # noqa: S102
            text = [line for line in out.getvalue().splitlines(keepends=True) if place not in line]
            stream = {"name": "stdout", "output_type": "stream", "text": text}
            cell["outputs"], cell["execution_count"] = [stream] if text else [], number + 1
            if "figure" in names:
                cell["outputs"].append(_picture(names.pop("figure")))
        look = "seamo-prep look stores/eurosat --num 6 -o"
        subprocess.run([*look.split(), str(DOCS / "figures" / "tutorial-tiles.png")], check=True)  # noqa: S603
        os.chdir(before)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _picture(figure: Any) -> dict[str, Any]:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=70, metadata={"Software": None})
    data = {"image/png": base64.b64encode(drawn.getvalue()).decode(), "text/plain": ["<Figure>"]}
    return {"output_type": "display_data", "metadata": {}, "data": data}


if __name__ == "__main__":
    main()
