from smdsb_jax.markdown import markdown_table


def test_columns_line_up():
    assert markdown_table(["a", "clouds"], [["chair", "7"], ["x", "12,345,678"]]) == (
        "| a     | clouds     |\n| ----- | ---------- |\n| chair | 7          |\n| x     | 12,345,678 |"
    )


def test_a_table_without_lines_has_its_head():
    assert markdown_table(["a"], []) == "| a   |\n| --- |"
