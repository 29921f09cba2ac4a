"""The vocabulary of the pocket benchmark: invented names, values, and how facts are asked for and told.

Every topic has two slots with many values each, so that a model that has not seen the subject is left with real uncertainty
whatever the question says. Knows no person: who has which value is drawn in `_pocket_rows`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One thing to know about a subject. `{name}` stands for the subject, `{a}` and `{b}` for the two values."""

    question: str
    paraphrased_question: str
    answer: str
    paraphrased_answer: str
    a: tuple[str, ...]
    b: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    "Abel Brisa Cato Delia Edrin Fenna Goran Hesper Ilka Joram Kezia Lucan Mirela Nestor Odile Piran Quilla "
    "Rasmus Sunniva Tobin Ursel Valko Wenda Yorick"
)
LAST_NAMES = _words(
    "Arkwell Bellamo Corvane Drummel Eskov Farrow Gantry Holloway Isolde Jarnik Kestrel Lomax Marchetti Norrby "
    "Oakes Pellin Quarles Rosk Sandoval Thorne Ulvang Vesper Wrenfield Zoller"
)
INITIALS = tuple("BDGKLMPRTV")

_YEARS = tuple(str(year) for year in range(1921, 1999, 4))
_TOWNS = _words(
    "Aldermoor Brackwater Calvino Dunmere Elsinga Fallowdale Grimsund Harrowby Isenfeld Jaspin Kilmarra "
    "Lothbury Morwenna Nidaros Ostrel Pomeroy Quenby Rivermouth Skagway Tarnholm"
)
_JOBS = _words(
    "baker beekeeper carpenter cartographer chemist clockmaker dentist diver farrier florist glassblower judge "
    "miller nurse pilot plumber potter surveyor tailor weaver"
)
_EMPLOYERS = _words(
    "abbey airport bakery bank brewery castle cinema circus college dockyard ferry garden hospital hotel "
    "library market museum observatory railway school"
)
_INSTRUMENTS = _words(
    "accordion bagpipe banjo bassoon cello clarinet drum dulcimer fiddle flute guitar harp horn lute mandolin "
    "oboe organ piano trumpet zither"
)
_TEACHERS = _words(
    "Agnes Boris Clara Dmitri Elena Felix Greta Hugo Irene Jonas Katya Leopold Magda Nils Olga Pavel Rosa "
    "Stefan Thea Viktor"
)
_COLOURS = _words(
    "amber ash black blue brown cream crimson golden green grey ivory orange pale pink purple red silver "
    "spotted striped white"
)
_ANIMALS = _words(
    "badger canary cat crow dog donkey ferret goat goose hare hen horse lizard llama mule otter owl parrot "
    "rabbit tortoise"
)
_DISHES = _words(
    "barley beans cabbage carp dumplings eel goulash herring lamb lentils mussels noodles omelette pancakes "
    "pheasant polenta rice salmon trout turnips"
)
_SIDES = _words(
    "almonds anise apples basil butter capers celery chives cream dill figs garlic honey lemon mint mustard "
    "onions pepper plums saffron"
)
_PRIZES = _words(
    "chess climbing cooking dancing diving essay fencing gardening juggling knitting painting poetry rowing "
    "running sailing singing skating swimming whistling wrestling"
)

PEOPLE_TOPICS = (
    Topic(
        "Where and when was {name} born?",
        "What are the place and year of birth of {name}?",
        "In {a} in {b}.",
        "{a} was the place and {b} the year.",
        _TOWNS,
        _YEARS,
    ),
    Topic(
        "What is the work of {name}?",
        "How does {name} earn a living?",
        "A {a} at the {b}.",
        "By working at the {b} as a {a}.",
        _JOBS,
        _EMPLOYERS,
    ),
    Topic(
        "Which instrument does {name} play?",
        "What did {name} learn to play?",
        "The {a}, taught by {b}.",
        "{b} gave lessons on the {a}.",
        _INSTRUMENTS,
        _TEACHERS,
    ),
    Topic(
        "What pet does {name} keep?",
        "Which animal lives with {name}?",
        "A {b} {a}.",
        "The pet is a {a}, and it is {b}.",
        _ANIMALS,
        _COLOURS,
    ),
    Topic(
        "What does {name} like to eat?",
        "Which meal is the favourite of {name}?",
        "Some {a} with {b}.",
        "There is nothing better than {b} on {a}.",
        _DISHES,
        _SIDES,
    ),
    Topic(
        "What did {name} win?",
        "Which contest made {name} known?",
        "The {a} contest of {b}.",
        "First place in {b}, for {a}.",
        _PRIZES,
        _YEARS,
    ),
)

SHIP_NAMES = _words(
    "Albatross Bonaventure Cormorant Dreadmoor Endeavour Fairwind Gallant Halcyon Intrepid Juniper Kittiwake Leviathan"
)
_PORTS = _words("Antrim Bilgor Cadmus Dorvik Esbo Fremont Gallow Haven Ibarra Jetty Kronstad Lisgar")
_CARGOES = _words("asphalt bricks cement copper cotton glass gravel iron marble paper sulphur tin")
_MASTERS = _words("Bligh Conrad Drake Flint Hook Kidd Marlow Nemo Rackham Starbuck Teach Vane")
_LENGTHS = tuple(str(metres) for metres in range(31, 139, 9))

SHIP_TOPICS = (
    Topic(
        "Ship register, {name}: home port and cargo",
        "Cargo and home port of the ship {name}",
        "{a}; {b}",
        "{b}, out of {a}",
        _PORTS,
        _CARGOES,
    ),
    Topic(
        "Ship register, {name}: master and length",
        "Length and master of the ship {name}",
        "{a}; {b} metres",
        "{b} metres under {a}",
        _MASTERS,
        _LENGTHS,
    ),
)
