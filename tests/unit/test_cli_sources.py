"""What a controller is told about the Prometheus that it shall judge by."""

from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hotswap.cli.sources import source_arguments, source_options
from hotswap.errors import HotswapError
from hotswap.settings import PrometheusSettings


def told(*arguments: str) -> PrometheusSettings | None:
    found: list[PrometheusSettings | None] = []

    @click.command()
    @source_options
    def command(*, prometheus: PrometheusSettings | None) -> None:
        found.append(prometheus)

    result = CliRunner().invoke(command, arguments)
    if isinstance(result.exception, HotswapError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return found[0]


def test_unless_it_is_told_otherwise_the_routers_are_asked() -> None:
    assert told() is None


def test_what_is_told_is_told_again_to_the_service(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret")
    for settings in (
        PrometheusSettings("http://127.0.0.1:9090", timedelta(seconds=0.5)),
        PrometheusSettings("https://prometheus.example/mimir", timedelta(minutes=1), file),
    ):
        assert told(*map(str, source_arguments(settings))) == settings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metrics-source", "prometheus"], "where is it?"),
        (["--prometheus-url", "http://127.0.0.1:9090"], "but the routers are asked"),
        (["--metrics-source", "prometheus", "--prometheus-url", "127.0.0.1:9090"], "no URL of a Prometheus"),
        (["--metrics-source", "prometheus", "--prometheus-url", "http://[::1"], "no URL of a Prometheus"),
        (
            [
                "--metrics-source",
                "prometheus",
                "--prometheus-url",
                "http://p.example",
                "--prometheus-bearer-file",
                __file__,
            ],
            "for everybody to read",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(HotswapError, match=said):
        told(*arguments)
