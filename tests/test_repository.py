"""The documents say what is there: links, commands, configurations, dependencies."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from bench.plan import load_plan
from compress.config import CompressConfig, checked, load_config
from roadslim import SUBCOMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "models" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    """The path as tests are called by."""
    return str(path.relative_to(ROOT))


def code_lines(text: str) -> list[str]:
    """Lines that show what to type: indented by four spaces or in a block without a language, continued ones joined."""
    text = re.sub(r"\\\n\s*", "", text)
    fenced = [line for language, body in CODE_BLOCK.findall(text) if not language for line in body.splitlines()]
    return [line.strip() for line in fenced + re.findall(r"^    .*$", text, re.MULTILINE)]


def subcommand_parser(name: str) -> argparse.ArgumentParser:
    """The parser of a subcommand as roadslim.py makes it."""
    parser = argparse.ArgumentParser(prog=f"roadslim {name}", exit_on_error=False)
    importlib.import_module(SUBCOMMANDS[name][0]).add_parser(name, parser)
    return parser


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file that is in the repository, and a heading that the file has."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        found = document.parent / path if path else document
        assert found.exists(), f"{document.name} links to {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings], target


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_are_known(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every `roadslim …` that a document mentions is a subcommand, and whole command lines have flags that exist."""
    text = document.read_text()
    for mentioned in re.findall(r"`roadslim ([a-z]+)", text):
        assert mentioned in SUBCOMMANDS, f"{document.name}: roadslim {mentioned}"
    for line in code_lines(text):
        if not line.startswith("roadslim "):
            continue
        words = shlex.split(line, comments=True)
        assert words[1] in SUBCOMMANDS, f"{document.name}: {line}"
        try:
            subcommand_parser(words[1]).parse_args(words[2:])
        except (SystemExit, argparse.ArgumentError) as error:
            pytest.fail(f"{document.name}: {line}: {error} {capsys.readouterr().err}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_make_targets_are_known(document: Path) -> None:
    """Every `make …` that a document mentions is a target of the Makefile."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = document.read_text()
    for mentioned in re.findall(r"`make ([a-z-]+)", text) + re.findall(r"^    (?:\S+=\S+ )?make ([a-z-]+)", text, re.M):
        assert mentioned in targets, f"{document.name}: make {mentioned}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_configurations_in_documents_hold(document: Path) -> None:
    """The configurations that documents show, and sections of them, are accepted, key by key."""
    for language, body in CODE_BLOCK.findall(document.read_text()):
        content = yaml.safe_load(body) if language == "yaml" else {}
        if content and content.keys() <= CompressConfig.model_fields.keys():
            checked(CompressConfig, {"name": "shown", "data": "shown"} | content, name_of(document))


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_configs_load(path: Path) -> None:
    """Every file in configs is accepted by the program that it is for, and says in a comment what it is."""
    assert path.read_text().startswith("# ")
    if path.stem.endswith("-bench"):
        load_plan(path)
    else:
        load_config(path)


def test_subcommands_explain_themselves() -> None:
    """Every subcommand has a description and an example."""
    for name in SUBCOMMANDS:
        parser = subcommand_parser(name)
        assert parser.description and "example" in (parser.epilog or ""), name
        assert f"roadslim {name}" in (parser.epilog or ""), name


def test_dependencies_are_held_and_named() -> None:
    """Every dependency has a tested version in constraints.txt and its licence in NOTICE."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line) for line in lines), "no tags, no addresses"
    held = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    notice = (ROOT / "NOTICE").read_text()
    for wanted in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name = re.split(r"[<>=\[; ]", wanted)[0]
        assert re.sub(r"[-_.]+", "-", name).lower() in held, f"constraints.txt: {name}"
        assert name in notice or name.startswith("types-"), f"NOTICE: {name}"


def test_no_machine_in_the_repository() -> None:
    """No tracked text file names a path of the machine that it was written on."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("needs a git checkout")
    here = re.escape(str(ROOT)) + r"/|/home/[a-z]"
    for name in listing.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".jpg", ".png", ".svg", ".xmodel", ".weights") or not path.is_file():
            continue
        found = re.search(here, path.read_text(encoding="utf-8"))
        assert not found, f"{name}: {found.group() if found else ''}"


def test_every_file_of_the_packages_is_in_the_wheel() -> None:
    """What is no Python file and lies in a package (page, template, .proto) is named in the package data."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = [pattern.rstrip("*") for pattern in setuptools["packages"]["find"]["include"]]
    listing = subprocess.run(["git", "ls-files", *packages], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("needs a git checkout")
    others = [name for name in listing.stdout.splitlines() if not name.endswith((".py", ".pyi"))]
    for package, name in (other.split("/", 1) for other in others):
        assert any(fnmatch(name, pattern) for pattern in setuptools["package-data"].get(package, ())), name
    assert {"dpu/xmodel.proto", "board_app/web/page.html", "bench/report/report.html.j2"} <= set(others)


def test_vitis_container_is_pinned() -> None:
    """The Vitis AI image has a tag that names one version, and only packages of ours are added to it."""
    text = (ROOT / "Dockerfile.vitis").read_text()
    tag = re.search(r"^ARG VITIS_AI=xilinx/vitis-ai-pytorch-cpu:(\S+)$", text, re.MULTILINE)
    assert tag and re.fullmatch(r"ubuntu2004-\d+\.\d+\.\d+\.\d+", tag.group(1))
    copied = re.findall(r"^COPY (\S+)", text, re.MULTILINE)
    assert copied and all((ROOT / name / "__init__.py").is_file() for name in copied)


@pytest.mark.parametrize("script", ["scripts/setup", "scripts/demo", "scripts/study", "scripts/study-roads", ".ci/run"])
def test_scripts_parse(script: str) -> None:
    """The shell scripts are executable and their shell reads them."""
    path = ROOT / script
    shell = "bash" if "bash" in path.read_text().splitlines()[0] else "sh"
    assert path.stat().st_mode & 0o111
    subprocess.run([shell, "-n", path], check=True)


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("no-such-python", "needs Python 3.11 or newer, found no 'no-such-python'"),
        ("old-python", "needs Python 3.11 or newer, found 3.9"),
        ("bare-python", "needs the venv module of Python 3.11: apt install python3-venv"),
    ],
)
def test_setup_says_what_is_missing(tmp_path: Path, python: str, expected: str) -> None:
    """Without a fit Python, or without venv, set-up ends with one sentence and leaves nothing behind."""
    if python != "no-such-python":
        fake = tmp_path / python
        passes = {
            "old-python": "3.9) case $2 in *exit*) exit 1;; esac",
            "bare-python": "3.11) case $2 in *ensurepip*) exit 1;; esac",
        }
        version, rest = passes[python].split(") ", 1)
        fake.write_text(f"#!/bin/sh\ncase $2 in *print*) echo {version}; exit 0;; esac\n{rest}\nexit 0\n")
        fake.chmod(0o755)
        python = str(fake)
    command = ["scripts/setup", python, str(tmp_path / "venv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("make: ") and expected in lines[0]
    assert not (tmp_path / "venv").exists()
