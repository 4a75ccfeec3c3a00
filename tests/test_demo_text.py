"""Pure functions behind the demo set: what is read from a drawing's RDF and how it is cleaned."""

import pytest
from scripts.demo_text import (
    PUBLIC_DOMAIN,
    Metadata,
    choose_title,
    clean_author,
    clean_tags,
    clean_title,
    folder_tags,
    is_public_domain,
    parse_metadata,
    repair_text,
    title_from_path,
    title_key,
    unfit,
)


def svg(licence=f'<cc:license rdf:resource="{PUBLIC_DOMAIN}"/>', more=""):
    return f"""<svg xmlns="http://www.w3.org/2000/svg"><metadata>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:cc="http://web.resource.org/cc/"
         xmlns:dc="http://purl.org/dc/elements/1.1/">
<cc:Work rdf:about=""><dc:title> Owl on Branch </dc:title>
<dc:subject><rdf:Bag><rdf:li>owl</rdf:li><rdf:li/><rdf:li>bird</rdf:li></rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>the publisher</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>Gerald G.</dc:title></cc:Agent></dc:creator>{licence}</cc:Work>{more}
<cc:License rdf:about="{PUBLIC_DOMAIN}"/></rdf:RDF></metadata></svg>""".encode()


def test_metadata_is_read_from_the_work():
    assert parse_metadata(svg()) == Metadata("Owl on Branch", ("owl", "", "bird"), "Gerald G.", (PUBLIC_DOMAIN,))


def test_a_second_work_adds_its_licence():
    more = '<cc:Work><cc:license rdf:resource="http://creativecommons.org/licenses/GPL/2.0/"/></cc:Work>'
    assert not is_public_domain(parse_metadata(svg(more=more)).licences)


def test_a_licence_described_but_not_given_to_the_work_does_not_count():
    assert parse_metadata(svg(licence="")).licences == ()


@pytest.mark.parametrize("bad", [b"<svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_a_file_without_rdf_is_an_error(bad):
    with pytest.raises(ValueError, match=r"RDF|XML"):
        parse_metadata(bad)


@pytest.mark.parametrize(
    ("licences", "free"),
    [
        ([PUBLIC_DOMAIN], True),
        (["http://creativecommons.org/licenses/publicdomain/"], True),
        ([PUBLIC_DOMAIN, "Public Domain"], True),
        ([], False),
        ([""], False),
        (["http://creativecommons.org/licenses/by-sa/2.0/"], False),
        ([PUBLIC_DOMAIN, "http://creativecommons.org/licenses/GPL/2.0/"], False),
        (["http://example.org/not/PublicDomain"], False),
    ],
)
def test_only_the_public_domain_dedication_passes(licences, free):
    assert is_public_domain(licences) is free


@pytest.mark.parametrize(
    ("raw", "author", "title"),
    [
        ("  Owl on  Branch\n", "", "Owl on Branch"),
        ("tennis_racket", "", "Tennis racket"),
        ("arrow-down-blue", "", "Arrow down blue"),
        ("t-shirt", "", "T-shirt"),
        ("Uccello profilo 02", "", "Uccello profilo"),
        ("bee1", "", "Bee"),
        ("BlueMan#101", "", "Blue Man"),
        ("microchip v.2", "", "Microchip"),
        ("00_moonphases_openclipart", "", "Moonphases"),
        ("books-aj.svg", "AJ Ashton", "Books"),
        ("Pinzatrice Rollandin", "Architetto Francesco Rollandin", "Pinzatrice"),
        ("Telefono (email: a@b.it)", "", "Telefono"),
        ("Cassa d&#39;epoca", "", "Cassa d'epoca"),
        ("Croissant (B &amp; W)", "", "Croissant (B and W)"),
        ("glace_01_bw", "", "Glace (B and W)"),
        ("Clipart by A. N. Other - Big Tree", "", "Big Tree"),
        # numbers that mean something stay
        ("Route 66", "", "Route 66"),
        ("Iraqi flag 1959-1963", "", "Iraqi flag 1959-1963"),
        ("MPCAD Box 30x20x100", "", "MPCAD Box 30x20x100"),
        ("Probability from 0.0 to 1.0", "", "Probability from 0.0 to 1.0"),
        ("AK47", "", ""),
        # nothing is left
        ("Mirjam Meijer", "Mirjam Meijer", ""),
        ("someone@example.org", "", ""),
        ("12", "", ""),
        ("", "", ""),
    ],
)
def test_titles_are_cleaned(raw, author, title):
    assert clean_title(raw, author) == title


def test_cleaning_a_clean_title_changes_nothing():
    for title in ("Owl on Branch", "Glace (B and W)", "Traffic Light: Green", "Lézard", "Ice Cream Cone (1 Scoop)"):
        assert clean_title(title) == title


@pytest.mark.parametrize(
    ("raw", "text"),
    [("L&Atilde;&copy;zard", "Lézard"), ("Mikolá\x9a", "Mikoláš"), ("Aragón", "Aragón"), ("&amp;amp;", "&")],
)
def test_broken_text_is_repaired(raw, text):
    assert repair_text(raw) == text


@pytest.mark.parametrize(
    ("raw", "author"),
    [
        ("Jo Doe", "Jo Doe"),
        ("Jo Doe <jo@example.org>", "Jo Doe"),
        ("Jo [jo@example.org]", "Jo"),
        ("Jo, http://example.org/~jo/", "Jo"),
        ("jo@example.org", "jo"),
        ("HASH(0x89c79d4)", ""),
        ("None", ""),
        ("c...", ""),
    ],
)
def test_authors_are_named_without_addresses(raw, author):
    assert clean_author(raw) == author


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("animals/bugs/bee.svg", "Bee"),
        ("signs/aiga_no_smoking1.svg", "No smoking"),
        ("signs/RisqueBiologique.svg", "Risque Biologique"),
        ("signs/flower_bed_0_symbol_1m_bwh.svg", "Flower bed"),
        ("food/pear_simple_bw.svg", "Pear simple (B and W)"),
        ("people/ppl1.svg", ""),
        ("shapes/cloud_c.svg", ""),
        ("shapes/fc01.svg", ""),
    ],
)
def test_file_names_give_a_title_unless_they_are_codes(path, title):
    assert title_from_path(path) == title


@pytest.mark.parametrize(
    ("path", "title", "chosen"),
    [
        ("animals/owl.svg", "Owl on Branch", "Owl on Branch"),
        ("animals/bugs/ant.svg", "Etiquette Icons", "Ant"),
        ("computer/folder.svg", "Etiquette Icons", ""),
        ("animals/seal.svg", "Clipart by Nicu Buculei - contour_chipmunk", "Seal"),
        ("computer/icons/flat-theme/apps/kate.svg", "Kate", ""),
        ("recreation/games/card_7.svg", "Card", ""),
    ],
)
def test_a_series_title_is_not_taken_for_the_drawings(path, title, chosen):
    found, reason = choose_title(path, Metadata(title, (), "Jo Doe", (PUBLIC_DOMAIN,)))
    assert found == chosen
    assert reason


def test_tags_are_cleaned_in_the_order_given():
    raw = [
        "Owl",
        "",
        " owl ",
        "unsorted",
        "HASH(0x8a3ecd4)",
        "0xa120760",
        "11",
        "road_sign",
        "icecream",
        "weathersym",
        "Jo Doe",
    ]
    assert clean_tags(raw, "Jo Doe") == ["owl", "road sign", "ice cream", "weather symbol"]


def test_lists_in_one_keyword_are_split():
    assert clean_tags(["space astronomy planet mars", "us flag", "sun;moon, star"]) == [
        *("space", "astronomy", "planet", "mars", "us flag", "sun", "moon", "star")
    ]


def test_folders_stand_in_for_keywords():
    assert folder_tags("science/medicine/pills.svg") == ["science", "medicine"]
    assert folder_tags("unsorted/pills.svg") == []


def test_titles_that_differ_in_case_or_number_only_share_a_key():
    assert title_key("Dots 01 pattern") == title_key("dots 14 Pattern")
    assert title_key("Pear") != title_key("Pear (B and W)")
    assert title_key("M16") != title_key("M4")


def test_unfit_words_are_found_whole():
    assert unfit("A Sexy lady", [])
    assert unfit("Camera", ["microsoft"])
    assert not unfit("Cocktail", ["sextant"])
