"""A new use case begins with files that work, under a name that can be everywhere that it will be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headwater import scaffold
from pipelines.errors import SettingsError
from pipelines.settings import PROJECT

LONGEST = "a_slug_of_thirty_characters_xx"


@pytest.mark.parametrize(("slug", "title"), [("ab", "A"), (LONGEST, "T" * scaffold.LONGEST_TITLE)])
def test_what_is_written_is_as_ruff_has_it_however_long_the_names_are(tmp_path: Path, slug: str, title: str) -> None:
    for folder in ("pipelines", "sandbox"):  # by what is there, ruff tells our own modules from others
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    modules = [path for path in scaffold.write(slug, title, "data", tmp_path) if path.endswith(".py")]
    assert len(modules) >= 8
    for command in (("check",), ("format", "--check", "--diff")):
        done = subprocess.run(
            [Path(sys.executable).with_name("ruff"), *command, "--no-cache", *modules],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_the_slug_and_the_title_stand_where_they_belong_and_no_word_of_the_template_is_left(tmp_path: Path) -> None:
    paths = scaffold.write("tide_levels", "Tides & SLUG", "harbour", tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
    assert all("tide_levels" in path for path in paths)
    spec = (tmp_path / "pipelines/use_cases/tide_levels/spec.py").read_text()
    assert 'slug="tide_levels"' in spec
    assert 'title="Tides & SLUG"' in spec
    assert 'owner="harbour"' in spec
    for path in paths:
        text = (tmp_path / path).read_text().replace("Tides & SLUG", "")
        assert not [word for word in ("SLUG", "TITLE", "OWNER") if word in text], path


@pytest.mark.parametrize(
    ("slug", "sentence"),
    [
        ("Tides", "is no slug"),
        ("1tide", "is no slug"),
        ("tide-levels", "is no slug"),
        ("tide__levels", "is no slug"),
        ("tide_", "is no slug"),
        ("../tides", "is no slug"),
        ("tides\n", "is no slug"),
        ("", "is no slug"),
        ("a" * 31, "is no slug"),
        ("user", "is a word of SQL or of Python"),
        ("lambda", "is a word of SQL or of Python"),
        ("ops", "another schema of the warehouse"),
        ("extracts", "another schema of the warehouse"),
        ("raw_tides", "another schema of the warehouse"),
        ("pg_tides", "another schema of the warehouse"),
        ("flood", "There is already a use case 'flood'"),
        ("flood_recompute", "begin alike"),
        ("json", "the name of an installed Python package"),
        ("pandas", "the name of an installed Python package"),
    ],
)
def test_a_slug_that_cannot_be_one_is_refused_with_a_sentence(tmp_path: Path, slug: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        scaffold.write(slug, "Tides", "data", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("title", ['Tides "now"', "{{ tides }}", "Tides\nand more", "back\\slash", "", "T" * 51])
def test_a_title_that_would_break_a_file_is_refused(tmp_path: Path, title: str) -> None:
    with pytest.raises(SettingsError, match="is no title"):
        scaffold.write("tides", title, "data", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_owner_that_airflow_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no owner"):
        scaffold.write("tides", "Tides", "Harbour, Office", tmp_path)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    scaffold.write("tides", "Tides", "data", tmp_path)
    (tmp_path / "sandbox/tides.py").write_text("mine")
    with pytest.raises(SettingsError, match=r"There is already .*sandbox/tides\.py.*Nothing was written"):
        scaffold.write("tides", "Tides", "data", tmp_path)
    assert (tmp_path / "sandbox/tides.py").read_text() == "mine"


def test_a_page_or_an_upstream_of_that_name_is_in_the_way() -> None:
    with pytest.raises(SettingsError, match=r"There is already docs/lake\.md"):
        scaffold.write("lake", "Lakes", "data")
