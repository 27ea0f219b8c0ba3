"""Films for a person, by what numbers tell of both: matrix factorisation."""

import json
from pathlib import Path
from typing import Any

MODEL = json.loads(Path(__file__).with_name("model.json").read_text())
MOST = 20


def scores(model: dict[str, Any], person: str) -> dict[str, float]:
    """The stars that the person would give, of each film; none for a stranger."""
    if person not in model["people"]:
        return {}
    kindness, *taste = model["people"][person]
    return {
        film: model["mean"] + kindness + goodness + sum(x * y for x, y in zip(taste, nature, strict=True))
        for film, (goodness, *nature) in model["films"].items()
    }


def recommended(model: dict[str, Any], person: str, count: int) -> list[dict[str, Any]]:
    """The best that were not seen; what most people saw, for a stranger."""
    found = {film: score for film, score in scores(model, person).items() if int(film) not in model["seen"][person]}
    if not found:
        return [{"film": film, "stars": None} for film in model["popular"][:count]]
    best = sorted(found, key=lambda film: (-found[film], int(film)))[:count]
    return [{"film": int(film), "stars": round(found[film], 2)} for film in best]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """`?person=7&count=5` recommends; `?person=7&watched=93&recommended=1` tells what came of it."""
    query = event.get("queryStringParameters", event)
    person, count = str(query.get("person", "")), str(query.get("count", 5))
    if not person.isdigit() or not count.isdigit() or not 1 <= int(count) <= MOST:
        return {"statusCode": 400, "body": f"person and count are whole numbers, count from 1 to {MOST}\n"}
    headers = {"content-type": "application/json"}
    if "watched" in query:
        conversion = int(str(query.get("recommended", "")) == "1")
        return {"statusCode": 200, "headers": {**headers, "Hotswap-Metric": f"conversion={conversion}"}, "body": "{}"}
    if "opened" in query:
        return {"statusCode": 200, "headers": {**headers, "Hotswap-Metric": "engagement=1"}, "body": "{}"}
    films = recommended(MODEL, person, int(count))
    return {"statusCode": 200, "headers": headers, "body": json.dumps({"person": int(person), "films": films})}
