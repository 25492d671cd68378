"""Documentation cannot drift: what it names exists."""

import re
from pathlib import Path

import pytest
import yaml

from layers import LAYERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("layers/*/README.md")])


def recipes():
    text = (ROOT / "justfile").read_text()
    return set(re.findall(r"^([a-z-]+)(?: \*args)?:", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_and_path_exists(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)[)#]", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(r"`((?:tests|docs|benchmarks|layers|lab)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_recipe_that_is_named_exists(page):
    blocks = re.findall(r"`just ([a-z-]+)|^just ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert {a or b for a, b in blocks} <= recipes()


def test_every_layer_has_its_page():
    for layer in LAYERS:
        assert (ROOT / "layers" / layer.name / "README.md").exists()


def test_every_decision_says_what_enforces_it():
    for page in ROOT.glob("docs/adr/*.md"):
        assert "Enforced by: " in page.read_text(), page.name


def test_the_tests_that_decisions_name_exist():
    known = " ".join(p.read_text() for p in ROOT.glob("tests/**/*.py"))
    for page in ROOT.glob("docs/adr/*.md"):
        for name in re.findall(r"`(test_\w+)`", page.read_text()):
            assert f"def {name}(" in known, f"{page.name}: {name}"


def test_the_example_lab_is_plain_yaml_with_comments_that_teach():
    for path in [ROOT / "lab.yaml", *ROOT.glob("personas/*.yaml"), *ROOT.glob("inventory/*.yaml")]:
        text = path.read_text()
        yaml.safe_load(text)
        assert "#" in text, f"{path.name} has no comment"


def test_constraints_pin_every_package_and_name_no_address():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line
