"""Says of a document that does not fit its type which field is wrong, what it is, and what it may be.

msgspec says where and what it expected, but of a name that is not known neither which it knows nor, for a tag or an
enumeration, what the choices are. So its path is followed through the type and the document alike, and the sentence is
made of what is found at its end.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import inspect

from hotswap.errors import Invalid

STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]|\[(?P<each>\.\.\.)\]")
"""One step of msgspec's path; `[...]` is some value of a mapping, it does not say which."""
NAMED = re.compile(r"`(.*)`")
SHOWN = 60
"""Characters of a wrong value that are shown."""


def refusal(error: Exception, kind: Any, data: bytes | str, *, where: str) -> Invalid:
    """`data` is what was decoded as a `kind`, and `where` names it."""
    match error:
        case msgspec.ValidationError():
            return _misfit(error, kind, _untyped(data), where=where)
        case UnicodeError():
            return Invalid(f"{where} is not JSON: it is not UTF-8")
        case RecursionError():
            return Invalid(f"{where} is nested too deeply")
        case _:
            return Invalid(f"{where} is not JSON: {str(error).removeprefix('JSON is malformed: ')}")


def _untyped(data: bytes | str) -> Any:
    """`UNSET` where even that fails, as for a number that no float can hold, or a nest too deep."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return msgspec.UNSET


def _misfit(error: msgspec.ValidationError, kind: Any, document: Any, *, where: str) -> Invalid:
    text, _, at = str(error).partition(" - at `")
    place = _follow(at, inspect.type_info(kind), document)
    name = NAMED.search(text)
    if name and text.startswith("Object contains unknown field"):
        known = [field.encode_name for field in _fields(place)]
        return Invalid(f'{where}: there is no field "{place.join(name[1])}"', hint=_suggest(name[1], known))
    if name and text.startswith("Object missing required field"):
        missing = _field(place, name[1])
        return Invalid(f'{where}: the field "{place.join(name[1])}" is missing; it must be {describe(missing)}')
    if isinstance(error.__cause__, ValueError):  # of the type's own check
        return Invalid(f'{where}: "{place.path}": {text}' if place.path else f"{where}: {text}")
    if at.startswith("key"):
        return Invalid(f'{where}: a key in "{place.path}" is wrong; it must be {_key(place.type)}')
    return Invalid(f"{where}: {place.value_told()}; it must be {describe(place.type)}", hint=_meant(place))


@dataclass(frozen=True, slots=True)
class _Place:
    type: inspect.Type
    value: Any
    path: str = ""
    known: bool = True
    """False below a mapping, of which msgspec does not say which value is wrong."""

    def join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def value_told(self) -> str:
        if not self.known:
            return f'a value in "{self.path}" is wrong' if self.path else "it is wrong"
        shown = msgspec.json.encode(self.value).decode()
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
        return f'"{self.path}" is {shown}' if self.path else f"it is {shown}"


def _follow(path: str, kind: inspect.Type, document: Any) -> _Place:
    place = _Place(kind, document, known=document is not msgspec.UNSET)
    for step in STEP.finditer(path):
        if step["field"]:
            place = _into_field(place, step["field"])
        else:
            place = _into_item(place, int(step["index"]) if step["index"] else None)
    return place


def _into_field(place: _Place, name: str) -> _Place:
    known = place.known and isinstance(place.value, dict) and name in place.value
    return _Place(_field(place, name), place.value[name] if known else None, place.join(name), known)


def _into_item(place: _Place, index: int | None) -> _Place:
    for option in _options(place.type):
        match option:
            case inspect.ListType(item_type=item) if index is not None:
                known = place.known and isinstance(place.value, list)
                value = place.value[index] if known else None
                return _Place(item, value, f"{place.path}[{index}]", known)
            case inspect.DictType(value_type=item) if index is None:
                return _Place(item, None, place.path, known=False)
    return _Place(inspect.AnyType(), None, place.path, known=False)


def _structs(place: _Place) -> Iterator[inspect.StructType]:
    """Of a tagged union only the one that the document names, where it names one."""
    structs = [option for option in _options(place.type) if isinstance(option, inspect.StructType)]
    tagged = [one for one in structs if isinstance(place.value, dict) and place.value.get(one.tag_field) == one.tag]
    yield from tagged or structs


def _fields(place: _Place) -> Iterator[inspect.Field]:
    seen: set[str] = set()
    for struct in _structs(place):
        yield from (field for field in struct.fields if field.encode_name not in seen)
        seen.update(field.encode_name for field in struct.fields)


def _field(place: _Place, name: str) -> inspect.Type:
    tags = [struct.tag for struct in _structs(place) if struct.tag_field == name]
    if tags:
        return inspect.LiteralType(tuple(tags))
    return next((field.type for field in _fields(place) if field.encode_name == name), inspect.AnyType())


def _options(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _choices(kind: inspect.Type) -> tuple[Any, ...]:
    for option in _options(kind):
        match option:
            case inspect.EnumType(cls=cls):
                return tuple(member.value for member in cls)
            case inspect.LiteralType(values=values):
                return values
    return ()


def _meant(place: _Place) -> str:
    close = get_close_matches(str(place.value), map(str, _choices(place.type)), n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else ""


def _suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"the fields are {_listed(known, 'and')}" if known else "there are no fields here"


def _key(kind: inspect.Type) -> str:
    mapping = next((option for option in _options(kind) if isinstance(option, inspect.DictType)), None)
    return describe(mapping.key_type) if mapping else "a text"


def describe(kind: inspect.Type) -> str:
    """What a value of the type may be, for people."""
    match kind:
        case inspect.UnionType(types=types):
            given = [
                option for option in types if not isinstance(option, inspect.NoneType)
            ]  # null is as good as absent
            return _listed(dict.fromkeys(map(describe, given)), "or")
        case inspect.EnumType() | inspect.LiteralType():
            return _listed((f'"{choice}"' for choice in _choices(kind)), "or")
        case inspect.IntType():
            return f"a whole number{_range(kind)}"
        case inspect.FloatType():
            return f"a number{_range(kind)}"
        case inspect.TimeDeltaType():
            return 'a duration such as "PT10M"'
        case inspect.DateTimeType():
            return 'a time such as "2025-11-23T10:00:00Z"'
        case inspect.ListType(item_type=item, min_length=least, max_length=most):
            bounds = [f"at least {least}"] * bool(least) + [f"at most {most}"] * (most is not None)
            return f"a list{' of ' + _listed(bounds, 'and') if bounds else ''}, each {describe(item)}"
        case _:
            return SIMPLE.get(type(kind), "a JSON value")


SIMPLE: dict[type[inspect.Type], str] = {
    inspect.StrType: "a text",
    inspect.BoolType: "true or false",
    inspect.DictType: "an object",
    inspect.StructType: "an object",
}


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    least = f" from {kind.ge:g}" if kind.ge is not None else f" above {kind.gt:g}" if kind.gt is not None else ""
    most = f" to {kind.le:.16g}" if kind.le is not None else f" below {kind.lt:.16g}" if kind.lt is not None else ""
    return f"{least}{' and up' if most.startswith(' to') and least.startswith(' above') else ''}{most}"


def _listed(names: Iterable[str], last: str) -> str:
    """`a, b and c`."""
    *most, end = names
    return f"{', '.join(most)} {last} {end}" if most else end
