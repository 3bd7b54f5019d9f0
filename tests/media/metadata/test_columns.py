import pytest

from docs.make_docs import tags_of_columns
from media.metadata.columns import COLUMNS, POSITIONS, columns_of
from media.metadata.taken import DATES
from search.schema import FileColumns
from search.schema import columns_of as columns_of_record


def test_every_column_of_the_table_is_a_column_of_a_collection():
    assert set(COLUMNS) <= {column.name for column in columns_of_record(FileColumns)}


def test_the_docs_show_every_tag():
    shown = tags_of_columns()
    assert [tag for _, tags in COLUMNS.values() for tag in tags if f"`{tag}`" not in shown] == []
    assert [tag for name in POSITIONS for tag in ([name] if isinstance(name, str) else name[:2]) if f"`{tag}`" not in shown] == []
    assert [date.tag for date in DATES if f"`{date.tag}`" not in shown] == []


@pytest.mark.parametrize("column", ["title", "description", "camera", "lens"])
def test_the_first_tag_of_a_text_that_is_not_empty_counts(column):
    tags = [tag for tag in COLUMNS[column][1] if not tag.lower().endswith(("lensspecification", "lensinfo", "make", "manufacturer"))]
    for number in range(len(tags)):
        known = {tag: "" if place < number else f"text {place}" for place, tag in enumerate(tags)}
        assert columns_of(known)[column] == f"text {number}"


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D70", "NIKON D70"),
        ("EASTMAN KODAK COMPANY", "KODAK CX7530 ZOOM", "KODAK CX7530 ZOOM"),
        ("LG Electronics", "LG-H815", "LG-H815"),
        ("samsung", "SAMSUNG-SM-G900A", "SAMSUNG-SM-G900A"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("OLYMPUS IMAGING CORP.", "E-M1", "OLYMPUS IMAGING CORP. E-M1"),
        ("Sony", "Sony", "Sony"),
        ("Sony", None, "Sony"),
        (None, "X-1", "X-1"),
        ("", " ", None),
        (5, ("a", "b"), "a"),
    ],
)
def test_the_maker_is_not_repeated(make, model, camera):
    tags = {"Exif.Image.Make": make, "Exif.Image.Model": model}
    assert columns_of({tag: value for tag, value in tags.items() if value is not None}).get("camera") == camera


@pytest.mark.parametrize(
    ("tags", "lens"),
    [
        ({"Exif.Photo.LensModel": "EF50mm f/1.8 II"}, "EF50mm f/1.8 II"),
        ({"Exif.Photo.LensModel": "----", "Xmp.aux.Lens": "EF50mm f/1.8 II"}, "EF50mm f/1.8 II"),
        ({"Exif.Photo.LensModel": "0.0 mm f/0.0"}, None),
        ({"Exif.Photo.LensModel": "Unknown (-1)"}, None),
        ({"Exif.Photo.LensModel": "65535"}, None),
        ({"Exif.Photo.LensSpecification": (24.0, 70.0, 2.8, 2.8)}, "24-70mm f/2.8"),
        ({"Exif.Photo.LensSpecification": (18.0, 55.0, 3.5, 5.6)}, "18-55mm f/3.5-5.6"),
        ({"Exif.Photo.LensSpecification": (50.0, 50.0, 1.8, 1.8)}, "50mm f/1.8"),
        ({"Exif.Photo.LensSpecification": (50.0, 50.0, float("nan"), float("nan"))}, "50mm"),
        ({"Exif.Photo.LensSpecification": (0.0, 0.0, 0.0, 0.0)}, None),
        ({"Exif.Photo.LensSpecification": (50.0,)}, None),
        ({"Xmp.aux.LensInfo": "24/1 70/1 28/10 0/0"}, "24-70mm f/2.8"),
        ({"Xmp.aux.LensInfo": "a/b c"}, None),
    ],
)
def test_a_lens_is_its_model_or_its_focal_lengths(tags, lens):
    assert columns_of(tags).get("lens") == lens


@pytest.mark.parametrize(
    "default",
    [
        "OLYMPUS DIGITAL CAMERA",
        "OLYMPUS DIGITAL CAMERA         ",
        "KONICA MINOLTA DIGITAL CAMERA",
        "SONY DSC",
        "Exif_JPEG_PICTURE",
        "SAMSUNG",
        "<Digimax i50 MP3, Samsung #1 MP3>",
        "DCIM\\100GOPRO",
        "Created with GIMP",
        "Created with The GIMP",
        "cof_vivid",
        "hdrpl",
        "dav",
        '{"mirror":false}',
        "   ",
    ],
)
def test_what_a_camera_writes_into_every_picture_is_no_description(default):
    assert columns_of({"Exif.Image.ImageDescription": default}).get("description") is None
    assert columns_of({"Exif.Image.ImageDescription": default, "Exif.Photo.UserComment": "a dog"})["description"] == "a dog"


@pytest.mark.parametrize("caption", ["HDR of the lake", "northern lights", "My digital camera", "Samsung factory", "burst pipe", "editor"])
def test_a_caption_is_kept(caption):
    assert columns_of({"Exif.Image.ImageDescription": caption})["description"] == caption


def test_keywords_are_collected_from_all_tags_each_once():
    tags = {
        "Exif.Image.XPKeywords": "lake; Paris ;",
        "Iptc.Application2.Keywords": ("Lake", "AC/DC"),
        "Xmp.dc.subject": ("lake", "Ada, Grace"),
        "Xmp.lr.hierarchicalSubject": ("Places|Europe|Paris",),
        "Xmp.digiKam.TagsList": ("Places/Europe/Lyon",),
        "QuickTime.keywords": "film,summer",
    }
    assert columns_of(tags)["keywords"] == ("lake", "Ada, Grace", "Paris", "Lyon", "AC/DC", "film", "summer")


@pytest.mark.parametrize(
    ("tags", "stars"),
    [
        ({"Xmp.xmp.Rating": "4"}, 4),
        ({"Xmp.xmp.Rating": "0"}, 0),
        ({"Xmp.xmp.Rating": "3.0"}, 3),
        ({"Xmp.xmp.Rating": "-1"}, None),
        ({"Xmp.xmp.Rating": "six"}, None),
        ({"Xmp.xmp.Rating": "999"}, None),
        ({"Xmp.xmp.Rating": "nan"}, None),
        ({"Exif.Image.Rating": 5}, 5),
        ({"Exif.Image.Rating": (3, 3)}, 3),
        *(({"Exif.Image.RatingPercent": percent}, wanted) for percent, wanted in ((1, 1), (25, 2), (50, 3), (75, 4), (99, 5), (100, 5))),
        ({"Xmp.MicrosoftPhoto.Rating": "75"}, 4),
        ({"QuickTime.WM/SharedUserRating": "99"}, 5),
        ({"Xmp.xmp.Rating": "2", "Exif.Image.Rating": 5}, 2),
    ],
)
def test_a_rating_is_0_to_5_stars(tags, stars):
    assert columns_of(tags).get("rating") == stars


def test_tags_of_films_are_found_in_upper_case_and_with_a_language():
    tags = {"QuickTime.TITLE": "Lake", "QuickTime.location-eng": "+47.5383-002.8919/", "QuickTime.description-deu": "See"}
    assert columns_of(tags) == {"title": "Lake", "description": "See", "latitude": 47.5383, "longitude": -2.8919}


def test_texts_and_lists_have_a_limit():
    found = columns_of({"Xmp.dc.description": "x" * 10**6, "Xmp.dc.subject": tuple(map(str, range(10**5)))})
    assert (len(found["description"]), len(found["keywords"])) == (10_000, 1_000)
