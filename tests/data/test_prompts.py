import pytest

from picdesk.data.prompts import Auto, Field, HeadlineTopics, Template
from picdesk.errors import ConfigError

NEWS = {"title": "Bison at large", "tags": tuple("abcdefg")}


def test_headline_with_the_first_five_topics() -> None:
    assert HeadlineTopics().render(NEWS) == "News headline: Bison at large. Related topics: a, b, c, d, e."
    assert HeadlineTopics(2).render(NEWS) == "News headline: Bison at large. Related topics: a, b."


@pytest.mark.parametrize("tags", [(), "", ("",)])
def test_headline_without_topics(tags: object) -> None:
    assert HeadlineTopics().render({"title": "Bison", "tags": tags}) == "News headline: Bison."  # type: ignore[dict-item]


def test_fields_and_templates() -> None:
    assert Field("title").render(NEWS) == "Bison at large"
    assert Field("tags").render(NEWS) == "a, b, c, d, e, f, g"
    assert Template("{title} {{really}}, on {tags}").render(NEWS) == "Bison at large {really}, on a, b, c, d, e, f, g"
    assert Template("a photo of {title}").choose(("title",)).name == "template"


def test_a_missing_field_is_told_with_what_would_fit() -> None:
    message = (
        r"prompt=caption needs the field caption, but the texts have title, tags; "
        r"use prompt=title or prompt=headline_topics or prompt=template prompt\.template='\{title\}'"
    )
    with pytest.raises(ConfigError, match=message):
        Field("caption").choose(("title", "tags"))
    with pytest.raises(
        ConfigError, match="prompt=headline_topics needs the field tags, but the texts have title; use prompt=title"
    ):
        HeadlineTopics().render({"title": "x"})
    with pytest.raises(ConfigError, match="prompt=template needs the field author"):
        Template("{author}").choose(("title",))
    with pytest.raises(ConfigError, match="but the texts have none at all"):
        Field("title").choose(())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("no field", "holds no field"),
        ("{title", "expected '}'"),
        ("{}", "must be the plain name of a field"),
        ("{title.__class__}", "must be the plain name of a field"),
        ("{title[0]}", "must be the plain name of a field"),
        ("{title!r}", "must be the plain name of a field"),
        ("{title:>30}", "must be the plain name of a field"),
    ],
)
def test_templates_that_are_refused(template: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Template(template)


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        (("title", "tags", "caption"), "caption"),
        (("tags", "title", "author"), "headline_topics"),
        (("title", "author"), "title"),
    ],
)
def test_auto_takes_what_suits(fields: tuple[str, ...], chosen: str) -> None:
    assert Auto().choose(fields).name == chosen
    assert Auto().render(dict.fromkeys(fields, "x"))


def test_auto_without_anything_that_suits() -> None:
    with pytest.raises(
        ConfigError, match=r"prompt=auto needs the field title, but the texts have author; use prompt=template"
    ):
        Auto().choose(("author",))


def test_max_tags_below_nothing() -> None:
    with pytest.raises(ConfigError, match=r"prompt\.max_tags=-1"):
        HeadlineTopics(-1)
