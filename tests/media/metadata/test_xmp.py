import pytest

from media.metadata.columns import columns_of
from media.metadata.xmp import MAX_BYTES, xmp_tags
from tests.media.metadata.builders import NAMESPACES, xmp, xmp_list


def region(name, kind="Face", *, as_attributes=False):
    if as_attributes:
        return (
            f'<rdf:li><rdf:Description mwg-rs:Name="{name}" mwg-rs:Type="{kind}"><mwg-rs:Area stArea:x="0.5"/></rdf:Description></rdf:li>'
        )
    fields = f'<mwg-rs:Area stArea:x="0.5"/><mwg-rs:Name>{name}</mwg-rs:Name><mwg-rs:Type>{kind}</mwg-rs:Type>'
    return f'<rdf:li rdf:parseType="Resource">{fields}</rdf:li>'


def regions(*items):
    inner = f"<mwg-rs:RegionList><rdf:Bag>{''.join(items)}</rdf:Bag></mwg-rs:RegionList>"
    return f'<mwg-rs:Regions rdf:parseType="Resource">{inner}</mwg-rs:Regions>'


@pytest.mark.parametrize(
    "packet", [xmp('xmp:Rating="4"'), xmp(inner="<xmp:Rating>4</xmp:Rating>"), xmp(inner="<xmp:Rating> 4\n</xmp:Rating>")]
)
def test_a_property_is_an_attribute_or_an_element(packet):
    assert xmp_tags(packet) == {"Xmp.xmp.Rating": "4"}


def test_lists_are_tuples_and_of_languages_the_default_counts():
    languages = '<rdf:li xml:lang="de">See</rdf:li><rdf:li xml:lang="x-default">Lake</rdf:li>'
    inner = xmp_list("dc:subject", "one", "two", "") + f"<dc:title><rdf:Alt>{languages}</rdf:Alt></dc:title>" + xmp_list("dc:creator", "Me")
    assert xmp_tags(xmp(inner=inner)) == {"Xmp.dc.subject": ("one", "two"), "Xmp.dc.title": "Lake", "Xmp.dc.creator": ("Me",)}


def test_the_namespace_counts_and_not_its_prefix():
    assert xmp_tags(xmp('a:Rating="4"').replace(b"xmlns:xmp=", b"xmlns:a=")) == {"Xmp.xmp.Rating": "4"}
    assert xmp_tags(xmp('xmp:Rating="4"').replace(NAMESPACES["xmp"].encode(), b"http://example.org/")) == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda packet: packet + bytes(2000),
        lambda packet: b"\xef\xbb\xbf" + packet,
        lambda packet: b"rubbish" + packet + b"<rubbish",
        lambda packet: packet.decode().encode("utf-16"),
        lambda packet: b"\xfe\xff" + packet.decode().encode("utf-16-be") + b"\0",
        lambda packet: packet.replace(b"x:xmpmeta", b"x:xapmeta"),
        lambda packet: packet[packet.index(b"<x:") : packet.index(b"<?xpacket end")],
    ],
)
def test_packets_are_read_with_whatever_surrounds_them(damage):
    assert xmp_tags(damage(xmp('xmp:Rating="4"'))) == {"Xmp.xmp.Rating": "4"}


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no XML",
        xmp('xmp:Rating="4"')[:-60],
        BOMB + b"<x>&b;</x>",
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
        b'<?xml version="1.0" encoding="no-such-encoding"?><x/>',
        b'<?xml version="1.0" encoding="utf-7"?><x/>',
        xmp(f'xmp:Rating="4" dc:format="{"x" * MAX_BYTES}"'),
        b"<a>" * 100_000 + b"</a>" * 100_000,
        xmp(inner="<rdf:Description>" * 20_000 + "</rdf:Description>" * 20_000),
    ],
)
def test_damaged_hostile_and_huge_packets_give_no_tags(packet):
    assert xmp_tags(packet) == {}


def test_entities_in_a_wrapped_packet_are_refused_too():
    assert xmp_tags(BOMB + xmp('xmp:Rating="4"').replace(b'"4"', b'"&b;"')) == {}


def test_names_of_faces_are_read_but_not_other_regions():
    items = [
        region("Ada"),
        region("Grace", as_attributes=True),
        region("Rex", "Pet"),
        region("12345", "BarCode"),
        region("ada"),
        region(""),
    ]
    assert xmp_tags(xmp(inner=regions(*items))) == {"Xmp.mwg-rs.Regions": ("Ada", "Grace")}


def test_names_in_regions_of_microsoft_and_iptc_are_read():
    person = '<rdf:li MPReg:Rectangle="0,0,1,1" MPReg:PersonDisplayName="Ada"/>'
    microsoft = f"<MPRI:Regions><rdf:Bag>{person}</rdf:Bag></MPRI:Regions>"
    inner = f'<MP:RegionInfo rdf:parseType="Resource">{microsoft}</MP:RegionInfo>' + xmp_list("Iptc4xmpExt:PersonInImage", "Grace", "ada")
    assert columns_of(xmp_tags(xmp(inner=inner))) == {"people": ("Ada", "Grace")}


def test_positions_in_xmp_are_read():
    assert columns_of(xmp_tags(xmp('exif:GPSLatitude="48,51.4934N" exif:GPSLongitude="2,17.670E"'))) == {
        "latitude": pytest.approx(48.858223, abs=1e-5),
        "longitude": pytest.approx(2.2945, abs=1e-5),
    }
    apple = xmp('exif:GPSLatitude="47.67" exif:GPSLatitudeRef="N" exif:GPSLongitude="122.31" exif:GPSLongitudeRef="W"')
    assert columns_of(xmp_tags(apple)) == {"latitude": 47.67, "longitude": -122.31}
