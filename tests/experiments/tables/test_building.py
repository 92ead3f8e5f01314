"""The command for the tables, from run folders to files; wrong input first."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from scripts.experiments.grid.arms import EXPERIMENTS
from scripts.experiments.tables.building import build_tables
from scripts.experiments.tables.declaration import TABLES
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study, write_mask

REPORTED = "reported, private data"


class Page(HTMLParser):
    """Text, attributes, and whether every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.tags = [], "", []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += " ".join(data.split()) + " "


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "tables"


def test_a_missing_grid_is_refused_and_nothing_written(tmp_path, output):
    with pytest.raises(SystemExit, match=r"error: .*has no folder runs"):
        build_tables(str(tmp_path), str(output))
    assert not output.exists()


def test_mixed_splits_are_refused_and_nothing_written(grid, row, output):
    grid.write("mti_net", [row("a")])
    grid.write("no_tim", [row("a")], split="fold")
    with pytest.raises(SystemExit, match="cannot stand in one table"):
        build_tables(str(grid.root), str(output))
    assert not output.exists()


def test_another_dataset_has_tables_of_its_own(grid, row, output):
    grid.write("mti_net", [row("a")])
    grid.write("cmu_net", [{"case": "a", "slice_dice": 0.8, "dice": 0.7, "slice_hausdorff_mm": 9.0}], split="fold")
    build_tables(str(grid.root), str(output))
    (line,) = (each for each in lines(output / "cmu_net.csv") if each["metric"] == "DSC by slice, %" and each["mean"])
    assert (line["arm"], line["mean"]) == ("cmu_net", "80")


def test_one_run_fills_its_row_and_everything_else_is_missing(grid, row, output, capsys):
    grid.write("mti_net", [row("a", dice=0.6), row("b", dice=0.9)], log=[{"epoch": 1, "val_score": 0.5}])
    (grid.write("no_tim", [row("a"), row("b")]) / "done.json").unlink()
    build_tables(str(grid.root), str(output))
    table = lines(output / "segmentation.csv")
    ours = {line["metric"]: line for line in table if line["arm"] == "mti_net"}
    assert (ours["DSC, %"]["mean"], ours["DSC, %"][REPORTED]) == ("75", "85.23")
    assert (ours["DSC, %"]["converged"], ours["DSC, %"]["why_not_converged"]) == ("False", "only 1 epoch")
    others = [line for line in table if line["arm"] != "mti_net"]
    assert {line["status"] for line in others} == {"missing"}
    assert "77.34" in {line[REPORTED] for line in others}
    text = (output / "tables.md").read_text()
    assert "| UNet | missing | 77.34 | missing | 58.79 |" in text
    assert "not converged (only 1 epoch)" in text
    assert "no_tim/fold0/seed0: not finished" in text
    assert "Look at" in capsys.readouterr().out


def test_the_convexity_check_is_printed_for_ours_and_for_the_reported(grid, row, output, capsys):
    grid.write("mti_net", [row("a"), row("b")])
    build_tables(str(grid.root), str(output))
    printed = capsys.readouterr().out
    assert "Table 1. Segmentation. Our rows: all 1 are possible." in printed
    assert "Rows as reported: 4 of 6 cannot come from one set of cases" in printed
    for name in ("UNet", "ResUNet++", "TransUNet", "EI-DDPM"):
        assert f"{name}: mean IoU" in printed
    assert "MD-FF: mean IoU" not in printed


def test_our_rows_fail_the_check_where_they_are_impossible(grid, row, output, capsys):
    grid.write("mti_net", [row("a") | {"iou": 0.1}, row("b")])
    build_tables(str(grid.root), str(output))
    assert "Our rows: 1 of 1 cannot come from one set of cases. MTI-Net" in capsys.readouterr().out


@pytest.fixture(scope="module")
def whole(module_grid, cohort, row, tmp_path_factory):
    """A grid of three arms, two folds and two seeds, and its tables."""
    grid, seed = module_grid, 0
    for arm, dice in (("mti_net", 0.8), ("unet", 0.7), ("no_tim", 0.79)):
        for fold in (0, 1):
            for run in (0, 1):
                seed += 1
                rows = cohort(dice, 0.1, 0.9, seed=seed)
                if arm == "unet":
                    no_heads = row("a", error=None, correct=None)
                    empty = {k: None for k in no_heads if k.startswith("true_slices") or k.startswith("correct")}
                    rows = [each | empty for each in rows]
                grid.write(arm, rows, fold=fold, seed=run)
    output = tmp_path_factory.mktemp("whole") / "tables"
    build_tables(str(grid.root), str(output), title="Phantom <grid>")
    return output


def test_every_file_of_a_grid(whole):
    names = {path.name for path in whole.iterdir()}
    assert names == {f"{table.key}.csv" for table in TABLES} | {
        "comparisons.csv",
        "confusion.csv",
        "cost.csv",
        "runs.csv",
        "tables.md",
        "tables.html",
        "figures",
    }
    assert {"segmentation.png", "classification-confusion.png", "training.png"} <= {
        path.name for path in (whole / "figures").iterdir()
    }
    runs = lines(whole / "runs.csv")
    assert len(runs) == 12
    assert {(line["commit"], line["hardware"]) for line in runs} == {("abc123", "Test CPU, 2 cores")}
    (unet,) = (line for line in lines(whole / "comparisons.csv") if line["arm"] == "UNet")
    assert unet["verdict"] == "worse"
    assert (unet["against"], unet["subjects"], unet["test"]) == ("MTI-Net", "24", "Wilcoxon signed-rank")


def test_the_page_is_whole_and_opens_offline(whole):
    html = (whole / "tables.html").read_text()
    page = Page(html)
    assert "Phantom <grid>" in page.text
    assert re.findall(r'(?:src|href)="(?!data:image/png|#)', html) == []
    for words in (REPORTED, "Table 1. Segmentation", "Convexity check", "How to read this", "no clinical evidence"):
        assert words in page.text
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"} <= ids
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")


def test_the_same_runs_give_the_same_tables(whole, module_grid, output):
    build_tables(str(module_grid.root), str(output), title="Phantom <grid>")
    for file in whole.glob("*.*"):
        assert file.read_bytes() == (output / file.name).read_bytes(), file.name


def test_a_markdown_table_has_as_many_cells_in_every_line(whole):
    table: list[int] = []
    for line in [*(whole / "tables.md").read_text().splitlines(), ""]:
        if line.startswith("|"):
            table.append(line.count("|"))
        elif table:
            assert len(set(table)) == 1
            assert len(table) > 2
            table = []


def test_files_of_an_earlier_call_do_not_stay_behind(grid, row, output):
    for arm in ("mti_net", "unet"):
        grid.write(arm, [row("a"), row("b")])
    build_tables(str(grid.root), str(output))
    assert (output / "comparisons.csv").exists()
    (grid.folder("unet") / "done.json").unlink()
    build_tables(str(grid.root), str(output))
    assert not (output / "comparisons.csv").exists()


def test_a_new_system_enters_its_table_by_its_overlay_alone(grid, row, output, tmp_path):
    overlays = tmp_path / "experiments"
    shutil.copytree(EXPERIMENTS, overlays)
    (overlays / "novel.yaml").write_text(yaml.safe_dump({"arm": {"name": "Novel", "tables": ["segmentation"]}}))
    grid.write("mti_net", [row("a"), row("b")])
    grid.write("novel", [row("a", dice=0.9), row("b", dice=0.95)])
    build_tables(str(grid.root), str(output), arms_dir=str(overlays))
    (novel,) = (
        line for line in lines(output / "segmentation.csv") if line["name"] == "Novel" and "DSC" in line["metric"]
    )
    assert float(novel["mean"]) == pytest.approx(92.5)


def kept(grid, dataset_dir, row, arms, case="liver-01"):
    study = read_study({each.case: each for each in read_dataset(dataset_dir)}[case])
    for arm in arms:
        folder = grid.write(arm, [row(case, dice=0.5)])
        write_mask(np.roll(study.label, 2, axis=0), study, folder / case / "mask.nii.gz")


def test_figure_3_shows_the_masks_that_were_kept(grid, row, dataset_dir, output):
    kept(grid, dataset_dir, row, ("mti_net", "unet"))
    build_tables(str(grid.root), str(output), dataset_dir=str(dataset_dir))
    assert (output / "figures" / "examples-segmentation.png").stat().st_size > 10_000
    assert "Fig. 3. Examples" in (output / "tables.html").read_text()


def test_figure_3_of_another_dataset_is_refused(grid, row, dataset_dir, output):
    kept(grid, dataset_dir, row, ("mti_net",))
    folder = grid.folder("mti_net")
    (folder / "liver-01").rename(folder / "other-01")
    text = (folder / "per_subject.csv").read_text()
    (folder / "per_subject.csv").write_text(text.replace("liver-01", "other-01"))
    with pytest.raises(SystemExit, match="has no label of other-01"):
        build_tables(str(grid.root), str(output), dataset_dir=str(dataset_dir))


def test_figure_3_without_masks_says_what_to_do(grid, row, dataset_dir, output):
    grid.write("mti_net", [row("liver-01")])
    build_tables(str(grid.root), str(output), dataset_dir=str(dataset_dir))
    assert "keep_masks" in (output / "tables.md").read_text()


def test_a_damaged_mask_costs_figure_3_and_no_table(grid, row, dataset_dir, output):
    kept(grid, dataset_dir, row, ("mti_net", "unet"))
    (grid.folder("unet") / "liver-01" / "mask.nii.gz").write_bytes(b"no image")
    build_tables(str(grid.root), str(output), dataset_dir=str(dataset_dir))
    assert "Fig. 3 is left out" in (output / "tables.md").read_text()
    assert not (output / "figures" / "examples-segmentation.png").exists()
    assert (output / "segmentation.csv").exists()


def test_runs_of_a_system_without_an_overlay_are_named(grid, row, output):
    grid.write("mti_net", [row("a")])
    grid.write("stranger", [row("a")])
    build_tables(str(grid.root), str(output))
    assert "Left out, as no overlay names them: stranger." in (output / "tables.md").read_text()


def test_runs_of_several_sizes_and_of_uncommitted_code_are_pointed_out(grid, row, output):
    grid.write("mti_net", [row("a")], dirty=True)
    folder = grid.write("unet", [row("a")])
    (folder / "cost.json").write_text(json.dumps({"image_size": 256}))
    build_tables(str(grid.root), str(output))
    text = (output / "tables.md").read_text()
    assert "images of different sizes (128, 256 pixels)" in text
    assert "not that of the commit which they name" in text
