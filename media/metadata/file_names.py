"""The date that a camera, a phone or a program wrote into the name of a file.

A name may also hold a phone number, an id or a counter. So the digits must stand alone, in the order year, month, day, and be a
possible date. `04-07-2019` is not read, because it is the fourth of July or the seventh of April.
"""

import datetime
import re

from media.metadata.dates import LAST_YEAR, Kind, Moment, parse_moment

_MAX_LETTERS = 255
# IMG_20190704_123456, IMG20190704123456, PXL_20210304_050607123, 2019-07-04 12.34.56, Screenshot_2019-07-04-12-34-56,
# WhatsApp Image 2019-07-04 at 3.34.56 PM, signal-2019-07-04-123456, WIN_20190704_12_34_56_Pro, VID-20190704-WA0001, 2019-07-04 party
_DATE = re.compile(
    r"(?<![0-9A-Za-z])[A-Za-z]*(?P<date>(?:18|19|20)\d\d(?P<dash>[-_.:]?)\d\d(?P=dash)\d\d)"
    r"(?P<time>(?:[-_.T ,]{0,2}|\s\w{1,3}\s)"
    r"(?P<hour>\d{1,2}(?=[-_.:])|\d\d)(?P<colon>[-_.:]?)(?P<minute>\d\d)(?P=colon)(?P<second>\d\d)"
    r"(?:(?P<fraction>\d{3})|[-_.]\d{3})?(?:\s?(?P<half>[AaPp])[Mm])?(?P<zone>Z)?(?![0-9A-Za-z]))?(?![0-9A-Za-z])"
)
_IN_UTC = re.compile(r"PXL_|\d{8}_\d{9}_(?:iOS|Android)", re.IGNORECASE)
# Facebook and WeChat name files by milliseconds since 1970.
_MILLISECONDS = re.compile(r"(?:FB_IMG_|FB_VID_|mmexport|wx_camera_)(\d{13})(?!\d)")


def moment_of_name(name: str) -> Moment | None:
    """The moment in the name of a file, without its folder; None if there is none. Names of Google's and OneDrive's cameras are in UTC."""
    name = name[:_MAX_LETTERS]
    if match := _MILLISECONDS.match(name):
        clock = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=int(match[1]))
        return Moment(clock, kind="utc") if 2000 <= clock.year <= LAST_YEAR else None
    return next((moment for match in _DATE.finditer(name) if (moment := _moment(match, name))), None)


def _moment(match: re.Match[str], name: str) -> Moment | None:
    parts = match.groupdict("")
    date = re.sub(r"\D", "-", parts["date"])
    if parts["time"]:
        text = f"{parts['hour']}:{parts['minute']}:{parts['second']}.{parts['fraction'] or 0} {parts['half'] and parts['half'] + 'M'}"
        date_with_dashes = date if "-" in date else f"{date[:4]}-{date[4:6]}-{date[6:]}"
        kind: Kind = "utc" if _IN_UTC.match(name) else "local"
        if moment := parse_moment(f"{date_with_dashes} {text}{parts['zone']}", kind=kind):
            return moment
    return parse_moment(date)
