"""README.md, docs/ and the Makefile's head: what they point to is there."""

import re
from pathlib import Path

import pytest

from service.settings import ROOT, Settings

TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PICTURES = ROOT / "docs" / "pictures"
OF_TRAINING = {"CONVSCOPE_DATA"}


def read(path: Path) -> str:
    """Without what is between fences, where a # begins no heading."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", read(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shown(path: Path) -> set[Path]:
    return {(path.parent / name).resolve() for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", read(path))}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = [one for one in re.findall(r"\]\(([^)\s]+)\)", read(path)) if "://" not in one]
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.is_file(), link
        assert not anchor or anchor in anchors(there), link


def test_every_picture_is_shown_somewhere_and_made_by_the_script() -> None:
    names = {path.name for path in PICTURES.iterdir()}
    assert {picture.name for path in TEXTS for picture in shown(path)} == names
    assert (
        set(re.findall(r'^    "([^"]+\.png)":', (ROOT / "docs/pictures.py").read_text(), re.MULTILINE))
        == names
    )


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_settings_that_are_named_are_settings(path: Path) -> None:
    known = {f"CONVSCOPE_{name.upper()}" for name in Settings.model_fields} | OF_TRAINING
    assert set(re.findall(r"CONVSCOPE_[A-Z_]+[A-Z]", path.read_text())) <= known


def test_defaults_are_told_as_they_are() -> None:
    rows = re.findall(
        r"^\| `CONVSCOPE_(\w+)`(?:, `(?:CONVSCOPE_|_)(\w+)`)? \| ([^|]+) \|", _tables(), re.MULTILINE
    )
    told = {
        name.lower(): value.strip()
        for *names, values in rows
        for name, value in zip(filter(None, names), values.split(", "), strict=True)
    }
    assert len(told) > 10
    for name, value in told.items():
        assert value in _written(Settings.model_fields[name].default), name


def _tables() -> str:
    return "\n".join(path.read_text() for path in TEXTS)


def _written(default: object) -> set[str]:
    """How a text may write a default."""
    if default == []:
        return {"none"}
    if isinstance(default, Path):
        return {f"`{default.name}/`"}
    if isinstance(default, int | float):
        return {f"{default:g}", str(default), f"{default:g} s", f"{default * 1000:g} ms"} | {
            f"{default / size:g} {unit}" for size, unit in ((1 << 20, "MiB"), (1_000_000, "million"))
        }
    return {str(default)}


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert targets is not None
    head = re.split(r"^[^#]", makefile, maxsplit=1, flags=re.MULTILINE)[0]
    assert set(re.findall(r"^# make ([a-z-]+)", head, re.MULTILINE)) == set(targets[1].split())
