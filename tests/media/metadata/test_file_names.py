import datetime

import pytest

from media.metadata.dates import Precision
from media.metadata.file_names import moment_of_name

TIME = datetime.datetime(2019, 7, 4, 12, 34, 56)
DAY = datetime.datetime(2019, 7, 4)


@pytest.mark.parametrize(
    "name",
    [
        "IMG_20190704_123456.jpg",
        "IMG_20190704_123456_1.jpg",
        "IMG20190704123456.jpg",
        "MVIMG_20190704_123456.jpg",
        "VID_20190704_123456.mp4",
        "VID_20190704_123456_00_001.insv",
        "P_20190704_123456_vHDR_Auto.jpg",
        "20190704_123456.jpg",
        "20190704123456.jpg",
        "DJI_20190704123456_0001_V.JPG",
        "20190704T123456.jpg",
        "2019-07-04 12.34.56.jpg",
        "2019-07-04 12.34.56-1.jpg",
        "2019-07-04_12-34-56.png",
        "2019_07_04_12_34_56.jpg",
        "2019.07.04 12:34:56.jpg",
        "photo_2019-07-04_12-34-56.jpg",
        "Screenshot_2019-07-04-12-34-56.png",
        "Screenshot_2019-07-04-12-34-56-789.png",
        "Screenshot_20190704-123456_Chrome.jpg",
        "Screenshot from 2019-07-04 12-34-56.png",
        "Screenshot 2019-07-04 at 12.34.56.png",
        "Screen Shot 2019-07-04 at 12.34.56 PM.png",
        "Bildschirmfoto 2019-07-04 um 12.34.56.png",
        "Capture d’écran 2019-07-04 à 12.34.56.png",
        "signal-2019-07-04-123456.jpg",
        "signal-2019-07-04-12-34-56-789.jpg",
        "WhatsApp Image 2019-07-04 at 12.34.56.jpeg",
        "WhatsApp Video 2019-07-04 at 12.34.56 (1).mp4",
        "WIN_20190704_12_34_56_Pro.jpg",
    ],
)
def test_the_time_in_a_name_is_read(name):
    moment = moment_of_name(name)
    assert (moment.clock, moment.zone, moment.precision, moment.kind) == (TIME, None, Precision.TIME, "local")


@pytest.mark.parametrize(
    "name",
    [
        "VID-20190704-WA0001.mp4",
        "IMG-20190704-WA0012(1).jpg",
        "WP_20190704_001.jpg",
        "20190704.jpg",
        "2019-07-04 party.jpg",
        "party 2019.07.04.jpg",
        "IMG_20190704_246060.jpg",
        "IMG_20190704_1234567.jpg",
    ],
)
def test_the_day_in_a_name_is_read(name):
    moment = moment_of_name(name)
    assert (moment.clock, moment.precision) == (DAY, Precision.DAY)


@pytest.mark.parametrize(
    ("name", "clock", "zone", "kind"),
    [
        ("PXL_20210304_050607123.jpg", datetime.datetime(2021, 3, 4, 5, 6, 7, 123000), None, "utc"),
        ("PXL_20210304_050607123.MP.jpg", datetime.datetime(2021, 3, 4, 5, 6, 7, 123000), None, "utc"),
        ("PXL_20210304_050607123~2.jpg", datetime.datetime(2021, 3, 4, 5, 6, 7, 123000), None, "utc"),
        ("20190704_123456789_iOS.jpg", TIME.replace(microsecond=789000), None, "utc"),
        ("20190704T123456Z.jpg", TIME, 0, "local"),
        ("WhatsApp Image 2019-07-04 at 3.34.56 PM.jpeg", datetime.datetime(2019, 7, 4, 15, 34, 56), None, "local"),
        ("00100lPORTRAIT_00100_BURST20190704123456789_COVER.jpg", TIME.replace(microsecond=789000), None, "local"),
        ("FB_IMG_1562236496123.jpg", datetime.datetime(2019, 7, 4, 10, 34, 56, 123000), None, "utc"),
        ("mmexport1562236496123.jpg", datetime.datetime(2019, 7, 4, 10, 34, 56, 123000), None, "utc"),
    ],
)
def test_some_programs_write_more(name, clock, zone, kind):
    moment = moment_of_name(name)
    assert (moment.clock, moment.zone, moment.kind) == (clock, zone, kind)


@pytest.mark.parametrize(
    "name",
    [
        "DSC01234.JPG",
        "IMG_4567.HEIC",
        "GX010123.MP4",
        "GOPR0001.MP4",
        "+4915120190704.jpg",
        "0049 1512 0190704.jpg",
        "2019070412.jpg",
        "120190704.jpg",
        "received_1020190704123456.jpeg",
        "12345678901234.jpg",
        "1562236496123.jpg",
        "3f20190704ab.jpg",
        "20190704ab.jpg",
        "5d2a4c1e-2019-4704-8f1e-0123456789ab.jpg",
        "04-07-2019.jpg",
        "1920x1080.jpg",
        "IMG_20191304_123456.jpg",
        "IMG_20190732_123456.jpg",
        "20199999.jpg",
        "00010101_000000.jpg",
        "FB_IMG_9999999999999.jpg",
        "٢٠١٩٠٧٠٤.jpg",
        "",
        "." * 300,
        "2019-" * 10_000,
    ],
)
def test_ids_counters_and_phone_numbers_are_no_dates(name):
    assert moment_of_name(name) is None
