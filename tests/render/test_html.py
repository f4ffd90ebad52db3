"""The page: escaped, self-contained, small, well nested, sane on odd input; every chart has a table and a sentence."""

import math
import re
from dataclasses import replace

import pytest

from isograd.records.anatomy import Anatomy, Node
from isograd.records.finding import Evidence, Finding
from isograd.records.reading import Reading, Readings
from isograd.records.report import Report
from isograd.records.run import Epoch, Evaluation, ExampleError, Metric
from isograd.records.schema import DataSummary, Part, Schema
from isograd.render.html import report_page, run_page
from isograd.render.parts import facts

NASTY = "<script>alert('x')</script>\"&'\u202eevil\u0000\ud800 שלום" + "long" * 100
KINDS = ("digits", "sick", "regression", "check")


def page_of(samples, **changes):
    given = {
        "run": samples.run(),
        "summary": None,
        "epochs": (),
        "report": None,
        "evaluation": None,
        "bundle": None,
        "toml": "",
    }
    return run_page(**(given | changes))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_well_nested_and_says_what_it_is(pages, read, kind):
    root = read(pages[kind])
    (html,) = root.all("html")
    assert html.attributes["lang"] == "en"
    assert len(root.all("h1")) == len(root.all("title")) == len(root.all("main")) == 1
    assert root.all("h1")[0].text in root.all("title")[0].text


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_on_a_page_can_reach_outside(pages, read, kind):
    root = read(pages[kind])
    assert not root.all("script") and not root.all("iframe") and not root.all("form")
    assert [link.attributes["href"] for link in root.all("link")] == ["data:,"]
    assert all(image.attributes["src"].startswith("data:image/png;base64,") for image in root.all("img"))
    assert "url(" not in pages[kind] and "@import" not in pages[kind]
    (policy,) = root.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in policy.attributes["content"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_chart_has_a_title_a_sentence_and_a_table(pages, read, kind):
    charts = read(pages[kind]).all("svg", role="img")
    assert charts
    for chart in charts:
        figure = next(element for element in chart.ancestors() if element.tag == "figure")
        (caption,) = figure.all("figcaption")
        assert caption.all("h3")[0].text == chart.attributes["aria-label"]
        assert len(caption.all("p")[0].text) > 10
        assert len(figure.all("table")[0].all("td")) >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_usual_page_is_under_300_kilobytes(pages, kind):
    assert len(pages[kind].encode()) < 300_000


def test_every_picture_says_what_it_shows(pages, read):
    images = read(pages["digits"]).all("img")
    assert len(images) == 24
    assert all(re.search(r"truth \d, answer \d", image.attributes["alt"]) for image in images)


def test_the_headline_of_a_run_that_learned_states_the_figure_and_the_rows(samples, read):
    page = page_of(samples, evaluation=samples.classification(errors=7), report=samples.report())
    assert (
        read(page).all("h1")[0].text == "This model learned: accuracy 0.981 (0.967 to 0.992) on 360 test images it never saw."
    )
    assert "Gradients were healthy." in page


def test_a_model_that_answers_no_better_than_the_largest_class_did_not_learn(samples, read):
    right = Metric("accuracy", 0.5, 0.4, 0.6)
    evaluation = Evaluation("test", "classification", 100, (right,), classes=("no", "yes"), confusion=((50, 0), (50, 0)))
    root = read(page_of(samples, evaluation=evaluation))
    assert root.all("h1")[0].text.startswith("This model did not learn: accuracy 0.50 (0.40 to 0.60) on 100 test rows")
    assert "Always answering “no” would reach 0.500." in root.text


def test_an_interval_that_holds_the_constant_answer_is_undecided(samples, read):
    evaluation = Evaluation("test", "regression", 100, (Metric("r2", 0.1, -0.1, 0.3),))
    assert read(page_of(samples, evaluation=evaluation)).all("h1")[0].text.startswith("It cannot be said whether")


def test_a_critical_finding_before_training_says_that_it_will_not_train(pages, read):
    root = read(pages["check"])
    assert root.all("h1")[0].text == "This will not train."
    assert "97 % sure" in root.all("header")[0].text
    assert (
        root.all("figure")[0].all("h3")[0].text
        == "Gradients shrink by 19 orders of magnitude from layer 30 to layer 1, as foretold"
    )


def test_a_model_that_learned_in_spite_of_an_alarm_says_both(samples, read):
    page = page_of(samples, evaluation=samples.classification(), report=samples.vanishing("watch"))
    root = read(page)
    assert root.all("h1")[0].text.startswith("This model learned")
    assert "But gradients were not healthy: 1 alarm." in root.text


@pytest.mark.parametrize("depth", [1, 2, 200])
def test_any_depth_gives_a_page(samples, read, depth):
    page = report_page(samples.report(depth, 0.1, tuple(range(1, 400)), "watch"))
    root = read(page)
    assert len(page.encode()) < 2_000_000
    assert ("needs two layers" in page or "There are not two layers" in page) == (depth == 1)
    assert len(root.all("svg", role="img")) == (0 if depth == 1 else 4)


def test_ten_thousand_epochs_are_thinned_and_the_page_says_so(samples, read):
    page = page_of(samples, epochs=samples.epochs(10_000), summary=samples.summary(), report=samples.report())
    assert len(page.encode()) < 300_000
    assert "Drawn are the lowest and highest of every stretch of epochs." in read(page).text
    assert "100 of 10,000 rows" in page


def test_a_hundred_classes_stay_readable_and_below_two_megabytes(samples, read):
    page = page_of(samples, evaluation=samples.classification(100, 5_000, 900), summary=samples.summary(100))
    root = read(page)
    assert len(page.encode()) < 2_000_000
    assert "The most frequent confusions" in page and len(root.all("table", class_="confusion")) == 1


def test_a_thousand_classes_show_the_most_frequent_confusions_alone(samples, read):
    page = page_of(samples, evaluation=samples.classification(1_000, 20_000, 900), summary=samples.summary(1_000))
    assert len(page.encode()) < 2_000_000
    assert not read(page).all("table", class_="confusion")


def test_large_pictures_are_left_out_when_the_page_is_full(samples, read):
    heavy = tuple(ExampleError(str(i), "a", "b", 0.5, samples.png(250, i)) for i in range(24))
    page = page_of(samples, evaluation=replace(samples.classification(), errors=heavy))
    assert len(page.encode()) < 1_000_000
    shown = len(read(page).all("img"))
    assert 0 < shown < 24 and f"{24 - shown} pictures did not fit into the page." in page


def test_what_is_no_png_is_not_shown_as_one(samples, read):
    evaluation = replace(samples.classification(), errors=(ExampleError("a", "1", "2", picture='"><script>'),))
    root = read(page_of(samples, evaluation=evaluation))
    assert not root.all("img") and not root.all("script")


def test_nothing_a_person_named_becomes_markup(samples, read):
    finding = Finding(
        NASTY, "critical", 0.9, NASTY, NASTY, (Evidence(NASTY, NASTY, 1.0, NASTY),), (NASTY, NASTY + "2"), NASTY,
        cause=NASTY, remedy=NASTY, references=(NASTY, "https://a.b/<script>", "javascript:alert(1)"),
    )  # fmt: skip
    nodes = tuple(Node(f"{i}{NASTY}", "linear", NASTY, source=NASTY) for i in range(3))
    readings = Readings(tuple(Reading("gradient_rms", node.path, step, 0.1) for node in nodes for step in (1, 2)))
    report = Report("watch", Anatomy(NASTY, nodes, (), loss=NASTY), (finding,), readings=readings, remarks=(NASTY,))
    error = ExampleError(NASTY, NASTY, NASTY, 0.5, samples.png(), ((NASTY, NASTY),))
    evaluation = replace(samples.classification(2), classes=(NASTY, NASTY), errors=(error,), weights=NASTY, part=NASTY)
    schema = Schema("images", 2, NASTY, NASTY, image=(1, 2, 2), classes=(NASTY, NASTY))
    summary = DataSummary(NASTY, schema, (Part(NASTY, 2, (1, 1)),), NASTY, remarks=(NASTY,))
    epochs = (Epoch(1, 1, 0.1, ((NASTY, 0.5),), 0.1, 1.0, 1.0, health=NASTY),)
    run = samples.run(name=NASTY, model=NASTY, task=NASTY, id=NASTY, settings=((NASTY, NASTY),), best_metric=(NASTY, 0.5))
    page = run_page(run=run, summary=summary, epochs=epochs, report=report, evaluation=evaluation, bundle=None, toml=NASTY)
    root = read(page)
    assert "<script" not in page and not root.all("script")
    assert "&lt;script&gt;" in page
    assert not [a for a in root.all("a") if not a.attributes["href"].startswith(("https://", "http://"))]
    assert "\0" not in page
    page.encode("utf-8")


def test_right_to_left_names_do_not_turn_the_page_around(samples, read):
    evaluation = replace(samples.classification(2), classes=("שלום", "عالم"))
    (table,) = read(page_of(samples, evaluation=evaluation)).all("table", class_="confusion")
    assert {cell.text for cell in table.all("bdi")} == {"שלום", "عالم"}


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 0.0, 1e-320, 1e308])
def test_odd_numbers_give_a_page(samples, read, odd):
    epochs = tuple(
        Epoch(i, i, odd if i != 2 else 1.0, (("accuracy", odd), ("log_loss", odd)), odd, odd, 1.0) for i in (1, 2, 3)
    )
    healthy = samples.report(3, steps=(1, 2, 3))
    values = tuple(replace(r, value=odd) if r.step != 2 else r for r in healthy.readings.values)
    finding = Finding("nonfinite", "critical", 1.0, "loss", "x", (Evidence("x", "loss", odd, bound=odd, foretold=odd),))
    report = replace(healthy, readings=replace(healthy.readings, values=values), findings=(finding,))
    metric = Metric("accuracy", odd, odd, odd)
    evaluation = Evaluation("test", "classification", 0, (metric,))
    page = page_of(
        samples, epochs=epochs, report=report, evaluation=evaluation, run=samples.run(seconds=odd, best_metric=("a", odd))
    )
    drawn = re.findall(r' d="([^"]*)"', page)
    assert drawn and not [path for path in drawn if "nan" in path or "inf" in path]
    read(page)


def test_a_loss_that_becomes_nan_is_said_and_leaves_a_gap(samples, read):
    epochs = tuple(Epoch(i, i, math.nan if i > 3 else 1.0 / i, (), 0.1, 1.0, 1.0) for i in range(1, 6))
    text = read(page_of(samples, epochs=epochs)).text
    assert "Training loss is not finite at epoch 5" in text
    assert "Values that are not finite are left out, the first at epoch 4." in text


def test_one_epoch_and_none_are_said(samples, read):
    assert "No epoch was finished." in page_of(samples)
    assert "after one epoch" in read(page_of(samples, epochs=samples.epochs(1))).text


def test_a_large_range_is_drawn_on_a_logarithmic_axis_that_says_so(samples, read):
    def labels(losses):
        made = tuple(Epoch(i, i, loss, (), 0.1, 1.0, 1.0) for i, loss in enumerate(losses, 1))
        return [each.text for each in read(page_of(samples, epochs=made)).all("text", class_="axis")]

    assert "loss (log scale)" in labels([10.0, 1.0, 0.001])
    assert "loss" in labels([10.0, 5.0, 3.0])


def test_the_project_file_is_shown_as_it_ran(samples, read):
    toml = 'name = "<b>&amp;"\n# note\n'
    assert toml in read(page_of(samples, toml=toml)).all("pre")[0].text


def test_every_section_has_its_heading_and_one_line_that_says_what_is_in_it(pages, read):
    for page in pages.values():
        for section in read(page).all("section"):
            summary = section.all("summary")[0]
            assert len(summary.all("h2")) == 1 and len(summary.all("span", class_="gist")[0].text) > 5


def test_a_paper_is_a_link_that_only_a_click_follows(samples, read):
    finding = Finding("x", "warning", 0.5, "loss", "x", references=("Schoenholz et al. 2017, arXiv:1611.01232, eq. 9",))
    (link,) = read(report_page(samples.report(findings=(finding,)))).all("a")
    assert (link.text, link.attributes["href"]) == ("arXiv:1611.01232", "https://arxiv.org/abs/1611.01232")


def test_a_place_that_is_a_bare_number_is_called_a_layer(samples):
    finding = Finding("vanishing", "critical", 0.97, "0", "It does not learn.", layers=("0", "2"))
    page = report_page(samples.report(findings=(finding,)))
    assert "<bdi>layer 0</bdi>" in page and "layer 2" in page and "<code><bdi>0</bdi></code>" not in page


def test_a_page_of_a_watch_that_saw_no_step_does_not_call_it_good():
    page = report_page(Report("watch", Anatomy("torch", (), ())))
    assert "Nothing can be said: no step was seen." in page and "Look closer" in page and "Healthy" not in page


def test_a_fact_that_is_a_sentence_has_a_line_of_its_own():
    long = "answers are 0 % of the way from the best constant answer to perfect ones"
    assert facts([("learned", long)]).count('class="wide"') == 1 and "wide" not in facts([("loss", "cross_entropy")])
