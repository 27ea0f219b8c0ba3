"""Visits the engine as its people would: each asks for films, opens the list or not, and watches the first film or not.

    python examples/recommendation-engine/visit.py [http://127.0.0.1:8080]

Who really likes a film is known, since the ratings were made (make_ratings.py): the better the first one is liked, the
likelier it is watched. The header `Visitor` is what an A/B test tells people by.
"""

import json
import random
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from make_ratings import PEOPLE, truth

AT_ONCE = 8
LIMIT = 30.0
"""Seconds for an answer."""


def asked(url: str, person: int, query: str) -> bytes:
    request = urllib.request.Request(f"{url}?person={person}{query}", headers={"Visitor": str(person)})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        content: bytes = answer.read()
        return content


def visit(url: str, person: int, likes: dict[tuple[int, int], float]) -> None:
    chance = random.Random(person)
    first = json.loads(asked(url, person, "&count=5"))["films"][0]["film"]
    wish = min(1.0, max(0.0, (likes[person, first] - 3) / 2))
    if chance.random() < wish:
        asked(url, person, "&opened=1")
    if chance.random() < wish / 2:
        asked(url, person, f"&watched={first}&recommended=1")


def main(router: str) -> None:
    _, likes = truth()
    url = f"{router}/fn/recommendation-engine"
    with ThreadPoolExecutor(AT_ONCE) as visitors:
        list(visitors.map(lambda person: visit(url, person, likes), range(1, PEOPLE + 1)))
    print(f"{PEOPLE} people came")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
