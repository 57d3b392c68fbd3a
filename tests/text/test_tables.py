"""The writers of tables: columns that stand below each other, and text that cannot become markup."""
import html.parser

import pytest

from minires.text.tables import html_cell, html_row, html_table, markdown_row, markdown_table, markdown_text, text_table

ROWS = [("conv1", "144", "a"), ("fc", "1,290", "longer")]
HEAD = ("layer", "numbers", "why")


# ---- text

def test_columns_are_as_wide_as_their_widest_cell_and_no_line_ends_in_spaces():
    assert text_table(ROWS) == ["conv1  144    a",
                                "fc     1,290  longer"]


def test_cells_on_the_right_end_at_the_same_place():
    assert text_table(ROWS, right=[1]) == ["conv1    144  a",
                                           "fc     1,290  longer"]


def test_a_head_widens_its_columns_follows_their_side_and_has_a_line_below():
    assert text_table(ROWS, HEAD, right=[1], rule="=") == ["layer  numbers  why",
                                                          "======================",
                                                          "conv1      144  a",
                                                          "fc       1,290  longer"]


def test_the_line_below_the_head_crosses_what_stands_between_the_columns():
    assert text_table(ROWS, HEAD, between=" | ") == ["layer | numbers | why",
                                                     "------+---------+-------",
                                                     "conv1 | 144     | a",
                                                     "fc    | 1,290   | longer"]


def test_without_rows_there_is_a_head_or_nothing():
    assert text_table([]) == []
    assert text_table([], ("a", "bc")) == ["a  bc", "-----"]


def test_rows_may_come_from_a_generator_and_have_the_same_number_of_cells():
    assert text_table(row for row in ROWS) == text_table(ROWS)
    with pytest.raises(ValueError, match="shorter"):
        text_table([("a", "b"), ("c",)])


# ---- HTML

class Reader(html.parser.HTMLParser):
    """What a browser would find: [(tag, attributes) or text, …]."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.found.append(data)


@pytest.mark.parametrize("text", ["<b>", "a & b", "\"quoted\" 'too'", "&lt;"])
def test_a_cell_shows_its_text_and_nothing_in_it_becomes_markup(text):
    assert Reader(html_cell(text)).found == [("td", {}), text]


def test_a_cell_is_the_text_of_any_value_on_the_side_that_is_wanted():
    assert html_cell([2, 3], "right") == '<td style="text-align:right">[2, 3]</td>'
    assert html_cell("layer", "left", "th") == '<th style="text-align:left">layer</th>'


def test_what_is_html_already_stays():
    assert html_row(["<a>1</a>", "2"], escape=False) == "<tr><td><a>1</a></td><td>2</td></tr>"


def test_each_cell_of_a_row_has_its_side_and_the_row_its_style():
    assert html_row(["a", 1], "th", ("left", "right"), "color:red") == (
        '<tr style="color:red"><th style="text-align:left">a</th><th style="text-align:right">1</th></tr>')
    with pytest.raises(ValueError, match="shorter"):
        html_row(["a", "b"], align=["left"])


def test_a_table_has_its_rows_in_order():
    assert html_table(html_row([text]) for text in "ab") == "<table><tr><td>a</td></tr><tr><td>b</td></tr></table>"
    assert html_table(["<tr></tr>", "<tr></tr>"], between="\n") == "<table>\n<tr></tr>\n<tr></tr>\n</table>"


# ---- Markdown

def test_a_markdown_table_has_a_line_below_its_head():
    assert markdown_table(["a", "b"], [["1", "**2**"], ["3", ""]]) == ["| a | b |", "|---|---|", "| 1 | **2** |", "| 3 |  |"]
    assert markdown_row(["", "x"]) == "|  | x |"


@pytest.mark.parametrize("character", "\\|*_<>[]`")
def test_each_character_that_could_be_markup_is_escaped_once(character):
    assert markdown_text(f"a{character}b{character}") == f"a\\{character}b\\{character}"


def test_other_text_stays():
    assert markdown_text("‖dL/dW‖ = 3.5 (2 to 5)!") == "‖dL/dW‖ = 3.5 (2 to 5)!"
