"""The wheel: everything tracked is in it, nothing else is, and it works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.architecture.source_tree import FOLDERS, OURS, REPOSITORY, ROOT

pytestmark = pytest.mark.slow


def run(*arguments: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(arguments, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network by the hatchling of this environment."""
    out = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, REPOSITORY, cwd=out)
    return next(out.glob("funnelgate-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel, and borrows its dependencies from this one."""
    root = tmp_path_factory.mktemp("installed")
    venv.create(root, with_pip=False)
    python = root / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-deps", "--no-index", wheel, cwd=root)
    site = next((root / "lib").glob("python*/site-packages"))
    # A path in a .pth file does not make Python read the .pth files there: the editable install stays out of sight.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python.parent


def members(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}


def tracked() -> set[str]:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no git checkout")
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS, f"{ROOT}.py", cwd=REPOSITORY)
    return {name for name in names.splitlines() if (REPOSITORY / name).is_file()}


def test_the_wheel_holds_every_tracked_file_of_the_product_and_no_other(wheel):
    inside = {name for name in members(wheel) if ".dist-info/" not in name}
    assert inside == tracked()


def test_the_wheel_brings_no_unexpected_top_level_name(wheel):
    tops = {name.split("/")[0] for name in members(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {*FOLDERS, f"{ROOT}.py"}


def test_the_wheel_carries_the_licences_of_all_it_contains(wheel):
    info = {name.partition(".dist-info/")[2] for name in members(wheel) if ".dist-info/" in name}
    assert {"licenses/LICENSE", "licenses/NOTICE", "licenses/samples/ATTRIBUTION.md"} <= info
    assert any(name.endswith("weights/efficientnet-lite0/LICENSE") for name in members(wheel))


def test_the_installed_command_runs_from_another_folder(installed, tmp_path):
    assert "Usage: funnelgate" in run(installed / "funnelgate", "--help", cwd=tmp_path)
    assert "Usage: funnelgate" in run(installed / "python", "-m", "funnelgate", "--help", cwd=tmp_path)


def test_the_installed_modules_are_the_wheel_s_own(installed, tmp_path):
    code = f"import {', '.join(OURS)}; print(*[one.__file__ for one in ({', '.join(OURS)})], sep='\\n')"
    places = run(installed / "python", "-c", code, cwd=tmp_path).splitlines()
    assert len(places) == len(OURS)
    assert all(Path(place).is_relative_to(installed.parent) for place in places)


def test_the_installed_demo_runs_a_day_without_a_checkout(installed, tmp_path):
    run(installed / "funnelgate", "demo", "demo-run", "--days", "1", cwd=tmp_path)
    assert (tmp_path / "demo-run" / "search.html").is_file()
