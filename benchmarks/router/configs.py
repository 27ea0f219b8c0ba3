"""How the other proxies are told to do what ours does, each by its own usual means.

Two routes, by the prefix of the path: one to the pair of backends, one to the pair that streams events. Nine to one,
one worker, no access log, connections kept alive on both sides without a limit in number. The same fields are set: on
the request X-Forwarded-For, -Proto and -Host, a request id and Via; on the answer the request id and Via. Traefik makes
no request ids: it is spared them. None of them has to take off the prefix as ours does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.router.backend import paths, preamble
from benchmarks.router.case import EVENTS, FUNCTION, WEIGHTS

MANY = 100_000
"""Where a proxy wants a number and none is meant."""
ENVOY = "type.googleapis.com/envoy.extensions.filters"


@dataclass(frozen=True)
class Routes:
    """Ports of the backends, by version, on each route."""

    bench: Sequence[int]
    events: Sequence[int]

    def items(self) -> tuple[tuple[str, Sequence[int]], tuple[str, Sequence[int]]]:
        return ((FUNCTION, self.bench), (EVENTS, self.events))


def haproxy(routes: Routes, port: int) -> str:
    backends = "\n".join(
        f"backend {name}\n"
        + "\n".join(
            f"  server s{version} 127.0.0.1:{at} weight {weight}"
            for at, (version, weight) in zip(ports, WEIGHTS.items(), strict=True)
        )
        for name, ports in routes.items()
    )
    rules = "\n".join(f"  use_backend {name} if {{ path_beg /fn/{name}/ }}" for name, _ in routes.items())
    return f"""global
  nbthread 1
  maxconn 9000
  tune.pool-low-fd-ratio 100
  tune.pool-high-fd-ratio 100
defaults
  mode http
  balance roundrobin
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 75s
  default-server pool-purge-delay 300s
  option http-no-delay
frontend all
  bind 127.0.0.1:{port} backlog 4096
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header Via "1.1 haproxy"
  http-response set-header Via "1.1 haproxy"
  http-response set-header X-Request-Id %[unique-id]
{rules}
{backends}
"""


def nginx(routes: Routes, port: int, *, folder: Path) -> str:
    upstreams = "\n".join(
        f"  upstream {name} {{ "
        + " ".join(
            f"server 127.0.0.1:{at} weight={weight};" for at, weight in zip(ports, WEIGHTS.values(), strict=True)
        )
        + " keepalive 8192; keepalive_requests 1000000000; }"
        for name, ports in routes.items()
    )
    return f"""{preamble(folder)}
http {{
  {paths(folder)}
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
{upstreams}
  proxy_http_version 1.1;
  proxy_buffers 4 16k;
  proxy_buffer_size 16k;
  proxy_max_temp_file_size 0;
  proxy_set_header Host $http_host;
  proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Request-Id $request_id;
  proxy_set_header Via "1.1 nginx";
  add_header Via "1.1 nginx" always;
  add_header X-Request-Id $request_id always;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /fn/{FUNCTION}/ {{ proxy_pass http://{FUNCTION}; }}
    location /fn/{EVENTS}/ {{ proxy_pass http://{EVENTS}; proxy_buffering off; }}
  }}
}}
"""


def envoy(routes: Routes, port: int) -> str:
    ways = [_envoy_route(name) for name, _ in routes.items()]
    manager = {
        "@type": f"{ENVOY}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "via": "1.1 envoy",
        "always_set_request_id_in_response": True,
        "stream_idle_timeout": "60s",
        "http_filters": [_envoy_router()],
        "route_config": {
            "request_headers_to_add": [_envoy_field("X-Forwarded-Host", "%REQ(:AUTHORITY)%")],
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": ways}],
        },
    }
    listener = {
        "address": _envoy_address(port),
        "tcp_backlog_size": 4096,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    clusters = [
        _envoy_cluster(f"{name}-{version}", at)
        for name, ports in routes.items()
        for version, at in zip(WEIGHTS, ports, strict=True)
    ]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}, indent=1)


def _envoy_router() -> dict[str, Any]:
    config = {"@type": f"{ENVOY}.http.router.v3.Router", "suppress_envoy_headers": True}
    return {"name": "envoy.filters.http.router", "typed_config": config}


def _envoy_field(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _envoy_route(name: str) -> dict[str, Any]:
    weighted = [{"name": f"{name}-{version}", "weight": weight} for version, weight in WEIGHTS.items()]
    action = {"weighted_clusters": {"clusters": weighted}, "timeout": "0s"}
    return {"match": {"prefix": f"/fn/{name}/"}, "route": action}


def _envoy_cluster(name: str, port: int) -> dict[str, Any]:
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), MANY)
    endpoint = {"endpoint": {"address": _envoy_address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _envoy_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def traefik(port: int, *, rules: Path) -> str:
    """JSON, which is YAML too."""
    return json.dumps(
        {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
            "entryPoints": {
                "all": {"address": f"127.0.0.1:{port}", "transport": {"lifeCycle": {"graceTimeOut": "1s"}}},
            },
            "serversTransport": {"maxIdleConnsPerHost": 8192},
            "providers": {"file": {"filename": str(rules), "watch": False}},
        }
    )


def traefik_rules(routes: Routes) -> str:
    via = {"Via": "1.1 traefik"}
    routers, services = {}, {}
    for name, ports in routes.items():
        routers[name] = {"rule": f"PathPrefix(`/fn/{name}/`)", "service": name, "middlewares": ["via"]}
        shares = [{"name": f"{name}-{version}", "weight": weight} for version, weight in WEIGHTS.items()]
        services[name] = {"weighted": {"services": shares}}
        for version, at in zip(WEIGHTS, ports, strict=True):
            services[f"{name}-{version}"] = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{at}"}]}}
    middlewares = {"via": {"headers": {"customRequestHeaders": via, "customResponseHeaders": via}}}
    return json.dumps({"http": {"routers": routers, "services": services, "middlewares": middlewares}})
