"""Where a controller's counts come from, as options: the routers, or Prometheus."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from hotswap.cli.durations import DURATION
from hotswap.errors import Invalid
from hotswap.settings import PrometheusSettings, is_loopback


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """They reach the command as `prometheus`, which is `None` for the routers."""

    @click.option(
        "--metrics-source",
        type=click.Choice(["routers", "prometheus"]),
        default="routers",
        help="Who tells what versions did: the routers, or a Prometheus that scrapes their /metrics/revisions.",
    )
    @click.option("--prometheus-url", metavar="URL", help="What comes before /api/v1/query.")
    @click.option(
        "--prometheus-bearer-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file with the token that it wants; read anew at each query.",
    )
    @click.option(
        "--prometheus-scrape-interval",
        type=DURATION,
        default="15s",
        help="How often it scrapes the routers; what is three times older is an error.",
    )
    @wraps(command)
    def run(
        *arguments: Any,
        metrics_source: str,
        prometheus_url: str | None,
        prometheus_bearer_file: Path | None,
        prometheus_scrape_interval: float,
        **options: Any,
    ) -> None:
        settings = None
        if metrics_source == "prometheus":
            url = check_url(prometheus_url, token=prometheus_bearer_file is not None)
            scrape = timedelta(seconds=prometheus_scrape_interval)
            settings = PrometheusSettings(url, scrape, prometheus_bearer_file)
        elif prometheus_url or prometheus_bearer_file:
            raise Invalid(
                "a Prometheus is named, but the routers are asked",
                hint="add --metrics-source prometheus, or leave it out",
            )
        command(*arguments, prometheus=settings, **options)

    return run


def check_url(url: str | None, *, token: bool) -> str:
    if not url:
        raise Invalid(
            "--metrics-source prometheus: where is it?", hint="for example --prometheus-url http://127.0.0.1:9090"
        )
    try:
        parts = urlsplit(url)
        host, good = parts.hostname or "", parts.scheme in {"http", "https"} and not parts.query and parts.port != 0
    except ValueError:
        host, good = "", False
    if not host or not good:
        raise Invalid(f'--prometheus-url: "{url}" is no URL of a Prometheus', hint="for example http://127.0.0.1:9090")
    if token and parts.scheme == "http" and not is_loopback(host):
        raise Invalid(
            f"--prometheus-url {url}: the token of --prometheus-bearer-file would be sent for everybody to read",
            hint="use https",
        )
    return url


def source_arguments(prometheus: PrometheusSettings | None) -> list[object]:
    """The same options again, for a command line."""
    if prometheus is None:
        return []
    told = ["--metrics-source", "prometheus", "--prometheus-url", prometheus.url]
    told += ["--prometheus-scrape-interval", f"{prometheus.scrape.total_seconds():g}s"]
    file = prometheus.bearer_file
    return [*told, *(["--prometheus-bearer-file", file.absolute()] if file else [])]
