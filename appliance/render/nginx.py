"""nginx.conf: the TLS front. Everything goes to the web unit's socket; it decides what is shown.

A whole configuration for `nginx -c FILE`. It must do on a read-only root: the
pid and the temporary folders are under /run/pennypost-nginx (the unit's RuntimeDirectory), errors
go to the journal. Security headers are the application's, so that one place answers for them.
"""

from pathlib import Path

from appliance.render.facts import Facts
from appliance.settings.schema import Settings

FILE = "nginx.conf"
HTTP_PORT = 80
HTTPS_PORTS = (443, 8443)
# The largest thing a page takes is an imported settings file; mail does not come this way.
MAX_BODY = "16m"
RUNTIME = "/run/pennypost-nginx"


def render(settings: Settings, facts: Facts) -> dict[str, bytes]:
    """The configuration for this box's name and certificates.

    By pennypost.local or an address one meets the local certificate, also while settings change;
    by the mail server's name the one for that name.
    """
    local = _tls_server(
        ["listen {port} ssl default_server;", "listen [::]:{port} ssl default_server;"],
        facts.local_certificate,
        facts.local_key,
    )
    named = _tls_server(
        ["listen {port} ssl;", "listen [::]:{port} ssl;"],
        facts.tls_certificate,
        facts.tls_key,
        name=settings.mail.hostname,
    )
    servers = local + (named if settings.mail.hostname else "")
    text = _TEMPLATE.format(servers=servers, facts=facts, **_CONSTANTS)
    return {FILE: text.encode()}


def _tls_server(listen: list[str], certificate: Path, key: Path, *, name: str = "") -> str:
    lines = [line.format(port=port) for port in HTTPS_PORTS for line in listen]
    lines += [f"server_name {name};"] if name else []
    lines += [f"ssl_certificate {certificate};", f"ssl_certificate_key {key};"]
    body = "\n".join(f"        {line}" for line in lines)
    return f"""
    server {{
{body}
        location / {{
            proxy_pass http://web;
        }}
    }}
"""


_CONSTANTS = {"http": HTTP_PORT, "body": MAX_BODY, "runtime": RUNTIME}

_TEMPLATE = """\
# Made by Pennypost from its settings; do not edit.
user www-data;
worker_processes 1;
pid {runtime}/nginx.pid;
error_log stderr warn;
daemon off;

events {{
    worker_connections 512;
}}

http {{
    access_log off;
    server_tokens off;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;

    client_max_body_size {body};
    client_body_timeout 30s;
    client_header_timeout 15s;
    keepalive_timeout 60s;
    send_timeout 60s;
    large_client_header_buffers 4 8k;
    reset_timedout_connection on;
    client_body_temp_path {runtime}/body;
    proxy_temp_path {runtime}/proxy;
    fastcgi_temp_path {runtime}/fastcgi;
    uwsgi_temp_path {runtime}/uwsgi;
    scgi_temp_path {runtime}/scgi;

    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
    ssl_prefer_server_ciphers off;
    ssl_session_cache shared:tls:1m;
    ssl_session_tickets off;

    upstream web {{
        server unix:{facts.run}/web.sock;
        keepalive 4;
    }}

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Host $http_host;
    # A page may show how settings are applied for as long as that takes.
    proxy_read_timeout 300s;
    proxy_buffering off;

    server {{
        listen {http} default_server;
        listen [::]:{http} default_server;
        location / {{
            proxy_pass http://web;
        }}
    }}
{servers}}}
"""
