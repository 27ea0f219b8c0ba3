"""Between an alias as AWS describes it, a version and what of its traffic goes to others, and weights. Pure.

AWS has fractions of one, we have whole percents; what falls between them is refused and not rounded, since somebody
meant it.
"""

from collections.abc import Mapping

from controller.api.aws.faults import invalid
from controller.api.aws.names import LATEST
from hotswap.model import FULL_WEIGHT, Alias, Weights

EXACT = 1e-9
"""Less than what any two fractions that somebody would write differ by, more than floats are off."""


def number_of(text: str, *, field: str = "FunctionVersion") -> int:
    if text == LATEST:
        raise invalid(
            f"{field} is {LATEST}; an alias names versions that stay", hint="publish a version and name its number"
        )
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 999_999_999:
        raise invalid(f'{field} is "{text}"; it must be the number of a version, such as "1"')
    return int(text)


def weights_of(version: str, additional: Mapping[str, float]) -> Weights:
    """Raises `Fault`."""
    main = number_of(version)
    others = {number_of(name, field="RoutingConfig"): _percent(name, part) for name, part in additional.items()}
    if main in others:
        raise invalid(
            f"RoutingConfig gives weight to version {main}, which is the alias's own",
            hint="it has what the others leave; name only the others",
        )
    left = FULL_WEIGHT - sum(others.values())
    if left < 0:
        raise invalid("the weights in RoutingConfig add up to more than 1.0")
    return {main: left, **others}


def described(alias: Alias) -> tuple[str, dict[str, float]]:
    """Its own version, and the fractions of the others: its own is the last good one, else the one with the most."""
    weights = {version: weight for version, weight in alias.weights.items() if weight}
    main = alias.last_good if alias.last_good in weights else None
    if main is None:
        main = min(weights, key=lambda version: (-weights[version], version))
    return str(main), {str(version): weights[version] / FULL_WEIGHT for version in sorted(weights) if version != main}


def _percent(name: str, part: float) -> int:
    percent = round(part * FULL_WEIGHT) if 0 <= part <= 1 else -1
    if percent < 0 or abs(percent / FULL_WEIGHT - part) > EXACT:
        raise invalid(
            f"RoutingConfig gives version {name} the weight {part:g}; weights here are whole percents of 0.0 to 1.0",
            hint="round it to two decimals, for example 0.05",
        )
    return percent
