"""The result folder appears at once and never takes foreign files along."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg_ros.demo.folder import MANIFEST, ResultFolder
from geoseg_ros.errors import ConfigError


def write(path: Path, *names: str) -> None:
    with ResultFolder(path) as work:
        for name in names:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(name)


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_a_second_run_replaces_the_first_and_keeps_foreign_files(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    write(out, "report.html", "outputs/bag.mcap", "log/node.log")
    (out / "notes.txt").write_text("mine")
    (out / "outputs" / "mine.txt").write_text("mine too")
    write(out, "report.html", "demo.mp4")
    assert files(out) == {"report.html", "demo.mp4", MANIFEST, "notes.txt", "outputs/mine.txt"}
    assert (out / "outputs" / "mine.txt").read_text() == "mine too"
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]


def test_a_failed_run_leaves_the_earlier_result(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    write(out, "report.html")
    with pytest.raises(KeyboardInterrupt), ResultFolder(out) as work:
        (work / "report.html").write_text("half")
        raise KeyboardInterrupt
    assert (out / "report.html").read_text() == "report.html"
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]


def test_a_foreign_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    with pytest.raises(ConfigError, match="photos holds files but no earlier result"):
        ResultFolder(tmp_path / "photos")
    with pytest.raises(ConfigError, match="is a file"):
        ResultFolder(tmp_path / "photos" / "cat.jpg")
    assert files(tmp_path) == {"photos/cat.jpg"}


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    write(out, "report.html")
    (tmp_path / "precious").write_text("x")
    (out / MANIFEST).write_text('["../precious", "report.html"]')
    write(out, "report.html")
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("text", ["", "{", '["report.html", 7]', "[" * 100_000, "7"])
def test_a_damaged_manifest_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ConfigError, match="is damaged"):
        ResultFolder(tmp_path)


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    write(tmp_path / "demo", "report.html")
    assert files(tmp_path / "demo") == {"report.html", MANIFEST}
