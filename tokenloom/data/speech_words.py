"""A small domain of English sentences: numbers, dates, times, prices and short commands for a house.

Not a model of language: what is said is drawn from lists and templates. A text is a pure function of a seed
and its number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
)
ROOMS = (
    *("kitchen", "bedroom", "bathroom", "living room", "garage", "garden", "hall", "office", "attic"),
    *("cellar", "dining room", "nursery"),
)
THINGS = (
    *(
        "light",
        "lamp",
        "heating",
        "fan",
        "radio",
        "television",
        "alarm",
        "oven",
        "kettle",
        "music",
        "printer",
    ),
    *("washing machine", "dishwasher", "coffee machine", "air conditioning", "sprinkler", "speaker"),
)
OPENED = ("window", "door", "gate", "curtain", "blind", "shutter", "fridge", "box", "drawer")
COLOURS = ("red", "blue", "green", "yellow", "white", "orange", "purple", "pink", "warm white")
NAMES = (
    *(
        "Anna",
        "Tom",
        "Maria",
        "David",
        "Emma",
        "Peter",
        "Sophie",
        "James",
        "Lucy",
        "Robert",
        "Alice",
        "Henry",
    ),
    *("Julia", "Martin", "Grace", "Oliver", "my mother", "my father", "the doctor", "the office"),
)
TASKS = (
    *("water the plants", "buy milk", "feed the cat", "pay the rent", "take a break", "lock the door"),
    *("take out the rubbish", "call the bank", "walk the dog", "post the letter", "bake the bread"),
    *("clean the windows", "read the report", "book a table", "charge the phone"),
)
SONGS = ("song", "album", "station", "piece", "chapter", "story")
FOOD = ("eggs", "apples", "lemons", "onions", "rolls", "carrots", "pears")
WEATHER = ("sunny", "cloudy", "rainy", "windy", "foggy", "snowy", "warm", "cold", "dry")
UNITS = ("minutes", "seconds", "hours", "days", "metres", "kilometres", "litres", "grams", "pages", "steps")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHORT = (
    *(
        "Stop.",
        "Go on.",
        "Start again.",
        "Louder, please.",
        "Quieter, please.",
        "Yes, please.",
        "No, thank you.",
    ),
    *("Good morning.", "Good evening.", "Good night.", "Thank you.", "What time is it?", "What day is it?"),
    *(
        "How are you?",
        "Please wait.",
        "Try again.",
        "Go back.",
        "Next, please.",
        "That is right.",
        "Not now.",
    ),
    *(
        "I am ready.",
        "All done.",
        "Please repeat that.",
        "Cancel that.",
        "Never mind.",
        "Hello, I am listening.",
    ),
)


def sentence(seed: int, number: int) -> str:
    """The text of a number."""
    rng = Random(f"speech {seed} {number}")
    kinds, shares = zip(*KINDS, strict=True)
    made: str = rng.choices(kinds, shares)[0](rng)
    return made[0].upper() + made[1:]


def _of(rng: Random, some: Sequence[str]) -> str:
    return rng.choice(some)


def _size(rng: Random) -> int:
    """A whole number; each count of digits from one to six is about as likely."""
    digits = rng.choice((1, 2, 2, 3, 3, 4, 5, 6))
    return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def _number(rng: Random) -> str:
    kind = rng.randrange(8)
    if kind < 3:
        return f"{_size(rng):,}."
    if kind == 3:
        return f"Number {_size(rng):,}."
    if kind == 4:
        return f"{_size(rng) % 1000}.{rng.randrange(1, 100)}."
    if kind == 5:
        return " ".join(_of(rng, DIGITS) for _ in range(rng.randrange(3, 8))) + "."
    if kind == 6:
        return f"{_size(rng) % 1000} {_of(rng, ('plus', 'minus', 'times'))} {_size(rng) % 1000}."
    return f"{rng.randrange(1, 101)} percent."


def _ordinal(day: int) -> str:
    tail = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{tail}"


def _date(rng: Random) -> str:
    day, month, year = rng.randrange(1, 29), _of(rng, MONTHS), rng.randrange(1900, 2100)
    return rng.choice(
        (
            f"{month} {_ordinal(day)}, {year}.",
            f"{_of(rng, DAYS)}, {month} {_ordinal(day)}.",
            f"Today is {_of(rng, DAYS)}, the {_ordinal(day)} of {month}.",
            f"The meeting is on {month} {_ordinal(day)}.",
            f"In the year {year}.",
            f"See you on {_of(rng, DAYS)}.",
        )
    )


def _clock(rng: Random) -> str:
    return f"{rng.randrange(1, 13)}:{rng.randrange(0, 60):02d} {_of(rng, ('am', 'pm'))}"


def _time(rng: Random) -> str:
    return rng.choice(
        (
            f"It is {_clock(rng)}.",
            f"The train leaves at {_clock(rng)}.",
            f"Half past {_of(rng, DIGITS[1:])}.",
            f"A quarter to {_of(rng, DIGITS[1:])}.",
            f"{rng.randrange(2, 60)} minutes past {_of(rng, DIGITS[1:])}.",
            f"Wake me at {_clock(rng)}.",
            f"{_of(rng, DAYS)} at {_clock(rng)}.",
        )
    )


def _price(rng: Random) -> str:
    return rng.choice(
        (
            f"That is ${_size(rng) % 1000}.{rng.randrange(1, 100):02d}.",
            f"It costs {_size(rng) % 10000:,} dollars.",
            f"{_size(rng) % 1000} {_of(rng, UNITS)}.",
            f"It is {rng.randrange(-20, 40)} degrees and {_of(rng, WEATHER)}.",
            f"Tomorrow will be {_of(rng, WEATHER)} and {_of(rng, WEATHER)}.",
        )
    )


def _house(rng: Random) -> str:
    room, thing = _of(rng, ROOMS), _of(rng, THINGS)
    return rng.choice(
        (
            f"Turn {_of(rng, ('on', 'off'))} the {thing}.",
            f"Turn {_of(rng, ('on', 'off', 'up', 'down'))} the {thing} in the {room}.",
            f"Please turn the {room} {thing} {_of(rng, ('on', 'off'))}.",
            f"{_of(rng, ('Open', 'Close', 'Lock'))} the {_of(rng, OPENED)} in the {room}.",
            f"{_of(rng, ('Open', 'Close'))} the {room} {_of(rng, OPENED)}, please.",
            f"Set the {room} lights to {_of(rng, COLOURS)}.",
            f"Set the {thing} to {rng.randrange(1, 101)} percent.",
            f"Make the {room} {_of(rng, ('warmer', 'colder', 'brighter', 'darker'))}.",
            f"Is the {_of(rng, OPENED)} in the {room} {_of(rng, ('open', 'closed'))}?",
            f"The {thing} in the {room} is {_of(rng, ('on', 'off'))} now.",
        )
    )


def _order(rng: Random) -> str:
    return rng.choice(
        (
            f"Set a timer for {rng.randrange(2, 91)} {_of(rng, UNITS[:3])}.",
            f"Remind me to {_of(rng, TASKS)} at {_clock(rng)}.",
            f"Remind {_of(rng, NAMES)} to {_of(rng, TASKS)} on {_of(rng, DAYS)}.",
            f"Call {_of(rng, NAMES)}, please.",
            f"Send a message to {_of(rng, NAMES)}.",
            f"Play the {_of(rng, ('next', 'last', 'first', 'same'))} {_of(rng, SONGS)}.",
            f"Play {_of(rng, SONGS)} number {rng.randrange(1, 100)}.",
            f"How far is it to the {_of(rng, ROOMS)}?",
            f"Will it be {_of(rng, WEATHER)} on {_of(rng, DAYS)}?",
            f"Add {rng.randrange(2, 20)} {_of(rng, FOOD)} to the list.",
        )
    )


def _short(rng: Random) -> str:
    return _of(rng, SHORT)


KINDS: tuple[tuple[Callable[[Random], str], int], ...] = (
    (_number, 30),
    (_date, 14),
    (_time, 14),
    (_price, 10),
    (_house, 18),
    (_order, 13),
    (_short, 1),
)
"""What is said, and how often of 100."""
