"""Tables as text, Markdown and CSV."""

from gluon_aff.utils.tables import markdown_table, text_table, write_csv


def test_text_columns_line_up():
    assert text_table(("name", "n"), [("a", 1000), ("longer", 2)], left=1) == [
        "name       n",
        "------  ----",
        "a       1000",
        "longer     2",
    ]


def test_bars_in_markdown_cells_are_escaped():
    assert markdown_table(("a|b", "c"), [(1, "x | y")]) == [r"| a\|b | c |", "| --- | --- |", r"| 1 | x \| y |"]


def test_csv_quotes_what_needs_it(tmp_path):
    write_csv(("name", "n"), [("a,b", 1), ('say "x"', 2)], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == 'name,n\n"a,b",1\n"say ""x""",2\n'
