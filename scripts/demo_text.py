"""Titles, keywords, authors and licences of Open Clip Art drawings: read from a drawing's RDF and made readable."""

import contextlib
import html
import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PUBLIC_DOMAIN = "http://web.resource.org/cc/PublicDomain"
# The same dedication under its later address, and spelt out: a few files say it that way.
PUBLIC_DOMAIN_NAMES = {PUBLIC_DOMAIN, "http://creativecommons.org/licenses/publicdomain", "Public Domain"}

# Titles that name a series, not the drawing. In the first lot the file name says what is drawn; in the second it does not.
SERIES_NAMED_BY_FILE = re.compile(
    r"clipart by nicu buculei|various cliparts|svg road signs|aiga_symbol_signs|r16 sibmission|etiquette icons"
    r"|australian maps|map symbols|sallite|pc connectors|balloons-aj|chess pieces|advertising",
    re.IGNORECASE,
)
SERIES = re.compile(
    r"part of the flat icon|lemon svg theme|gramastar|svg gradient collection|gold-theme|blueberry|plastik-icon-theme"
    r"|homes clipart|simple arrows|boating rules|menu clip art collection|r15 general|pantyhose|card$|people$|untitled"
    r"|unknown|none$|test$",
    re.IGNORECASE,
)
# Folders of icon themes, where a file name is a program's or a file type's and the picture does not show it.
ICON_FOLDERS = re.compile(r"computer/icons/[^/]+-theme/|shapes/stars/|shapes/jigsaw/|special/gradients/")
ICON_SERIES = re.compile(r"etiquette icons", re.IGNORECASE)

WORDS = tomllib.loads(Path(__file__).with_name("demo_words.toml").read_text(encoding="utf-8"))
JUNK_TAGS, UNFIT, SHORT_WORDS = (set(WORDS[name]) for name in ("junk_tags", "unfit", "short_words"))
NUMBERING = re.compile(r"(?:[\s_.#-]*(?<!\d)(?<!\d[.x])(?:#\d+|0\d+|[12]?\d)(?!\d))+$")
VERSION = re.compile(r"[\s_-]*\bv\.?\s?\d+(?:\.\d+)*$", re.IGNORECASE)
ADDRESS = r"(?:[^\s<(\[]+@[^\s>)\]]+|https?://[^\s>)\]]+)"
CONTACT = re.compile(r"[\s,]*[<(\[]?\s*(?:e-?mail\s*:?\s*)?" + ADDRESS + r"\s*[>)\]]?", re.IGNORECASE)


@dataclass(frozen=True)
class Metadata:
    """What a drawing's RDF says, as it stands there."""

    title: str
    keywords: tuple[str, ...]
    author: str
    licences: tuple[str, ...]


def _local(name: str) -> str:
    return name.rsplit("}", 1)[-1].lower()


def _texts(work: ET.Element, section: str, leaf: str) -> list[str]:
    parts = [part for part in work if _local(part.tag) == section]
    return [(e.text or "").strip() for part in parts for e in part.iter() if _local(e.tag) == leaf]


def parse_metadata(svg: bytes) -> Metadata:
    """Read title, keywords, first creator and every licence statement. Raises `ValueError` where there is no RDF Work."""
    try:
        root = ET.fromstring(svg)
    except ET.ParseError as error:
        raise ValueError(f"not well-formed XML: {error}") from error
    works = [element for element in root.iter() if _local(element.tag) == "work"]
    if not works:
        raise ValueError("no RDF Work")
    licences = [
        next(iter(part.attrib.values()), "") for work in works for part in work if _local(part.tag) == "license"
    ]
    titles = [part.text or "" for part in works[0] if _local(part.tag) == "title"]
    authors = _texts(works[0], "creator", "title")
    return Metadata(
        title=(titles or [""])[0].strip(),
        keywords=tuple(_texts(works[0], "subject", "li")),
        author=(authors or [""])[0],
        licences=tuple(licences),
    )


def is_public_domain(licences: Iterable[str]) -> bool:
    """Whether there is a licence statement and every one of them is the public domain dedication."""
    named = [licence.strip().rstrip("/") for licence in licences]
    return bool(named) and all(name in PUBLIC_DOMAIN_NAMES for name in named)


def unfit(title: str, tags: Iterable[str]) -> bool:
    """Whether title or tags name what does not belong in a demo: bodies, drugs, hate, other people's characters and marks."""
    words = set(re.findall(r"\w+", " ".join([title, *tags]).lower()))
    return bool(words & UNFIT)


def repair_text(text: str) -> str:
    """Undo HTML entities and text that was decoded with the wrong code page; one space between words."""
    for _ in range(2):
        text = html.unescape(text)
    if re.search("[ÂÃ][\x80-\xbf]", text):
        with contextlib.suppress(UnicodeError):
            text = text.encode("latin-1").decode("utf-8")
    text = "".join(bytes([ord(c)]).decode("cp1252", "ignore") if "\x80" <= c <= "\x9f" else c for c in text)
    return re.sub(r"\s+", " ", text).strip()


def clean_author(raw: str) -> str:
    """The author's name without mail and web addresses; empty where the file names nobody."""
    text = repair_text(raw)
    name = CONTACT.sub("", text).strip(" ,.-") or text.strip("<>()[] ").split("@")[0].strip(" ,.-")
    return "" if re.match(r"(hash\(|unknown|none$|anonymous$|c$)", name, re.IGNORECASE) else name


def clean_title(raw: str, author: str = "") -> str:
    """A readable title: no underscores, file endings, addresses, numbering or author's name; empty if nothing is left."""
    text = CONTACT.sub("", repair_text(raw)).replace("_", " ")
    text = re.sub(r"(-aj)?\.svg\b|-aj$|^0\d\s|^clip ?art by [^-]+ - ", "", text, flags=re.IGNORECASE)
    if " " not in text:
        text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text)
    if re.fullmatch(r"[a-zà-ÿ]{2,}(-[a-zà-ÿ]{2,})+[\d-]*", text):
        text = text.replace("-", " ")
    colourless = re.search(r"\s*\(?\bb ?(?:&|and)? ?w\b\)?$", text, re.IGNORECASE)
    text = _without_tails(text[: colourless.start()] if colourless else text, author)
    if len(re.findall(r"[^\W\d_]", text)) < 3:
        return ""
    return text[0].upper() + text[1:] + (" (B and W)" if colourless else "")


def _without_tails(text: str, author: str) -> str:
    before = None
    while before != text:
        before = text
        text = _without_tail(re.sub(r"\s+", " ", text).strip(" -,;:.#'\""), author)
    return text


def _without_tail(text: str, author: str) -> str:
    names = {word.lower() for word in re.findall(r"\w{4,}", author)} | {"openclipart", "clipart"}
    words = text.split(" ")
    if words[-1].lower().strip("()") in names and (len(words) > 1 or words[0].lower() in names - {"openclipart"}):
        return " ".join(words[:-1])
    for tail in (VERSION, NUMBERING):
        shorter = tail.sub("", text)
        if shorter != text and len(re.findall(r"[^\W\d_]", shorter)) >= 3:
            return shorter
    return text


def title_from_path(path: str, author: str = "") -> str:
    """A title out of the file name, for series whose title does not say what is drawn; empty where the name is a code."""
    stem = path.rsplit("/", 1)[-1].removesuffix(".svg")
    stem = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", stem)
    stem = re.sub(r"^(aiga|sport|sm|chesspieces)[_-]|_\d_symbol_\d+c?m_bwh$|_(zazou|RPSWB)$|-aj$|_$", "", stem)
    title = clean_title(re.sub(r"[_-]+", " ", stem), author)
    words = title.removesuffix(" (B and W)").lower().split()
    return "" if any(_is_code(word) for word in words) else title


def _is_code(word: str) -> bool:
    """Whether a word of a file name is no word: one or two letters, letters with digits, or no vowel."""
    return word not in SHORT_WORDS and (
        len(word) < 3 or bool(re.search(r"\d", word)) or not re.search("[aeiouy]", word)
    )


def choose_title(path: str, metadata: Metadata) -> tuple[str, str]:
    """The drawing's title, or "" and the reason why it has none that says what is drawn."""
    author = clean_author(metadata.author)
    icon = ICON_SERIES.match(metadata.title) and path.startswith("computer/")
    if ICON_FOLDERS.match(path) or icon or SERIES.match(metadata.title):
        return "", "title or folder names a series of icons, shapes or numbered pictures"
    if SERIES_NAMED_BY_FILE.match(metadata.title):
        return title_from_path(path, author), "title names a series and the file name is a code"
    title = clean_title(metadata.title, author)
    return title, "no title, or one that is only a number, an address or the author's name"


def clean_tags(keywords: Iterable[str], author: str = "") -> list[str]:
    """Keywords in lower case, once each, in the order given, without technical words, counts and the author's name."""
    words: list[str] = []
    for keyword in keywords:
        text = repair_text(keyword).replace("_", " ").lower()
        parts = [part.strip(" .'\"") for part in re.split(r"[,;|/]", text)]
        words += [word for part in parts for word in (part.split() if part.count(" ") >= 3 else [part])]
    spelt = [WORDS["spelt_out"].get(word, re.sub(r"(?<=[a-z]{4})sym$", " symbol", word)) for word in words]
    unwanted = JUNK_TAGS | {author.lower()}
    good = [word for word in spelt if word not in unwanted and re.match(r"(?!hash\(|0x|\S{19}).*[^\W\d_]{2}", word)]
    return list(dict.fromkeys(good))


def folder_tags(path: str) -> list[str]:
    """The collection's own folders as tags, for a drawing without keywords."""
    return clean_tags(path.split("/")[:-1])


def title_key(title: str) -> str:
    """What two titles share that a reader would call the same: letters only, unless hardly any letters are left."""
    letters = re.sub(r"[\W\d_]+", " ", title.lower()).strip()
    return letters if len(letters) >= 4 else re.sub(r"[\W_]+", " ", title.lower()).strip()
