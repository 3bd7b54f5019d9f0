"""False texts: rules that change one thing in a true caption, so that it becomes false for its picture.

For the objective `hard_negatives`, and to measure which words a model understands. A rule applies to few texts, because a "false" text
that is true after all teaches the opposite. So it leaves alone what has a colour of its own, and "one of two dogs".
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence

Rule = Callable[[str, random.Random], str | None]  # a true caption in lower case -> a false one, or None if the rule does not apply
HARD_NEGATIVES = "hard_negatives"  # the name of the objective in recipes
_TRIES = 3  # of each rule, which may choose among several words
_COLOURS = ("black", "white", "red", "blue", "green", "yellow", "brown", "pink", "purple")
_COLOUR = "|".join(_COLOURS)
_BEINGS = "man|woman|boy|girl|child|baby|toddler|kid|person|lady|dog|puppy|cat|horse|bird|cow|bull"
_NATURE = (  # other colours of these would be absurd, or the colour is unclear
    r"\b(?:dog|pupp|horse|cats?\b|hair|grass|lawn|field|snow|water|sky|tree|orange|gr[ae]y|colou?r)"
    f"|(?:black|white|brown) (?:{_BEINGS}|men|women|people)"
)
_FILLER = r"(?:(?!(?:and|or|with|while|of|in|on|as|at|to|is|are|that|who|whilst|from|for|by|into|holding)\b)\w+ )"
_SLOPES = "hill|hillside|mountain|mountainside|slope|stairs|steps|slide|ramp|rock|cliff|wall|rope|ladder|tree|pole|dune|staircase"
WATERS = "water|pool|lake|ocean|river|sea|pond|creek|stream|surf|waves"
_TOGETHER = r"and|with|or|next|beside|near|by|together|along|play\w*|rac\w+|fight\w*|like|fac\w+|hug\w*|kiss\w*|danc\w+|talk\w*|hands"


def another_word(*groups: Sequence[str], unless: str = "$.") -> Rule:
    """Replaces the only word of the groups by another one of its group, by those listed several times more often.

    List common words so: then more exchanges have a reverse one.
    """
    group_of = {word: group for group in groups for word in group}
    pattern = re.compile(rf"(?<![\w-])({'|'.join(group_of)})(?![\w-])")

    def rule(text: str, draws: random.Random) -> str | None:
        found = pattern.findall(text)
        if len(found) != 1 or re.search(unless, text):
            return None
        return pattern.sub(draws.choice([word for word in group_of[found[0]] if word != found[0]]), text)

    return rule


def opposite(one: str, other: str, *, before: str = "", after: str = "") -> Rule:
    """Exchanges two words, if only one occurs, once. `before` and `after` are patterns of what surrounds them."""
    swap, pattern = {one: other, other: one}, re.compile(rf"{before}\b({one}|{other})\b{after}")

    def rule(text: str, draws: random.Random) -> str | None:
        found = pattern.search(text)
        if not found or len(re.findall(rf"\b(?:{one}|{other})\b", text)) != 1:
            return None
        return text[: found.start(1)] + swap[found[1]] + text[found.end(1) :]

    return rule


def swapped(pattern: str, *, distinct: str, unless: str = "$.") -> Rule:
    """Exchanges the first groups of the only two matches, if `distinct`, a pattern within each match, finds different words.

    `unless` is a pattern of what may not stand before the end of the second.
    """

    def rule(text: str, draws: random.Random) -> str | None:
        found = list(re.finditer(pattern, text))
        if len(found) != 2:
            return None
        first, second = found
        words = {match[0] for one in found for match in [re.search(distinct, one[0])] if match}
        if len(words) < 2 or re.search(unless, text[: second.end()]):
            return None
        between = text[first.end(1) : second.start(1)]
        return text[: first.start(1)] + second[1] + between + first[1] + text[second.end(1) :]

    return rule


KINDS: Mapping[str, Rule] = {
    "counts": another_word(
        ("two", "two", "two", "three", "three", "four", "five"), unless=r"\b(one|both|each other|another|couple|pair|wheel\w*|leg\w*)\b"
    ),
    "colours": another_word(_COLOURS, unless=_NATURE),
    "colours of dogs": another_word(("black", "white", "brown"), unless=r"^(?!.*(?:black|white|brown) (?:\w+ )?dogs?\b)|\btan\b"),
    "man or woman": another_word(
        ("man", "woman"), ("boy", "girl"), ("men", "women"), ("boys", "girls"), unless=r"\b(?:s?he|his|hers?|him)\b"
    ),
    "adult or child": another_word(
        ("man", "boy"), ("woman", "girl"), ("men", "boys"), ("women", "girls"), unless="little|small|old|elder|young"
    ),
    "dog, cat, horse, bird": another_word(
        ("dog", "dog", "dog", "cat", "horse", "bird"), ("dogs", "dogs", "dogs", "cats", "horses", "birds")
    ),
    "left, right": opposite(
        "left", "right", before=r"\b(?:(?:on|to) (?:the|his|her|its|their)|looks?|looking) ", after="(?! (?:arm|hand|side))"
    ),
    "in front of, behind": opposite("in front of", "behind", before="(?<!from )"),
    "up, down": opposite("up", "down", after=rf"(?= (?:an?|the|some) (?:\S+ ){{0,2}}(?:{_SLOPES})\b)"),
    "into, out of": opposite("into", "out of", after=rf"(?= (?:an?|the|some) (?:\S+ ){{0,2}}(?:{WATERS})\b)"),
    "inside, outside": opposite("inside", "outside"),
    "who does what": swapped(
        rf"\b((?:an?|the|another|one) {_FILLER}{{0,3}}?(?:{_BEINGS}))\b(?! (?:and|or|'s)\b)",
        distinct=rf"(?:{_BEINGS})$",
        unless=rf"\b(?:{_TOGETHER})\b|,",
    ),
    "whose colour": swapped(
        rf"(?<!light )(?<!dark )\b({_COLOUR}) (?!and\b|or\b)\w+",
        distinct=r"\w+$",
        unless=rf"(?:{_COLOUR}) (?:and|or|,) (?:{_COLOUR})|{_NATURE}",
    ),
}


def false_texts(text: str) -> list[str]:
    """The false texts that the rules make of a text in lower case, always the same ones."""
    draws = random.Random(text)
    changed = [rule(text, draws) for rule in KINDS.values() for _ in range(_TRIES)]
    return list(dict.fromkeys(one for one in changed if one and one != text))
