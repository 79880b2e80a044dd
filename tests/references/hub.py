"""Hugging Face's hub on this machine: the addresses and answers that its client asks for."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading

ERRORS = {404: "RepoNotFound", 409: "RepoAlreadyExists"}


class StandIn:
    """`files`: {"ORG/NAME": {path: content}}. `endpoint`: the address."""

    def __init__(self):
        self.files, stand_in = {}, self

        class Handler(_Handler):
            hub = stand_in

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def revision(self, repo):
        parts = sorted((path, content) for path, content in self.files[repo].items())
        return hashlib.sha1(repr(parts).encode()).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: StandIn

    def do_GET(self):
        if found := re.match(r"/api/models/([\w.-]+/[\w.-]+)(/revision/|/tree/|$)", self.path):
            repo, what = found.groups()
            if repo not in self.hub.files:
                return self.answer({}, 404)
            if what == "/tree/":
                return self.answer(
                    [
                        {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
                        for path, content in self.hub.files[repo].items()
                    ]
                )
            return self.answer({"id": repo, "sha": self.hub.revision(repo), "siblings": []})
        found = re.match(r"/([\w.-]+/[\w.-]+)/resolve/\w+/([^?]+)", self.path)
        files = self.hub.files.get(found[1]) if found else None
        if files is None or found[2] not in files:
            return self.answer({}, 404, "EntryNotFound" if files is not None else None)
        content = files[found[2]]
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": self.hub.revision(found[1])}
        return self.send(content, headers)

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)) or self.chunks()
        if self.path.endswith("/commit/main"):
            return self.commit(self.path.split("/models/")[1].removesuffix("/commit/main"), body)
        asked = json.loads(body)
        if self.path == "/api/repos/create":
            repo = f"{asked['organization']}/{asked['name']}"
            status = 409 if repo in self.hub.files else 200
            self.hub.files.setdefault(repo, {})
            return self.answer({"url": f"{self.hub.endpoint}/{repo}"}, status)
        if self.path == "/api/validate-yaml":
            import yaml  # of the client, as of mkdocs

            fields = yaml.safe_load(asked["content"].split("---\n")[1])
            assert all(isinstance(key, str) for key in fields)
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            kind = {"uploadMode": "regular", "shouldIgnore": False}
            return self.answer({"files": [{"path": f["path"], **kind} for f in asked["files"]]})
        return self.answer({}, 404)

    def commit(self, repo, body):
        for line in body.splitlines():
            operation = json.loads(line)
            if operation["key"] == "file":
                value = operation["value"]
                self.hub.files[repo][value["path"]] = base64.b64decode(value["content"])
        url = f"{self.hub.endpoint}/{repo}/commit/{self.hub.revision(repo)}"
        self.answer({"success": True, "commitOid": url[-40:], "commitUrl": url})

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def answer(self, content, status=200, error=None):
        error = error or ERRORS.get(status)
        headers = {"Content-Type": "application/json", **({"X-Error-Code": error} if error else {})}
        self.send(json.dumps(content).encode(), headers, status)

    def send(self, content, headers, status=200):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def _oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.contextmanager
def running(monkeypatch, cache):
    """Runs a `StandIn` that the client takes for the hub, with an empty cache."""
    from huggingface_hub import constants

    hub = StandIn()
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(constants, name, value)
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        thread.join()
        hub.server.server_close()
