"""Install the peers that the benchmarks compare with into an environment of their own.

    python scripts/install_peers.py [--venv .venv-peers] [--jobs N]

Needs only the standard library. Running it again does nothing once everything is there. aihwkit has
no wheel for every Python, so it is built from source, which takes minutes and needs a C++ compiler
and OpenBLAS; everything else comes as wheels.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AIHWKIT = "1.2.0"
LIGHTNING = "2.1.0"
BADCROSSBAR = "1.1.0"

# What aihwkit's own build file asks for. Its build has to see the installed torch, so pip's
# isolated build environment, which would bring these by itself, cannot be used. mypy brings
# stubgen, which the last step of the build calls.
BUILD_TOOLS = ("setuptools>=77", "wheel", "scikit-build>=0.18.1", "pybind11>=3.0.1", "cmake>=4.2.1")
BUILD_TOOLS += ("ninja", "mypy")
# What importing aihwkit.nn needs. torchvision, which aihwkit lists as well, serves only its own
# experiments module, and its wheels fit just one build of torch.
RUNTIME = ("numpy", "scipy", "scikit-learn", "requests>=2.32,<3", "protobuf", "tqdm")

CHECK = {
    "mho": "import mho, rich",
    "aihwkit-lightning": "import importlib.metadata as m, aihwkit_lightning.nn; "
    f"assert m.version('aihwkit-lightning') == '{LIGHTNING}'",
    "badcrossbar": "import importlib.metadata as m, badcrossbar.compute, scipy; "
    f"assert m.version('badcrossbar') == '{BADCROSSBAR}'",
    "aihwkit": "import importlib.metadata as m, aihwkit.nn, aihwkit.simulator.rpu_base; "
    f"assert m.version('aihwkit') == '{AIHWKIT}'",
}
BLAS_PROBE = (
    "#include <cblas.h>\n#include <openblas_config.h>\nint main(){goto_set_num_threads(1);}"
)


class Failure(Exception):
    """Carries one line that says why it cannot go on and what to do."""


def main() -> None:
    """Install what is missing; exit with one line where that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-peers")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at a time")
    options = parser.parse_args()
    try:
        install(options.venv.resolve(), options.jobs)
    except Failure as failure:
        sys.exit(f"install_peers: {failure}")
    except KeyboardInterrupt:
        sys.exit("install_peers: interrupted; run it again to go on")


def install(folder: Path, jobs: int) -> None:
    """Bring every package of CHECK into the environment, skipping those that already import."""
    python = environment(folder)
    wheels = {"mho": add_mho, "aihwkit-lightning": add_lightning, "badcrossbar": add_badcrossbar}
    for name, step in wheels.items():
        if not present(python, name):
            step(python)
            require(python, name)
    if not present(python, "aihwkit"):
        need_compiler()
        need_blas()
        add_aihwkit(python, jobs)
        require(python, "aihwkit")
    print(f"The peers are ready. Compare with: {python} -m benchmarks")


def environment(folder: Path) -> Path:
    """Create the virtual environment unless it is there; return its interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"Creating {folder}", flush=True)
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failure(
                f"no virtual environment could be made in {folder}: {error}; on Debian and Ubuntu: "
                "apt-get install python3-venv"
            ) from error
    return python


def present(python: Path, name: str) -> bool:
    """Whether the package imports in the environment, in the version that is wanted."""
    found = subprocess.run([python, "-c", CHECK[name]], capture_output=True, cwd=python.parent)
    print(f"{name}: {'already installed' if found.returncode == 0 else 'to install'}", flush=True)
    return found.returncode == 0


def require(python: Path, name: str) -> None:
    """Raise unless a package that pip has just installed imports as well."""
    result = subprocess.run(
        [python, "-c", CHECK[name]], capture_output=True, text=True, cwd=python.parent
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failure(f"{name} was installed but does not import: {last}")


def add_mho(python: Path) -> None:
    """This checkout with its dependencies, in the versions that the project is tested with."""
    pip(python, "mho", "-c", str(ROOT / "constraints.txt"), "-e", str(ROOT))


def add_lightning(python: Path) -> None:
    """aihwkit-lightning, a wheel that asks for one exact version of torch."""
    constraints = str(ROOT / "constraints.txt")
    pip(python, "aihwkit-lightning", "-c", constraints, f"aihwkit-lightning=={LIGHTNING}")


def add_badcrossbar(python: Path) -> None:
    """The package without what it draws with, which needs the headers of cairo."""
    constraints = ("-c", str(ROOT / "constraints.txt"))
    pip(python, "badcrossbar", *constraints, "--no-deps", f"badcrossbar=={BADCROSSBAR}")
    pip(python, "badcrossbar", *constraints, "numpy", "scipy", "pathvalidate", "sigfig")


def add_aihwkit(python: Path, jobs: int) -> None:
    """aihwkit, compiled against the torch of the environment."""
    constraints = str(ROOT / "constraints.txt")
    pip(python, "aihwkit-build-tools", "-c", constraints, *BUILD_TOOLS, *RUNTIME)
    print(f"Compiling aihwkit {AIHWKIT} with {jobs} job(s); this takes minutes", flush=True)
    source = ("--no-deps", "--no-build-isolation", "--no-binary", "aihwkit")
    settings = {"CMAKE_BUILD_PARALLEL_LEVEL": str(jobs), "VIRTUAL_ENV": str(python.parent.parent)}
    settings["PATH"] = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    pip(python, "aihwkit", "-v", *source, f"aihwkit=={AIHWKIT}", settings=settings)


def need_compiler() -> None:
    """Raise unless there are a C++ compiler and the headers of this Python."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise Failure("aihwkit needs a C++ compiler; on Debian and Ubuntu: apt-get install g++")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise Failure(
            "aihwkit needs the headers of Python (Python.h); on Debian and Ubuntu: "
            "apt-get install python3-dev"
        )


def need_blas() -> None:
    """Raise unless a program against OpenBLAS compiles and links."""
    compiler = next(name for name in ("c++", "g++", "clang++") if shutil.which(name))
    home = os.environ.get("OPENBLAS_ROOT_DIR")
    places = [f"-I{home}/include", f"-L{home}/lib"] if home else []
    command = [compiler, "-x", "c++", "-", *places, "-lopenblas", "-o", os.devnull]
    if subprocess.run(command, input=BLAS_PROBE, capture_output=True, text=True).returncode:
        raise Failure(
            "aihwkit needs OpenBLAS with its headers; on Debian and Ubuntu: "
            "apt-get install libopenblas-dev (or set OPENBLAS_ROOT_DIR to where it is installed)"
        )


def pip(python: Path, name: str, *arguments: str, settings: dict[str, str] | None = None) -> None:
    """Run pip's install, its output in a log; raise with the reason in one line if it fails."""
    log = python.parent.parent / f"install-{name}.log"
    print(f"Installing {name} (log: {log})", flush=True)
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    with log.open("w") as out:
        result = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(settings or {})}
        )
    if result.returncode:
        raise Failure(f"{name} could not be installed: {reason(log)} (see {log})")


def reason(log: Path) -> str:
    """What a log says first about an error; CMake says it on the lines below its mark."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    for mark in ("CMake Error", "fatal error:", " error: ", "ERROR: ", "No module named"):
        for number, line in enumerate(lines):
            if mark == "CMake Error" and mark in line:
                return " ".join(lines[number : number + 4]).split(" Call Stack")[0]
            if mark in line:
                return line
    return "no reason was given"


if __name__ == "__main__":
    main()
