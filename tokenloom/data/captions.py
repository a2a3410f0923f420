"""Words for made pictures, in English and Chinese, and back: the style that a prompt names.

A caption is short and says only what is true of the record: colours that were given to a thing and relations
always, places and sizes mostly, a thing's own colour sometimes. Not a grammar: a handful of patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from random import Random

from tokenloom.data.picture_record import Ground, Record, Thing
from tokenloom.data.picture_words import LANGS, Lang, noun_of, nouns, word, words

_NOT_AN = ("unicorn", "ufo", "one", "euro")
_AN = ("hour",)


def caption(record: Record, lang: Lang, rng: Random) -> str:
    """One of several wordings of a record; the style is not named (see `styled`). Raises ValueError."""
    if lang not in LANGS:
        raise ValueError(f"lang: found {lang!r}; allowed: {', '.join(LANGS)}")
    return _english(record, rng) if lang == "en" else _chinese(record, rng)


def description(record: Record, lang: Lang, rng: Random) -> str:
    """What is answered when it is asked what a record shows: a caption, but of one thing alone just its name,
    for that it is a picture or a sticker is no news."""
    if record.kind == "sticker":
        return phrase(record.things[0], lang, rng)
    return caption(record, lang, rng)


def phrase(thing: Thing, lang: Lang, rng: Random, *, own: float = 0.4) -> str:
    """A thing with its count, size and colour: "two small red apples", "两个红色的小苹果".

    own: the chance that a colour is said that the thing has of itself; of hearts, books and shapes, which
    come in all colours, it is said nearly always.
    """
    noun = noun_of(thing.hexcode)
    if noun is not None and len(noun.hexcodes) > 1:  # hearts and books have no colour one would expect
        own = max(own, 0.9)
    said = thing.colour if thing.recoloured or rng.random() < own else None
    return _english_thing(thing, said) if lang == "en" else _chinese_thing(thing, said, rng)


# --- English --------------------------------------------------------------------------------------------


def article(text: str) -> str:
    """`text` with a or an before it."""
    low = text.lower()
    an = low.startswith(_AN) or (low[:1] in tuple("aeiou") and not low.startswith(_NOT_AN))
    return f"{'an' if an else 'a'} {text}"


def _english_thing(thing: Thing, colour: str | None) -> str:
    noun = noun_of(thing.hexcode)
    if noun is None:
        return thing.en
    before = [w for w in (thing.size, colour) if w]
    if thing.count > 1:
        return " ".join([word("counts", str(thing.count), "en"), *before, noun.plural])
    text = " ".join([*before, noun.key])
    return text if noun.mass else article(text)


def _english(record: Record, rng: Random) -> str:
    named = [phrase(thing, "en", rng) for thing in record.things]
    ground = _english_ground(record.ground, rng)
    if record.kind == "sticker":
        return _english_sticker(record.things[0], named[0], rng)
    if record.kind == "pair":
        assert record.relation is not None
        text = f"{named[0]} {word('relations', record.relation, 'en')} {named[1]}"
    elif record.kind == "row":
        text = f"{named[0]}, {named[1]} and {named[2]}"
        text += rng.choice(("", " in a row"))
    else:
        text = named[0]
        place = record.things[0].place
        if place and rng.random() < 0.9:
            text += f" {word('places', place, 'en')}"
    if ground and rng.random() < 0.75:
        text = f"{text} {ground}"
    return text


def _english_sticker(thing: Thing, named: str, rng: Random) -> str:
    if noun_of(thing.hexcode) is None:
        # Labels are phrases of their own; people also write one or two of the tags.
        return rng.choice((named, named, f"a sticker of {named}", f"a picture of {named}"))
    bare = re.sub(r"^an? ", "", named)
    return rng.choice((named, bare, f"a sticker of {named}", f"a picture of {named}"))


def _english_ground(ground: Ground, rng: Random) -> str | None:
    if ground.kind == "none":
        return None
    if ground.colour is None:
        return word("sceneries", ground.kind, "en")
    name = word("colours", ground.colour, "en")
    if ground.kind != "plain":
        name = word("grounds", ground.kind, "en").format(colour=name)
    return f"on {article(name)} {rng.choice(('background', 'background', 'ground'))}"


# --- Chinese --------------------------------------------------------------------------------------------


def _chinese_thing(thing: Thing, colour: str | None, rng: Random) -> str:
    noun = noun_of(thing.hexcode)
    if noun is None:
        return thing.zh
    name = f"{word('sizes', thing.size, 'zh')}{noun.zh}" if thing.size else noun.zh
    if colour:
        hue = word("colours", colour, "zh")
        name = f"{hue}{name}" if rng.random() < 0.3 and not thing.size else f"{hue}色的{name}"
    return f"{word('counts', str(thing.count), 'zh')}{noun.measure}{name}"


def _chinese(record: Record, rng: Random) -> str:
    named = [phrase(thing, "zh", rng) for thing in record.things]
    ground = _chinese_ground(record.ground)
    if record.kind == "sticker":
        bare = named[0][2:] if noun_of(record.things[0].hexcode) else named[0]
        return rng.choice((named[0], bare, f"{bare}贴纸", f"{bare}的图片"))
    place = record.things[0].place
    if record.kind == "pair":
        assert record.relation is not None
        where = word("relations", record.relation, "zh")
        text = rng.choice((f"{named[0]}在{named[1]}的{where}", f"{named[1]}{where}的{named[0]}"))
        text = text.replace("的旁边", "旁边")
        patterns: tuple[str, ...] = ("{ground}，{text}", "{text}，{ground}")
    elif record.kind == "row":
        text = f"{named[0]}、{named[1]}和{named[2]}"
        patterns = ("{ground}上的{text}", "{text}，{ground}")
    elif place and rng.random() < 0.9:
        where = word("places", place, "zh")
        text = rng.choice((f"{where}的{named[0]}", f"{named[0]}在{where}"))
        patterns = ("{ground}，{text}", "{text}，{ground}")
    else:
        text = named[0]
        patterns = ("{ground}上的{text}", "{text}，{ground}")
    if ground is None or rng.random() >= 0.75:
        return text
    pattern = rng.choice(patterns)
    if record.ground.colour is None:  # a scenery's words hold a place word of their own
        pattern = pattern.replace("上的", "的")
    return pattern.format(ground=ground, text=text)


def _chinese_ground(ground: Ground) -> str | None:
    if ground.kind == "none":
        return None
    if ground.colour is None:
        return word("sceneries", ground.kind, "zh")
    name = f"{word('colours', ground.colour, 'zh')}色"
    if ground.kind != "plain":
        name = word("grounds", ground.kind, "zh").format(colour=name)
    return f"{name}背景"


# --- what users write -----------------------------------------------------------------------------------


def usual(prompt: str) -> str:
    """A user's prompt in the captions' words: "2 gray kittens" is "two grey cats", "番茄" is "西红柿".

    Whole English words only, and things only where they stand alone: a love letter is no envelope. What is
    not known stays as it is.
    """
    pattern, table, before = _english_aliases()

    def put(found: re.Match[str]) -> str:
        last = re.search(r"([\w-]+)\s+$", prompt[: found.start()])
        alone = last is None or last[1].lower() in before
        return table[found[0].lower()] if alone else found[0]

    text = pattern.sub(put, prompt)
    if text != prompt:
        text = re.sub(r"\ban? (\w+)", lambda m: article(m[1]), text)
    return _chinese_aliases()[0].sub(lambda m: _chinese_aliases()[1][m[0]], text)


@lru_cache(1)
def _english_aliases() -> tuple[re.Pattern[str], dict[str, str], frozenset[str]]:
    """What is sought, what it becomes, and the words that may stand before it."""
    given: dict[str, str] = words()["aliases"]["en"]
    plurals = {noun.key: noun.plural for noun in nouns().values()}
    things = {other: key for other, key in given.items() if key in plurals}
    for other, key in list(things.items()):
        many = f"{other[:-1]}ies" if other.endswith(("py", "ny", "ty")) else f"{other}s"
        things.setdefault(many, plurals[key])
    described = {other: key for other, key in given.items() if other not in things}
    alone = r"(?=\s*(?:$|[^\w\s]|(?:on|in|at|to|above|below|next|and|with|wearing)\b))"
    pattern = rf"(?<![\w’'-])(?:(?:{_any(things)})\b{alone}|(?:{_any(described)})(?=\s+[a-z]))"
    before = {"a", "an", "the", "of", "on", "to", "above", "below", "in", *described}
    for name in ("colours", "counts", "sizes"):
        before |= {pair[0] for pair in words()[name].values()}
    return re.compile(pattern, re.IGNORECASE), things | described, frozenset(before)


def _any(table: Iterable[str]) -> str:
    return "|".join(re.escape(each) for each in sorted(table, key=len, reverse=True))


@lru_cache(1)
def _chinese_aliases() -> tuple[re.Pattern[str], dict[str, str]]:
    table: dict[str, str] = dict(words()["aliases"]["zh"])
    # What a longer noun holds is left alone: 轮船 is not 轮 and 船.
    for noun in nouns().values():
        table.setdefault(noun.zh, noun.zh)
    return re.compile(_any(table)), table


# --- styles ---------------------------------------------------------------------------------------------


def style_name(style: str, lang: Lang) -> str:
    """A style's name in a language. Raises ValueError where there is no such style."""
    table = words()["styles"]
    if style not in table:
        raise ValueError(f"style: found {style!r}; allowed: {', '.join(table)}")
    return word("styles", style, lang)


def styled(text: str, style: str, lang: Lang) -> str:
    """A caption with its style named at the end: "a red fox, fluent style", "一只红色的狐狸，流光风格"."""
    name = style_name(style, lang)
    return f"{text}, {name} style" if lang == "en" else f"{text}，{name}风格"


def split_style(prompt: str) -> tuple[str, str | None]:
    """A user's prompt without the words that name a style, and that style; None where none is named.

    A style is named by "in fluent style", "fluent style", "流光风格", or by its name alone after a comma.
    """
    for style, pattern in _style_patterns():
        found = pattern.search(prompt)
        if found:
            rest = f"{prompt[: found.start()]} {prompt[found.end() :]}"
            return re.sub(r"\s+", " ", rest).strip(" ,，、;；。"), style
    return prompt.strip(), None


@lru_cache(1)
def _style_patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    found = []
    for style, names in words()["style_names"].items():
        spelled = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        named = rf"(?:{spelled})"
        pattern = (
            rf"[,，]?\s*(?:\bin\s+(?:the\s+|a\s+)?)?(?<![a-z]){named}[\s-]+style\b|"
            rf"[,，]?\s*\bin\s+the\s+style\s+of\s+{named}\b|"
            rf"[,，]?\s*用?{named}\s*(?:的)?(?:风格|样式)的?|"
            rf"[,，]\s*{named}\s*$"
        )
        found.append((style, re.compile(pattern, re.IGNORECASE)))
    return tuple(found)
