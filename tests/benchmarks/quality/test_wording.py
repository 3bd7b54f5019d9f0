from benchmarks.quality import wording


def test_there_is_one_pair_a_picture_in_lower_case_and_a_reverse_for_each_exchange():
    captions = [("Nothing .", "A man .", "A boy ."), ("A hill .",), ("A woman .",), ("A man runs .",), ("A girl .",)]
    pairs = wording.make_pairs(captions, wording.KINDS["man or woman"])
    assert [(pair.picture, pair.right, pair.wrong) for pair in pairs] == [(0, "a man .", "a woman ."), (2, "a woman .", "a man .")]


def test_an_exchange_is_what_differs():
    assert wording.exchange("a man in front of a car", "a man behind a car") == ("in front of", "behind")
    assert wording.exchange("a dog bites a man", "a man bites a dog") == ("", "")
