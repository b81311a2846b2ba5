"""Compiles seamo/native/kernels.c: as a script into the tree, and as hatchling's build hook into a wheel.

python tools/native.py            # after a change of the file, or of the compiler

Where there is no C compiler, or the system is none of Linux and macOS, the wheel is pure Python and says so: numpy and
torch do the same work, slower. `CC` names the compiler, `CFLAGS` adds to the flags.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "seamo" / "native" / "kernels.c"
LIBRARY = SOURCE.with_suffix(".so")
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno",
         "-fno-trapping-math", "-Wall", "-Wextra", "-Wno-psabi")  # fmt: skip
# What every x86-64 server of the last ten years has; the library says whether the processor does before it is used.
X86 = ("-mavx2", "-mfma", "-msse4.2")


def digest() -> str:
    """Of the source, as the library tells it."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]


def compile_kernels(out: Path = LIBRARY, *, extra: tuple[str, ...] = ()) -> str:
    """Compile the kernels.

    Args:
        out: The library.
        extra: Further flags.

    Returns:
        Why there is no library; empty if there is one.
    """
    if sys.platform not in ("linux", "darwin"):
        return f"not on {sys.platform}"
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or shutil.which("gcc") or ""]
    if not compiler[0]:
        return "there is no C compiler (cc)"
    flags = [*FLAGS, *(X86 if platform.machine() in ("x86_64", "AMD64") else ()), f'-DSEAMO_SOURCE="{digest()}"']
    part = out.with_name(f".{out.name}.{os.getpid()}")
    command = [
        *compiler,
        *flags,
        *shlex.split(os.environ.get("CFLAGS", "")),
        *extra,
        str(SOURCE),
        "-o",
        str(part),
        "-lm",
    ]
    try:
        subprocess.run(  # noqa: S603 - the compiler that was asked for
            command, check=True, capture_output=True, text=True
        )
        part.replace(out)  # a library that a process has loaded is never written into
    except OSError as error:
        return f"{compiler[0]} does not run ({error.strerror})"
    except subprocess.CalledProcessError as error:
        return f"{compiler[0]} fails:\n{error.stderr}"
    finally:
        part.unlink(missing_ok=True)
    return ""


def main() -> None:
    """Compile into the tree."""
    problem = compile_kernels()
    print(f"seamo/native: {problem or 'compiled'}", file=sys.stderr)


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script, where hatchling need not be
    pass
else:

    class NativeHook(BuildHookInterface[Any]):
        """Puts the library into a wheel, and names the wheel after the platform."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Called by hatchling before it collects files."""
            del version
            problem = compile_kernels()
            if problem:
                LIBRARY.unlink(missing_ok=True)
                self.app.display_warning(
                    f"seamo/native: {problem}; the wheel is pure Python, numpy and torch do its work"
                )
                return
            build_data["artifacts"].append(f"/{LIBRARY.relative_to(ROOT).as_posix()}")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


if __name__ == "__main__":
    main()
