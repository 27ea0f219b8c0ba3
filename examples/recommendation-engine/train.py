"""Learns both models from ratings.csv, and writes each beside the version that serves it.

v1 is item-item collaborative filtering: two films are alike if people who saw both rated both above, or both below,
what they usually give (adjusted cosine, shrunk where few saw both). v2 is matrix factorisation: a film and a person
have a few numbers each whose products tell the rating, found by stochastic gradient descent. One rating in five is kept
aside, to tell how well each foretells what it has not seen.
"""

import csv
import json
import math
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NEIGHBOURS = 20
"""Films that are remembered as like a film."""
SHRINK = 8
"""People who have to have seen both for a likeness to count half."""
FACTORS = 6
ROUNDS = 60
RATE, WEIGHT = 0.015, 0.06
"""Of a step downhill, and how much large numbers cost."""

Rating = tuple[int, int, int]
Model = dict[str, Any]


def read() -> list[Rating]:
    with (FOLDER / "ratings.csv").open() as file:
        return [(int(row["person"]), int(row["film"]), int(row["stars"])) for row in csv.DictReader(file)]


def split(ratings: list[Rating]) -> tuple[list[Rating], list[Rating]]:
    """To learn from, and to be told."""
    aside = [rating for number, rating in enumerate(ratings) if number % 5 == 0]
    return [rating for number, rating in enumerate(ratings) if number % 5], aside


def seen_by(ratings: list[Rating]) -> dict[int, dict[int, int]]:
    """The stars that each person gave, by film."""
    seen: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for person, film, stars in ratings:
        seen[person][film] = stars
    return dict(seen)


def popular(ratings: list[Rating]) -> list[int]:
    """Films by how many saw them, for people of whom nothing is known."""
    counts: defaultdict[int, int] = defaultdict(int)
    for _, film, _ in ratings:
        counts[film] += 1
    return sorted(counts, key=lambda film: (-counts[film], film))


def neighbours(ratings: list[Rating]) -> Model:
    seen = seen_by(ratings)
    usual = {person: sum(stars.values()) / len(stars) for person, stars in seen.items()}
    products: defaultdict[tuple[int, int], float] = defaultdict(float)
    both: defaultdict[tuple[int, int], int] = defaultdict(int)
    squares: defaultdict[int, float] = defaultdict(float)
    for person, stars in seen.items():
        off = {film: given - usual[person] for film, given in stars.items()}
        for film, one in off.items():
            squares[film] += one * one
            for other, two in off.items():
                if film < other:
                    products[film, other] += one * two
                    both[film, other] += 1
    alike: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
    for (film, other), product in products.items():
        length = math.sqrt(squares[film] * squares[other])
        if length and product > 0:
            likeness = product / length * both[film, other] / (both[film, other] + SHRINK)
            alike[film].append((likeness, other))
            alike[other].append((likeness, film))
    return {
        "alike": {
            film: {other: round(likeness, 4) for likeness, other in sorted(found, reverse=True)[:NEIGHBOURS]}
            for film, found in sorted(alike.items())
        },
        "seen": seen,
        "popular": popular(ratings),
    }


def factors(ratings: list[Rating]) -> Model:
    chance = random.Random(7)
    seen, mean = seen_by(ratings), sum(stars for _, _, stars in ratings) / len(ratings)
    people = {person: [chance.gauss(0, 0.1) for _ in range(FACTORS)] for person in seen}
    films = {film: [chance.gauss(0, 0.1) for _ in range(FACTORS)] for film in popular(ratings)}
    kind, good = dict.fromkeys(people, 0.0), dict.fromkeys(films, 0.0)
    order = list(ratings)
    for _ in range(ROUNDS):
        chance.shuffle(order)
        for person, film, stars in order:
            p, q = people[person], films[film]
            error = stars - mean - kind[person] - good[film] - sum(x * y for x, y in zip(p, q, strict=True))
            kind[person] += RATE * (error - WEIGHT * kind[person])
            good[film] += RATE * (error - WEIGHT * good[film])
            people[person] = [x + RATE * (error * y - WEIGHT * x) for x, y in zip(p, q, strict=True)]
            films[film] = [y + RATE * (error * x - WEIGHT * y) for x, y in zip(p, q, strict=True)]
    return {
        "mean": round(mean, 4),
        "people": {person: [round(kind[person], 4), *(round(x, 4) for x in p)] for person, p in people.items()},
        "films": {film: [round(good[film], 4), *(round(y, 4) for y in q)] for film, q in sorted(films.items())},
        "seen": {person: sorted(stars) for person, stars in seen.items()},
        "popular": popular(ratings),
    }


if __name__ == "__main__":
    everything = read()
    (FOLDER / "v1" / "model.json").write_text(json.dumps(neighbours(everything), separators=(",", ":")) + "\n")
    (FOLDER / "v2" / "model.json").write_text(json.dumps(factors(everything), separators=(",", ":")) + "\n")
