"""Writes ratings.csv: 400 people, 120 films, some 11,000 ratings from 1 to 5, as people give them.

A film has a genre or two, a person likes some genres more than others, some films are simply better, some people
kinder, and few films are seen by many. Ratings are told with noise, in whole stars. Chance is seeded: the file is
always the same.
"""

import csv
import random
from pathlib import Path

GENRES = ("drama", "comedy", "crime", "horror", "romance", "adventure")
PEOPLE = 400
FILMS = 120
NOISE = 0.45
"""Stars, as a standard deviation."""


def films(chance: random.Random) -> list[dict[str, float]]:
    """How much each is of each genre."""
    made = []
    for _ in range(FILMS):
        main, side = chance.sample(GENRES, 2)
        share = chance.uniform(0.6, 1.0)
        made.append({main: share, side: 1 - share})
    return made


def truth() -> tuple[list[tuple[int, int, int]], dict[tuple[int, int], float]]:
    """The ratings, as (person, film, stars); and how every person likes every film, seen or not, in stars."""
    chance = random.Random(1977)
    of_genres = films(chance)
    goodness = [chance.gauss(0, 0.35) for _ in range(FILMS)]
    known = [1 / (rank + 6) for rank in range(FILMS)]
    found, likes = [], {}
    for person in range(1, PEOPLE + 1):
        taste = {genre: chance.gauss(0, 1.1) for genre in GENRES}
        kindness = chance.gauss(3.3, 0.3)
        seen: set[int] = set()
        while len(seen) < 12 + (person * 7) % 32:
            seen.update(chance.choices(range(FILMS), known))
        for film in range(FILMS):
            liking = sum(share * taste[genre] for genre, share in of_genres[film].items())
            likes[person, film + 1] = kindness + goodness[film] + liking
        for film in sorted(seen):
            stars = round(likes[person, film + 1] + chance.gauss(0, NOISE))
            found.append((person, film + 1, max(1, min(5, stars))))
    return found, likes


if __name__ == "__main__":
    with Path(__file__).with_name("ratings.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("person", "film", "stars"))
        writer.writerows(truth()[0])
