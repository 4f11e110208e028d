"""Texts of the page show no control character and no absolute path of the machine."""

from pathlib import Path

import pytest

from eval.report.text import short_names, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/work/project/results/runs/v2-0/images", "results/runs/v2-0/images"),
        ("folder: /work/project", "folder: ."),
        ("/work/project-two/a.png", ".../a.png"),
        ("/scratch/out of/run/a.png: torn", "run/a.png: torn"),
        ("'/photos/my set/cat.png': no such file", "'my set/cat.png': no such file"),
        ("/home/me/models/unet", "~/models/unet"),
        ("/opt/weights/sam.pth", ".../sam.pth"),
        ("https://host.org/work/project/a and file.py/b", "https://host.org/work/project/a and file.py/b"),
        ("and/or, 1/2, ../../work/project/a.png, </b>, /", "and/or, 1/2, ../../work/project/a.png, </b>, /"),
        ("data:image/webp;base64,+/a/b/c", "data:image/webp;base64,+/a/b/c"),
        ("a\tb\nc\x00\x1b[1m\x7f\x85\ud800 é 猫", "a\tb\nc\\x00\\x1b[1m\\x7f\\x85\\ud800 é 猫"),
    ],
)
def test_a_text_is_shown(text: str, expected: str) -> None:
    names = {"/scratch/out of/run": "run", "/photos/my set": "my set", "/work/project": ".", "/home/me": "~"}
    assert shown(text, names) == expected


def test_folders_have_short_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    names = short_names(Path("results"), [tmp_path / "link"])
    assert names[str(tmp_path / "link")] == "link"
    assert shown(f"{tmp_path}/set/a.png in {tmp_path}/results/runs", names) == "link/a.png in results/runs"
    assert list(names) == sorted(names, key=len, reverse=True)
