"""Figures from specs: which files, what is in them, and that no text in them is obeyed."""

import dataclasses
from pathlib import Path

import pytest
from made_reports import made, result, results, spec

from hf_unlearn.audit import _figures
from hf_unlearn.audit._figures import draw_figures


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Draws a report and gives the figures by file name, laid out as they are saved."""
    saved = {}
    real = _figures._save

    def watched(figure, path: Path) -> None:
        real(figure, path)
        saved[len(saved)] = figure

    monkeypatch.setattr(_figures, "_save", watched)

    def draw(report):
        saved.clear()
        paths = draw_figures(report, tmp_path)
        assert all(path.read_bytes().startswith(b"\x89PNG") and path.parent == tmp_path for path in paths)
        return dict(zip((path.name for path in paths), saved.values(), strict=True))

    return draw


def texts(figure) -> str:
    from matplotlib.text import Text

    return "\n".join(found.get_text() for found in figure.findobj(Text))


def test_one_figure_for_each_headline_metric_and_one_for_all_layers(drawn):
    figures = drawn(made())
    assert list(figures) == ["gap.png", "recall.png", "representation.png"]
    forget, retain = figures["gap.png"].axes
    assert len(forget.patches) == 5  # twin, candidate, candidate after int8, original, band of the floor
    assert [bar.get_height() for bar in forget.patches[:4]] == [1.0, 4.0, 8.0, 10.0] and len(retain.patches) == 4
    assert "after int8" in texts(figures["gap.png"]) and "a retrained model has 0" in texts(figures["gap.png"])
    (recall,) = figures["recall.png"].axes
    dashed = [line for line in recall.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [0.2]  # of the retrained model
    assert "Recall of the answer" in texts(figures["recall.png"])
    heat, _ = figures["representation.png"].axes
    # |value − ideal| / |start − ideal|
    assert heat.images[0].get_array().round(2).tolist() == [[0.4, 0.5, 0.11]] and "twist of states" in texts(
        figures["representation.png"]
    )


def test_what_has_no_scale_has_no_colour_and_what_has_no_interval_a_pale_one(drawn):
    """An original at the ideal itself, or none, gives no unit to measure distances in: that is not "as retrained"."""
    layers = {
        "1": result("twist", 9.0, start=0.0),
        "2": result("twist", 9.0, start=None),
        "3": result("twist", 109.0, confidence_interval=None),
        "4": result("twist", 9.0),
        "5": result("twist", 9.0, ideal=None),
    }
    figure = drawn(made(result("twist", 9.0, by_layer=layers, family="hidden states")))["representation.png"]
    heat, _ = figure.axes
    (image,) = heat.images
    assert image.get_array().mask.tolist() == [[True, True, False, False, True]]
    assert image.get_array().compressed().tolist() == [2.0, 0.9]
    (hatched,) = heat.patches
    assert hatched.get_hatch()
    assert [hatched.get_path().contains_point((column, 0)) for column in range(5)] == [True, True, False, False, True]
    assert image.get_alpha()[0, 2] < 0.5 and image.get_alpha()[0, 3] == 1
    shade = dict(zip(("large without interval", "small with one"), (heat.texts[2], heat.texts[3]), strict=True))
    assert {text.get_color() for text in shade.values()} == {"black"}
    assert "pale: without an interval" in texts(figure) and "hatched: no scale" in texts(figure)
    note = figure.findobj(lambda found: getattr(found, "get_text", str)() == _figures._SHADES)[0].get_window_extent()
    assert note.x0 >= 0 and note.x1 <= figure.bbox.x1 and note.y0 >= 0


def test_the_dashed_line_is_explained_and_strikes_no_number(drawn):
    figures = drawn(made(*results(), dataclasses.replace(results()[3], split="retain")))
    (legend,) = figures["recall.png"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["dashed: the ideal on that set"]
    assert not figures["gap.png"].legends  # its ideal is a number, in the title
    for axes in figures["recall.png"].axes:
        (line,) = (line for line in axes.lines if line.get_linestyle() == "--")
        assert axes.texts and all(text.zorder > line.zorder and text.get_bbox_patch() for text in axes.texts)


def test_negative_values_have_room(drawn):
    (axes,) = drawn(made(result("gap", -4.0, ideal=None, direction="none")))["gap.png"].axes
    assert axes.get_ylim()[0] < -4.0
    assert drawn(made())["gap.png"].axes[0].get_ylim()[0] == 0


def test_a_relative_that_means_nothing_is_not_in_the_title(drawn):
    dull = result("gap", 4.0, over_floor_interval=(-1.0, 5.0), start_over_floor_interval=(-1.0, 19.0))
    assert "relative" not in texts(drawn(made(dull))["gap.png"]) and "relative 0.33" in texts(drawn(made())["gap.png"])


def test_an_interval_without_end_hides_no_bar(drawn):
    """Three clusters may leave a bound of 1e300."""
    (axes,) = drawn(made(result("gap", 4.0, start_confidence_interval=(1.0, 1e304))))["gap.png"].axes
    assert 10 < axes.get_ylim()[1] < 50
    assert sum("(interval to 1e+304)" in text.get_text() for text in axes.texts) == 1, (
        "it does not end where it is cut"
    )


def test_what_is_not_there_is_not_drawn(drawn):
    assert drawn(made(result("spread", 1.0))) == {}
    bare = result(
        "gap", 4.0, floor=None, start=None, relative=None, floor_confidence_interval=None, confidence_interval=None
    )
    (axes,) = drawn(made(bare))["gap.png"].axes
    assert len(axes.patches) == 1


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize(
    "title", [r"costs $\frac{1}{0}$ and $x", "$", r"\$a\$ $$", "a" * 300, "{} %s {x}", "<b>&amp;", "見出し"]
)
def test_no_title_is_a_formula(title: str, drawn):
    """mathtext would raise, or show something else than is written."""
    evil = [dataclasses.replace(found, condition=title[:30]) for found in (result("gap", 4.0), *results()[4:5])]
    named = {
        name: spec(title, unit=title, by_layer=name == "twist", family="hidden states") for name in ("gap", "twist")
    }
    figures = drawn(made(*evil, **named))
    assert set(figures) == {"gap.png", "representation.png"}
    assert (
        title[:5].replace("$", "").lower() in texts(figures["gap.png"]).replace("$", "").replace("\\", "").lower()
        or "\\" in title
    )


@pytest.mark.parametrize(
    "name", ["../../up", "/etc/passwd", "representation", "a\\b", ".hidden", "n" * 250, "nul\0l", "ä ö"]
)
def test_no_name_leaves_the_folder(name: str, drawn, tmp_path: Path):
    """Nor takes the place of another figure."""
    figures = drawn(made(result(name, 4.0), results()[4], **{name: spec("gap")}))
    assert len(figures) == 2 and "representation.png" in figures
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(figures)


def test_a_report_without_measure_is_drawn_in_measure(drawn, monkeypatch: pytest.MonkeyPatch):
    """Somebody else's: many metrics, sets, conditions and layers, numbers beyond any axis."""
    monkeypatch.setattr(_figures, "_FIGURES", 2)
    many = [
        result(f"m{number}", 1.7e308, split=f"s{place}", ideal=-1.7e308) for number in range(5) for place in range(9)
    ]
    many += [result("m1", 1.0, split="s0", condition=f"c{number}") for number in range(40)]
    layers = {str(7 * number): result("deep", -1.7e308, start=1.7e308) for number in range(400)}
    many += [result(f"deep{number}", 1.0, by_layer=layers, split="s0") for number in range(70)]
    specs = {f"m{number}": spec(f"m{number}") for number in range(5)} | {
        f"deep{number}": spec("d", by_layer=True) for number in range(70)
    }
    figures = drawn(made(*many, **specs))
    assert list(figures) == ["m0.png", "m1.png", "representation.png"]
    assert all(size <= _figures._INCHES for figure in figures.values() for size in figure.get_size_inches())
    assert len(figures["m1.png"].axes) == _figures._PANELS
