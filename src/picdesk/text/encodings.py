"""In which of the usual encodings bytes may be: those that can read them, by how much of what they read is everyday text.

charset-normalizer, which is installed with requests, answers for files; here single lines ask. Of one caption of this project's
tests it takes KOI8-R, ISO 8859-5, Windows-1255 and TIS-620 for others, whether all encodings or only these are allowed (3.5.2).
"""

import re

LEADS = {  # lead bytes of the characters that are most written, in the encodings of two bytes a character
    "euc_kr": (0xB0, 0xC8),
    "gb18030": (0xB0, 0xD7),
    "big5": (0xA4, 0xC6),
    "shift_jis": (0x81, 0x97),
    "euc_jp": (0xA4, 0xCF),
}
CYRILLIC = "оеаинтсрвлкмдпуяіъ"
GREEK = "αοιετσνηυρπκμλάέήίόύώς"
CENTRAL = "áéíóúýčďěňřšťůžąćęłńśźżőűöüäôľĺăâîşţ"
TURKISH = "ığşçöü"
HEBREW = "יוהלארתבשמנםכ"
ARABIC = "ابتدرسعفقكلمنهوية"
THAI = "านรอกเงมยลวดสทต่้ิีัุ"
LETTERS = {  # the letters that are most written, in the encodings of one byte a character; the usual ones first: they win a tie
    "cp1251": CYRILLIC,
    "koi8_r": CYRILLIC,
    "iso8859_5": CYRILLIC,
    "cp866": CYRILLIC,
    "mac_cyrillic": CYRILLIC,
    "cp1253": GREEK,
    "iso8859_7": GREEK,
    "cp1250": CENTRAL,
    "iso8859_2": CENTRAL,
    "cp1254": TURKISH,
    "cp1255": HEBREW,
    "cp1256": ARABIC,
    "iso8859_6": ARABIC,
    "tis_620": THAI,
}
LEAST = 0.3


def likely_encodings(raw: bytes) -> list[str]:
    """At most three of the usual encodings that the bytes can be in, the one that reads most everyday characters first."""
    found = []
    for name in (*LEADS, *LETTERS):
        try:
            text = raw.decode(name)
        except UnicodeDecodeError:
            continue
        score = _lead_share(raw, name) if name in LEADS else _letter_share(text, LETTERS[name])
        found.append((-score, name))
    found.sort(key=lambda pair: pair[0])
    return [name for score, name in found if -score >= LEAST][:3] or [name for _, name in found[:3]]


def sample(raw: bytes, encoding: str) -> str:
    """The first words with other letters than ASCII's, as the encoding reads them."""
    text = raw.decode(encoding, "replace")
    start = next((found.start() for found in re.finditer(r"[^\x00-\x7f]", text)), 0)
    start = max(text.rfind(mark, 0, start) for mark in " \n\t,;") + 1
    return re.split(r"[\r\n]", text[start : start + 24])[0].strip()


def _lead_share(raw: bytes, name: str) -> float:
    """How many characters begin with a usual byte; outside Big5 and Shift JIS their second byte is no ASCII either."""
    (first, last), any_second = LEADS[name], name in ("big5", "shift_jis")
    pairs: list[bytes] = re.findall(rb"[\x80-\xff].", raw, re.DOTALL)
    return sum(first <= pair[0] <= last and (any_second or pair[1] > 0xA0) for pair in pairs) / max(1, len(pairs))


def _letter_share(text: str, usual: str) -> float:
    """How much of the text beyond ASCII is letters of the usual ones: 1 for each, less for others, and less than nothing for
    signs and for capitals within words. Accented letters stand among plain ones; words of them alone count nothing."""
    scores = []
    for before, letter in zip(" " + text, text, strict=False):
        if letter < "\x80":
            continue
        if letter in usual:
            scores.append(1.0)
        elif letter.lower() in usual and letter.isupper() and not before.isalpha():
            scores.append(0.8)
        else:
            scores.append(0.3 if letter.isalpha() and not letter.isupper() else -0.3)
    words = [word for word in re.findall(r"\w+", text) if not word.isascii()] if usual in (CENTRAL, TURKISH) else []
    mixed = sum(re.search("[A-Za-z]", word) is not None for word in words) / len(words) if words else 1.0
    return mixed * sum(scores) / max(1, len(scores))
