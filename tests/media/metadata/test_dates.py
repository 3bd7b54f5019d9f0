import datetime

import pytest

from media.metadata.dates import Moment, Precision, parse_moment, parse_zone

NOON = datetime.datetime(2019, 7, 4, 12, 34, 56)


@pytest.mark.parametrize(
    "text",
    [
        "2019:07:04 12:34:56",
        "2019:07:04 12:34:56\0",
        "2019-07-04 12:34:56",
        "2019-07-04T12:34:56",
        "2019/07/04 12:34:56",
        "2019/07/04/ 12:34:56",
        "2019:7:4 12:34:56",
        "2019: 7: 4 12:34:56",
        "  2019:07:04  12:34:56 ",
        "2019-07-04, 12:34:56",
        "2019:07:04 12.34.56",
        "20190704T123456",
        "20190704 123456",
        "2019:07:04 00:34:56 pm",
        "2019:07:04 12:34:56 PM",
        "Thu, 04 Jul 2019 12:34:56",
        "Thu Jul  4 12:34:56 2019",
        "THU JUL 04 12:34:56 2019",
        "4 Jul 2019 12:34:56",
        "2019:07:04 12:34:56 CEST",
    ],
)
def test_a_time_is_read_in_every_usual_form(text):
    assert parse_moment(text) == Moment(NOON)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2019-07-04T12:34:56Z", 0),
        ("2019-07-04T12:34:56+02:00", 120),
        ("2019:07:04 12:34:56+0200", 120),
        ("2019:07:04 12:34:56 -05:30", -330),
        ("20190704T123456-0800", -480),
        ("2019:07:04 12:34:56 UTC", 0),
        ("Thu, 04 Jul 2019 12:34:56 GMT", 0),
        ("Thu, 04 Jul 2019 12:34:56 +0200", 120),
        ("Thu, 04 Jul 2019 12:34:56 EST", -300),
    ],
)
def test_a_zone_in_the_text_is_read(text, zone):
    assert parse_moment(text) == Moment(NOON, zone)


@pytest.mark.parametrize(
    ("text", "fraction", "zone"),
    [
        ("2019:07:04 12:34:56.123", 123000, None),
        ("2019-07-04T12:34:56.123456789+05:45", 123456, 345),
        ("2019:07:04 12:34:56,5", 500000, None),
    ],
)
def test_fractions_of_a_second_are_read(text, fraction, zone):
    assert parse_moment(text) == Moment(NOON.replace(microsecond=fraction), zone)


@pytest.mark.parametrize(
    ("text", "clock", "precision"),
    [
        ("2019", datetime.datetime(2019, 1, 1), Precision.YEAR),
        ("2019-07", datetime.datetime(2019, 7, 1), Precision.MONTH),
        ("2019:07:04", datetime.datetime(2019, 7, 4), Precision.DAY),
        ("2019:07:04   :  :  ", datetime.datetime(2019, 7, 4), Precision.DAY),
        ("20190704", datetime.datetime(2019, 7, 4), Precision.DAY),
        ("20190700", datetime.datetime(2019, 7, 1), Precision.MONTH),
        ("19850000", datetime.datetime(1985, 1, 1), Precision.YEAR),
        ("2019-07-04T12:34", datetime.datetime(2019, 7, 4, 12, 34), Precision.TIME),
        ("2019-07-04T12:34+02:00", datetime.datetime(2019, 7, 4, 12, 34), Precision.TIME),
    ],
)
def test_a_time_can_be_known_in_part(text, clock, precision):
    moment = parse_moment(text)
    assert (moment.clock, moment.precision) == (clock, precision)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "    :  :     :  :  ",
        "0000:00:00 00:00:00",
        "0001:01:01 00:00:00",
        "9999:12:31 23:59:59",
        "1825:12:31 23:59:59",
        "2101:01:01 00:00:00",
        "2019:00:04 12:34:56",
        "2019-00-00",
        "20190015",
        "2019:02:30 12:34:56",
        "2019:13:01 12:34:56",
        "2019:07:04 24:00:00",
        "2019:07:04 24:60:00",
        "2019:07:04 12:34:70",
        "yesterday",
        "2019-W27-4",
        "Thu, 99 Jul 2019 12:34:56",
        "Thu Jul 04 99999999999999999999",
        "-2019:07:04 12:34:56",
        "2019:07:04 12:34:56 and more",
        "٢٠١٩:٠٧:٠٤ ١٢:٣٤:٥٦",
        "\ud800" * 100,
        "9" * 100_000,
    ],
)
def test_an_impossible_time_is_none(text):
    assert parse_moment(text) is None


def test_a_leap_second_is_the_second_before():
    assert parse_moment("2016:12:31 23:59:60").clock == datetime.datetime(2016, 12, 31, 23, 59, 59)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("+02:00", 120),
        ("+2:00", 120),
        ("+0200", 120),
        ("+02", 120),
        ("+2", 120),
        ("+02:00\0", 120),
        (" +02:00 ", 120),
        ("+02:00:00", 120),
        ("-05:30", -330),
        ("−05:00", -300),
        ("+05:45", 345),
        ("+14:00", 840),
        ("Z", 0),
        ("z", 0),
        ("UTC", 0),
        ("+00:00", 0),
        (2, 120),
        (-5, -300),
        ("+14:15", None),
        ("+25:00", None),
        ("+02:75", None),
        ("   :  ", None),
        ("      ", None),
        ("", None),
        ("CEST", None),
        ("02:00", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (b"+02:00", None),
    ],
)
def test_an_offset_is_read_however_it_is_written_and_a_bad_one_is_none(text, zone):
    assert parse_zone(text) == zone
