"""Prompts: the sentence that is encoded, made out of the fields of a text record.

Each has `render(fields)`; `choose(field_names)`, which gives the prompt to use for a collection with those fields (itself,
once it is certain that they suffice); and `name`, for tables and manifests.
"""

import string
from collections.abc import Sequence

from picdesk.collection import Fields, in_words
from picdesk.errors import ConfigError
from picdesk.parts import config_part

NEEDS = {"caption": ("caption",), "title": ("title",), "headline_topics": ("title", "tags")}


def _options_for(present: Sequence[str]) -> str:
    fits = [option for option, needs in NEEDS.items() if set(needs) <= set(present)]
    fits.append("template prompt.template=" + (f"'{{{present[0]}}}'" if present else "..."))
    return " or ".join(f"prompt={option}" for option in fits)


def need_fields(name: str, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Raise `ConfigError` naming the missing fields, those there are, and the prompt options that would fit."""
    missing = [field for field in wanted if field not in present]
    if missing:
        there = ", ".join(present) or "none at all"
        raise ConfigError(
            f"prompt={name} needs the field {' and '.join(missing)}, but the texts have {there}; use {_options_for(present)}"
        )


@config_part
class Field:
    """One field as it stands."""

    def __init__(self, field: str) -> None:
        self.name = field
        self.field = field

    def choose(self, field_names: Sequence[str]) -> "Field":
        """Itself. Raises `ConfigError` if the field is not there."""
        need_fields(self.name, [self.field], field_names)
        return self

    def render(self, fields: Fields) -> str:
        """The field's text."""
        need_fields(self.name, [self.field], tuple(fields))
        return in_words(fields[self.field])


@config_part
class HeadlineTopics:
    """The headline, and its first few tags as topics, in one sentence each."""

    name = "headline_topics"

    def __init__(self, max_tags: int = 5) -> None:
        if max_tags < 0:
            raise ConfigError(f"prompt.max_tags={max_tags}: 0 or more")
        self.max_tags = max_tags

    def choose(self, field_names: Sequence[str]) -> "HeadlineTopics":
        """Itself. Raises `ConfigError` if title or tags are not there."""
        need_fields(self.name, NEEDS[self.name], field_names)
        return self

    def render(self, fields: Fields) -> str:
        """`News headline: <title>. Related topics: <tags>.`; without tags the first sentence alone."""
        need_fields(self.name, NEEDS[self.name], tuple(fields))
        tags = fields["tags"]
        first = ([tags] if isinstance(tags, str) else list(tags))[: self.max_tags]
        topics = ", ".join(tag for tag in first if tag)
        headline = f"News headline: {in_words(fields['title'])}."
        return f"{headline} Related topics: {topics}." if topics else headline


@config_part
class Template:
    """A sentence of the user's with fields in braces, such as `a photo of {title}`; a list is written with commas."""

    name = "template"

    def __init__(self, template: str) -> None:
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ConfigError(f"prompt.template={template!r}: {error}") from None
        odd = [
            field
            for _, field, spec, conversion in parts
            if field is not None and not _is_plain(field, spec, conversion)
        ]
        if odd:
            raise ConfigError(f"prompt.template={template!r}: {{{odd[0]}}} must be the plain name of a field")
        self.template = template
        self.fields = tuple(dict.fromkeys(field for _, field, _, _ in parts if field))
        if not self.fields:
            raise ConfigError(f"prompt.template={template!r} holds no field, so every text would be the same")

    def choose(self, field_names: Sequence[str]) -> "Template":
        """Itself. Raises `ConfigError` if a field of the template is not there."""
        need_fields(self.name, self.fields, field_names)
        return self

    def render(self, fields: Fields) -> str:
        """The template with its fields filled in."""
        need_fields(self.name, self.fields, tuple(fields))
        return self.template.format_map({field: in_words(fields[field]) for field in self.fields})


def _is_plain(field: str, spec: str | None, conversion: str | None) -> bool:
    return field.isidentifier() and not spec and not conversion


@config_part
class Auto:
    """What suits the fields: the caption where there is one, else headline and topics, else the title."""

    name = "auto"

    def choose(self, field_names: Sequence[str]) -> "Field | HeadlineTopics":
        """The prompt for a collection with these fields. Raises `ConfigError` if none suits."""
        present = set(field_names)
        if "caption" in present:
            return Field("caption")
        if {"title", "tags"} <= present:
            return HeadlineTopics()
        need_fields(self.name, ["title"], tuple(field_names))
        return Field("title")

    def render(self, fields: Fields) -> str:
        """As the prompt that suits this record's fields renders it."""
        return self.choose(tuple(fields)).render(fields)
