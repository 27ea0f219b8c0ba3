"""`hotswap.toml`: what it may say, and what a person is told who wrote it wrong."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap import manifest
from hotswap.errors import Invalid
from hotswap.model import Kind

LEAST = """
function = "image-processor"
kind = "handler"
entrypoint = "app:handler"
"""
PROGRAM = """
function = "f"
kind = "http"
entrypoint = ["./server"]
"""


def test_the_least_that_a_manifest_says() -> None:
    found = manifest.parse(LEAST)
    assert (found.function, found.kind, found.entrypoint) == ("image-processor", Kind.HANDLER, "app:handler")


def test_everything_that_a_manifest_may_say() -> None:
    found = manifest.parse(
        LEAST
        + """
        description = "thumbnails"
        concurrency = 4
        timeout = "1m30s"
        start_timeout = "PT20S"
        drain_timeout = "500ms"
        memory = 256
        max_body = 1000
        min_instances = 2
        max_instances = 5
        idle_timeout = "1m"
        env = { MODE = "fast" }
        sample_payload = { width = 10, tags = ["a"] }
        placement = { labels = { zone = "a" } }
        """
    )
    assert found.timeout == timedelta(seconds=90)
    assert found.start_timeout == timedelta(seconds=20)
    assert found.drain_timeout == timedelta(milliseconds=500)
    assert (found.concurrency, found.memory, found.max_body, found.min_instances) == (4, 256, 1000, 2)
    assert (found.most_instances, found.elastic, found.idle_timeout) == (5, True, timedelta(minutes=1))
    assert found.env == {"MODE": "fast"}
    assert found.sample_payload is not msgspec.UNSET
    assert bytes(found.sample_payload) == b'{"width":10,"tags":["a"]}'
    assert found.placement.labels == {"zone": "a"}


@pytest.mark.parametrize("entrypoint", ['["./server", "--port", "$PORT"]', '"./server --port $PORT"'])
def test_the_command_of_an_http_function_is_a_list_or_a_line(entrypoint: str) -> None:
    found = manifest.parse(f'function = "f"\nkind = "http"\nentrypoint = {entrypoint}')
    assert found.entrypoint == ["./server", "--port", "$PORT"]


def test_a_sample_payload_may_be_json_in_a_text() -> None:
    found = manifest.parse(LEAST + """sample_payload = '{"image": "x"}'""")
    assert found.sample_payload is not msgspec.UNSET
    assert bytes(found.sample_payload) == b'{"image": "x"}'


@given(st.integers(1, 10_000_000))
def test_a_duration_is_the_same_in_every_spelling(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    for text in (f"{milliseconds}ms", f"{milliseconds / 1000:.3f}s", f"PT{milliseconds / 1000:.3f}S"):
        assert abs(manifest.parse(LEAST + f'timeout = "{text}"').timeout - duration) < timedelta(microseconds=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'kind = "handler"\nentrypoint = "a:b"',
            'hotswap.toml: the field "function" is missing; it is a name of 1 to 63',
        ),
        (
            'function = "f"\nentrypoint = "a:b"',
            'the field "kind" is missing; it is one of "handler", "asgi", "wsgi", "http"',
        ),
        ('function = "f"\nkind = "handler"', 'the field "entrypoint" is missing; it is "module:attribute"'),
        ('function = "F_1"\nkind = "handler"\nentrypoint = "a:b"', 'the field "function": "F_1" is not a name'),
        (
            'function = "f"\nkind = "lambda"\nentrypoint = "a:b"',
            """the field "kind": invalid enum value 'lambda'; it may be one of""",
        ),
        (
            'function = "f"\nkind = "handler"\nentrypoint = "app.py"',
            """the field "entrypoint": 'app.py' is none for the kind handler""",
        ),
        (
            'function = "f"\nkind = "asgi"\nentrypoint = ["a"]',
            """the field "entrypoint": ['a'] is none for the kind asgi""",
        ),
        ('function = "f"\nkind = "http"\nentrypoint = []', 'the field "entrypoint": [] is none for the kind http'),
        ('function = "f"\nkind = "http"\nentrypoint = "a \\"b"', 'the field "entrypoint": the command cannot be split'),
        (LEAST + "entrypont = 1", 'there is no field "entrypont"\ndid you mean "entrypoint"?'),
        (LEAST + "zzz = 1", 'there is no field "zzz"\nthe fields are function, kind'),
        (
            LEAST + "concurrency = 0",
            'the field "concurrency": expected `int` >= 1; it may be a whole number from 1 to 10000',
        ),
        (
            LEAST + "min_instances = 3\nmax_instances = 2",
            'the field "max_instances": 2 is below min_instances, which is 3; it may be a whole number from 1 to 1000',
        ),
        (LEAST + "max_instances = 0", 'the field "max_instances": expected `int` >= 1'),
        (LEAST + 'idle_timeout = "0s"', 'the field "idle_timeout": "0s" is not longer than 0'),
        (
            'function = "f"\nkind = "http"\nentrypoint = "./run"\nmin_instances = 0',
            'of the kind "http" always runs as many instances as it may, but min_instances is 0 and max_instances 1\n'
            "set both to 1: a program binds its port itself",
        ),
        (LEAST + "cpu = 0", 'the field "cpu": expected `float` >= 0.01; it may be cores, a number from 0.01 to 1024'),
        (LEAST + "processes = 0", 'the field "processes": expected `int` >= 1; it may be a whole number from 1 to'),
        (LEAST + "files = 3", 'the field "files": expected `int` >= 64; it may be a whole number from 64 to'),
        (LEAST + 'disk = "1G"', 'the field "disk": expected `int`, got `str`; it may be MiB'),
        (LEAST + 'min_instances = "2"', 'the field "min_instances": expected `int`, got `str`'),
        (LEAST + "timeout = 30", 'the field "timeout": 30 is not a text; it may be a duration longer than 0: "30s"'),
        (LEAST + 'timeout = "30 parrots"', 'the field "timeout": "30 parrots" is no duration'),
        (LEAST + 'timeout = ""', 'the field "timeout": "" is no duration'),
        (LEAST + 'start_timeout = "0s"', 'the field "start_timeout": "0s" is not longer than 0'),
        (LEAST + 'env = { "A B" = "x" }', 'the field "env": "A B" cannot name a variable'),
        (LEAST + 'env = { PORT = "1" }', 'the field "env" sets PORT, which is the platform\'s'),
        (PROGRAM + 'env = { HOST = "::" }', 'the field "env" sets HOST, which is the platform\'s'),
        (LEAST + "env = { A = 1 }", 'the field "env[...]": expected `str`, got `int`'),
        (LEAST + "sample_payload = '{'", 'the field "sample_payload": the text is not JSON'),
        (LEAST + 'placement = { zone = "a" }', 'the field "placement": object contains unknown field `zone`'),
        ("function = ", "hotswap.toml is not TOML"),
    ],
)
def test_an_error_names_the_file_the_field_and_what_it_may_be(text: str, said: str) -> None:
    with pytest.raises(Invalid) as error:
        manifest.parse(text)
    assert said in str(error.value)


def test_a_folder_without_a_manifest_is_told_how_to_write_one(tmp_path: Path) -> None:
    folder = tmp_path / "My Function"
    folder.mkdir()
    with pytest.raises(Invalid, match=r'has no hotswap.toml\nwrite one: function = "my-function"'):
        manifest.read(folder)


def test_a_folder_with_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "hotswap.toml").write_text(LEAST)
    assert manifest.read(tmp_path).function == "image-processor"


@pytest.mark.parametrize("line", ['env = { A = "x\\u0000y" }', 'description = "fine"\nenv = { B = "\\u0000" }'])
def test_a_nul_byte_can_be_given_to_no_process(line: str) -> None:
    with pytest.raises(Invalid, match="NUL"):
        manifest.parse(LEAST + line)


MINIMAL = 'function = "f"\nkind = "handler"\nentrypoint = "app:handler"\n'
SCHEMA = 'schemas = { input = { type = "object", required = ["name"] }, output = \'{"type": "string"}\' }\n'


def test_schemas_are_tables_or_texts_of_json() -> None:
    schemas = manifest.parse(MINIMAL + SCHEMA).schemas
    assert isinstance(schemas.input, msgspec.Raw)
    assert isinstance(schemas.output, msgspec.Raw)
    assert msgspec.json.decode(schemas.input) == {"type": "object", "required": ["name"]}
    assert msgspec.json.decode(schemas.output) == {"type": "string"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('schemas = { output = { type = "strin" } }', '"schemas.output" is no JSON Schema'),
        ("schemas = { output = '{' }", "the text is not JSON"),
        ('schemas = { output = { "$ref" = "https://example.com/x.json" } }', "names a schema that is not part of it"),
        (
            """schemas = { output = '{"items": {"$ref": "https://example.com/x.json"}}' }""",
            "names a schema that is not part of it: https://example.com/x.json",
        ),
        (
            'schemas = { output = { "$schema" = "http://json-schema.org/draft-07/schema#" } }',
            r'has the "\$schema" http://json-schema.org/draft-07/schema#, which is not known',
        ),
        ('schemas = { output = { "$id" = "http://[x" } }', "is no JSON Schema"),
        ('schemas = { outptu = { type = "string" } }', "schemas"),
    ],
)
def test_schemas_that_make_no_sense_are_refused(more: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        manifest.parse(MINIMAL + more)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (SCHEMA + "sample_payload = { nme = 1 }", "does not allow sample_payload: \\$: 'name' is a required property"),
        ("""sample_payload = {}\nschemas = { input = '{"$ref": "#"}' }""", "nested without end"),
    ],
)
async def test_a_sample_payload_that_its_schema_does_not_allow_is_refused(more: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "hotswap.toml").write_text(MINIMAL + more)
    with pytest.raises(Invalid, match=said):
        manifest.read(tmp_path)
    with pytest.raises(Invalid, match=said):
        await manifest.check_sample_apart(manifest.parse(MINIMAL + more))


async def test_a_sample_payload_that_fits_and_one_without_a_schema_are_not_refused() -> None:
    for more in ("", "sample_payload = {}", SCHEMA, SCHEMA + 'sample_payload = { name = "Ada" }'):
        await manifest.check_sample_apart(manifest.parse(MINIMAL + more))


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [("", 1, 1), ("min_instances = 3", 3, 3), ("min_instances = 0", 0, 1), ("max_instances = 4", 1, 4)],
)
def test_how_many_instances_run_where_not_all_is_said(said: str, least: int, most: int) -> None:
    found = manifest.parse(LEAST + said)
    assert (found.min_instances, found.most_instances) == (least, most)
    assert found.elastic == (least != most)
