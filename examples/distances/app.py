"""Distances between cities along great circles: a web application with FastAPI."""

import json
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException
from fastapi import Path as InPath
from pydantic import BaseModel, Field

EARTH_KM = 6371.0088
"""Mean radius."""
PLACES: dict[str, tuple[float, float]] = json.loads(Path(__file__).with_name("places.json").read_text())
"""Latitude and longitude, in degrees."""

app = FastAPI(title="Distances")

Name = Annotated[str, InPath(description="As in /places")]


class Route(BaseModel):
    places: list[str] = Field(min_length=2, max_length=50)


class Leg(BaseModel):
    start: str
    end: str
    km: float


class Distance(BaseModel):
    legs: list[Leg]
    km: float


def km(start: str, end: str) -> float:
    """By the haversine formula."""
    for name in (start, end):
        if name not in PLACES:
            raise HTTPException(404, f'there is no place "{name}"; see /places')
    (lat1, lon1), (lat2, lon2) = ((radians(lat), radians(lon)) for lat, lon in (PLACES[start], PLACES[end]))
    half = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return round(2 * EARTH_KM * asin(sqrt(half)), 1)


@app.get("/places")
async def places() -> dict[str, tuple[float, float]]:
    return PLACES


@app.get("/distance/{start}/{end}")
async def distance(start: Name, end: Name) -> Leg:
    return Leg(start=start, end=end, km=km(start, end))


@app.post("/route")
async def route(asked: Route) -> Distance:
    legs = [Leg(start=a, end=b, km=km(a, b)) for a, b in zip(asked.places, asked.places[1:], strict=False)]
    return Distance(legs=legs, km=round(sum(leg.km for leg in legs), 1))
