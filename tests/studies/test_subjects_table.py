from __future__ import annotations

from pathlib import Path

import pytest

from scripts.domain.errors import DatasetError
from scripts.studies.layout import read_dataset

HEADER = "case,class,split,fold,site,t_pre,t_arterial,t_portal_venous,t_delayed\n"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("case,class\na,hcc\n", r"lacks the column\(s\) split, fold"),
        (HEADER, "lists no case"),
        (HEADER + "a,cyst,train,0,x,,,,\n", r"a: unknown class 'cyst'\. Use one of hemangioma, hcc, none"),
        (HEADER + "a,,train,0,x,,,,\n", "a: unknown class ''.*empty only on test cases"),
        (HEADER + "a,hcc,tran,0,x,,,,\n", "a: unknown split 'tran'"),
        (HEADER + "a,hcc,train,9,x,,,,\n", "a: fold '9' is not 0-4"),
        (HEADER + "a,hcc,train,0,x,0,nan,,\n", "a: t_arterial 'nan' is not a number"),
        (HEADER + "a/b,hcc,train,0,x,,,,\n", "case id 'a/b' cannot name a file"),
        (HEADER + "a,hcc,train,0,x,,,,\n" * 2, r"a: listed 2 times\. Keep one row"),
        (HEADER + "a,cyst,tran,9,x,,,,\n", r"3 fault\(s\)"),
    ],
)
def test_a_table_that_breaks_its_contract_is_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "subjects.csv").write_text(table)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "subjects.csv").write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(DatasetError, match="not a UTF-8 comma-separated table"):
        read_dataset(tmp_path)


def test_a_table_from_a_spreadsheet_is_read(dataset_dir: Path) -> None:
    text = (dataset_dir / "subjects.csv").read_text()
    (dataset_dir / "subjects.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").replace(",", " ,").encode())
    assert [case.case for case in read_dataset(dataset_dir)] == [f"liver-0{i}" for i in range(1, 6)]


def test_a_test_case_may_be_of_unknown_class(tmp_path: Path) -> None:
    (tmp_path / "subjects.csv").write_text(HEADER + "a,,test,,x,,,,\n")
    (case,) = read_dataset(tmp_path)
    assert case.tumour_class == ""
