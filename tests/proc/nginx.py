"""nginx in front of nodes: as it comes, without settings for streams."""
import contextlib
import socket
import subprocess

from cluster import HOST, die_with_parent, free_port, wait_for


def http(folder, content):
    """The end of a configuration: no access log, and all files in this folder."""
    return f"""
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{content}
}}
"""


@contextlib.contextmanager
def nginx_before(nodes, folder):
    """Start it with these nodes as its upstream; the port that it listens at."""
    port = free_port()
    config = folder / "nginx.conf"
    servers = "".join(f"server {HOST}:{node.http_port};" for node in nodes)
    config.write_text(f"""
daemon off;
master_process off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
""" + http(folder, f"""
  upstream nodes {{ {servers} }}
  server {{
    listen {HOST}:{port};
    location / {{
      proxy_pass http://nodes;
      proxy_set_header Host $http_host;
    }}
  }}"""))
    nginx = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)],
                             preexec_fn=die_with_parent)
    try:
        wait_for(lambda: socket.create_connection((HOST, port), 1).close() is None,
                 what="nginx listens")
        yield port
    finally:
        nginx.terminate()  # With SIGKILL its workers would stay.
        nginx.wait(10)
