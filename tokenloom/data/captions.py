"""Words for made pictures, in English and Chinese, and back: the style that a prompt names.

A caption is short and says only what is true of the record: colours that were given to a thing and relations
always, places and sizes mostly, a thing's own colour sometimes. Not a grammar: a handful of patterns.
"""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random

from tokenloom.data.picture_record import Ground, Record, Thing
from tokenloom.data.picture_words import LANGS, Lang, noun_of, word, words

_NOT_AN = ("unicorn", "ufo", "one", "euro")
_AN = ("hour",)


def caption(record: Record, lang: Lang, rng: Random) -> str:
    """One of several wordings of a record; the style is not named (see `styled`). Raises ValueError."""
    if lang not in LANGS:
        raise ValueError(f"lang: found {lang!r}; allowed: {', '.join(LANGS)}")
    return _english(record, rng) if lang == "en" else _chinese(record, rng)


def phrase(thing: Thing, lang: Lang, rng: Random, *, own: float = 0.4) -> str:
    """A thing with its count, size and colour: "two small red apples", "两个红色的小苹果".

    own: the chance that a colour is said that the thing has of itself.
    """
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
