"""pip install, a line a phase, where pip says hundreds of lines or nothing: `python tools/install.py PIP-ARGUMENTS`.

Run by the Python that is installed into. Large downloads are named when they begin; after 15 seconds without news a
line says what is going on. Where pip fails, its last lines are shown. Standard library alone: nothing is installed yet.
"""

import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque

LARGE_MB = 40.0
QUIET_S = 15.0
DOWNLOAD = re.compile(r"\s*(?:Downloading|Using cached) (\S+?)-\d\S* \(([\d.]+) (kB|MB|GB)\)")
SCALE = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}


def news(line: str) -> str:
    """What a line of pip is worth telling; nothing for most.

    Example:
        >>> news("  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (866.2 MB)")
        'downloading torch (866 MB)'
        >>> news("Installing collected packages: mpmath, zstandard, numpy")
        'unpacking 3 packages'
    """
    found = DOWNLOAD.match(line)
    if found and float(found[2]) * SCALE[found[3]] >= LARGE_MB:
        how = "downloading" if "Downloading" in line else "taking from pip's cache:"
        return f"{how} {found[1].rpartition('/')[2]} ({float(found[2]) * SCALE[found[3]]:.0f} MB)"
    if line.startswith("Installing collected packages:"):
        return f"unpacking {line.count(',') + 1} packages"
    return ""


def main() -> int:
    """Run pip; its exit status."""
    began = time.monotonic()

    def tell(text: str) -> None:
        seconds = round(time.monotonic() - began)
        print(f"  {seconds // 60}:{seconds % 60:02d} {text}", flush=True)

    command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", "--no-color", *sys.argv[1:]]
    with subprocess.Popen(  # noqa: S603 (pip, as `make` asks for it)
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(process, lines), daemon=True).start()
        doing, last = "finding out what is needed", deque[str](maxlen=30)
        tell(doing)
        while True:
            try:
                line = lines.get(timeout=QUIET_S)
            except queue.Empty:
                tell(f"still {doing}")
                continue
            if line is None:
                break
            last.append(line)
            told = news(line)
            if told:
                doing = told
                tell(told)
    if process.returncode:
        print("".join(last), file=sys.stderr)
    tell("pip failed" if process.returncode else "installed")
    return process.returncode


def _pass_on(process: subprocess.Popen[str], lines: "queue.SimpleQueue[str | None]") -> None:
    for line in process.stdout or ():
        lines.put(line)
    lines.put(None)


if __name__ == "__main__":
    sys.exit(main())
