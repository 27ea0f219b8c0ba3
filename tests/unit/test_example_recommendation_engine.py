"""The two algorithms of the example, on the ratings that it ships."""

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hotswap import manifest

EXAMPLE = Path(__file__).parents[2] / "examples" / "recommendation-engine"
VERSIONS = ("v1", "v2")
STRANGER = "4711"


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"recommendation_{Path(path).as_posix()}", EXAMPLE / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TRAIN, RATINGS = load("train.py"), load("make_ratings.py")
LEARNT = {"v1": TRAIN.neighbours, "v2": TRAIN.factors}


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    """By version, in stars, on ratings that it has not seen; and of who always says the mean."""
    known, aside = TRAIN.split(TRAIN.read())
    mean = sum(stars for _, _, stars in known) / len(known)
    found = {"mean": root_mean_square([stars - mean for _, _, stars in aside])}
    for version, learn in LEARNT.items():
        model, app = json.loads(json.dumps(learn(known))), load(f"{version}/app.py")
        told = [(app.scores(model, str(person)).get(str(film), mean), stars) for person, film, stars in aside]
        found[version] = root_mean_square([score - stars for score, stars in told])
    return found


def root_mean_square(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))


def invoke(version: str, **query: str) -> tuple[dict[str, Any], Any]:
    answer = load(f"{version}/app.py").handler({"queryStringParameters": query}, None)
    return answer, json.loads(answer["body"]) if answer["statusCode"] == 200 else None


def test_the_ratings_are_those_that_are_made() -> None:
    assert TRAIN.read() == RATINGS.truth()[0]


def test_both_foretell_better_than_the_mean_and_factors_better_than_neighbours(errors: dict[str, float]) -> None:
    assert errors["v2"] < 0.7 < errors["v1"] < 0.85 < 1.0 < errors["mean"]


@pytest.mark.parametrize("version", VERSIONS)
def test_films_are_recommended_that_were_not_seen_the_best_first(version: str) -> None:
    seen = {film for person, film, _ in TRAIN.read() if person == 7}
    _, document = invoke(version, person="7", count="10")
    films = [one["film"] for one in document["films"]]
    assert len({*films} - seen) == 10
    stars = [one["stars"] for one in document["films"]]
    assert stars == sorted(stars, reverse=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_people_like_what_is_recommended_to_them_better_than_other_films(version: str) -> None:
    _, likes = RATINGS.truth()
    usual = sum(likes.values()) / len(likes)
    firsts = {person: invoke(version, person=str(person))[1]["films"][0]["film"] for person in range(1, 101)}
    assert sum(likes[one] for one in firsts.items()) / len(firsts) > usual + 0.7


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stranger_is_recommended_what_most_people_saw(version: str) -> None:
    _, document = invoke(version, person=STRANGER, count="3")
    assert [one["film"] for one in document["films"]] == TRAIN.popular(TRAIN.read())[:3]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_people_do_is_reported(version: str) -> None:
    opened, _ = invoke(version, person="7", opened="1")
    assert opened["headers"]["Hotswap-Metric"] == "engagement=1"
    watched, _ = invoke(version, person="7", watched="93", recommended="1")
    assert watched["headers"]["Hotswap-Metric"] == "conversion=1"
    found_otherwise, _ = invoke(version, person="7", watched="93")
    assert found_otherwise["headers"]["Hotswap-Metric"] == "conversion=0"


@pytest.mark.parametrize("query", [{}, {"person": "x"}, {"person": "7", "count": "0"}, {"person": "7", "count": "99"}])
def test_what_is_no_question_is_the_callers_fault(query: dict[str, str]) -> None:
    assert invoke("v1", **query)[0]["statusCode"] == 400


@pytest.mark.parametrize("version", VERSIONS)
def test_the_sample_payload_is_answered(version: str) -> None:
    payload = manifest.read(EXAMPLE / version).sample_payload
    assert isinstance(payload, msgspec.Raw)
    assert load(f"{version}/app.py").handler(msgspec.json.decode(payload), None)["statusCode"] == 200
