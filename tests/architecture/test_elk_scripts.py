"""The scripts of elk/, run for real: Docker, certutil and Elasticsearch's users are stood in for."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from tests.architecture.compose_rules import ELK, FILE, example

PASSWORD = "k" + "0123456789abcdef" * 3
PASSWORDS = {
    "ELASTIC_PASSWORD": PASSWORD,
    "KIBANA_PASSWORD": f"kibana-{PASSWORD}",
    "FILEBEAT_PASSWORD": f"filebeat-{PASSWORD}",
}
NEEDED = ("bash", "cat", "chmod", "dirname", "grep", "mkdir", "od", "sed", "sh", "tail", "touch", "tr")

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("bash", "curl")), reason="the scripts need bash and curl"
)


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def run(file: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(file)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class Checkout(NamedTuple):
    """A copy of what `make elk-up` uses, with a docker that writes down how it is called."""

    root: Path
    bin: Path

    def run(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(self.root / "elk" / name, **{"PATH": str(self.bin), **environment})

    def calls(self) -> list[str]:
        return (self.root / "calls").read_text(encoding="utf-8").splitlines()

    def settings(self) -> dict[str, str]:
        lines = (self.root / "elk" / ".env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a checkout"
    shutil.copytree(ELK, root / "elk", ignore=shutil.ignore_patterns(".env", "ca.crt"))
    shutil.copy(FILE, root)
    place = Checkout(root, tmp_path / "bin")
    place.bin.mkdir()
    for tool in NEEDED:
        (place.bin / tool).symlink_to(str(shutil.which(tool)))
    script(place.bin / "docker", f'#!/bin/sh\necho "$*" >>"{root}/calls"\n')
    return place


UP = "compose --env-file elk/.env --file docker-compose.elk.yml"


def test_up_writes_the_settings_once_and_waits_for_health(checkout):
    done = checkout.run("up.sh")
    assert done.returncode == 0, done.stderr
    first = checkout.settings()
    assert set(first) == set(example())
    assert {name: first[name] for name, value in example().items() if value} == {
        name: value for name, value in example().items() if value
    }
    made = [first[name] for name, value in example().items() if not value]
    assert len(set(made)) == len(made) == 6
    assert all(re.fullmatch("k[0-9a-f]{48}", value) for value in made)
    assert stat.S_IMODE((checkout.root / "elk" / ".env").stat().st_mode) == 0o600
    assert f"{UP} up --detach --wait" in checkout.calls()
    assert (checkout.root / "demo-run" / "state").is_dir()
    assert not any(value in done.stdout + done.stderr for value in made)
    assert "https://127.0.0.1:9200" in done.stdout
    checkout.run("up.sh")
    assert checkout.settings() == first


def test_up_keeps_what_the_settings_say_and_adds_what_a_newer_version_needs(checkout):
    (checkout.root / "elk" / ".env").write_text(f"ELASTIC_PASSWORD={PASSWORD}\nKIBANA_PORT=5999\nELK_LOGS=./here\n")
    done = checkout.run("up.sh")
    settings = checkout.settings()
    assert (settings["ELASTIC_PASSWORD"], settings["KIBANA_PORT"]) == (PASSWORD, "5999")
    assert set(settings) == set(example())
    assert (checkout.root / "here").is_dir()
    assert not (checkout.root / "demo-run").exists()
    assert "http://127.0.0.1:5999" in done.stdout
    assert stat.S_IMODE((checkout.root / "elk" / ".env").stat().st_mode) == 0o600


def test_up_takes_the_log_folder_from_the_environment_first_as_compose_does(checkout, tmp_path):
    assert checkout.run("up.sh", ELK_LOGS=str(tmp_path / "logs")).returncode == 0
    assert (tmp_path / "logs").is_dir()


def test_a_log_folder_that_compose_would_take_for_a_volume_is_refused(checkout):
    done = checkout.run("up.sh", ELK_LOGS="logs")
    assert (done.returncode, "ELK_LOGS is logs: it must begin with / or ./" in done.stderr) == (1, True)


@pytest.mark.parametrize("name", ["up.sh", "down.sh"])
@pytest.mark.parametrize(
    "docker", ["", "#!/bin/sh\necho \"docker: 'compose' is not a docker command\" >&2\nexit 1\n"], ids=["no", "old"]
)
def test_without_docker_compose_the_scripts_refuse_and_leave_nothing(checkout, name, docker):
    (checkout.bin / "docker").unlink()
    if docker:
        script(checkout.bin / "docker", docker)
    done = checkout.run(name)
    assert done.returncode == 1
    assert done.stderr.startswith("elk: docker compose (2.7 or later) is not here: install")
    assert not (checkout.root / "elk" / ".env").exists()


@pytest.mark.parametrize(("fails", "says"), [("info", "daemon does not answer"), ("up", "not everything came up")])
def test_up_says_what_docker_could_not_do(checkout, fails, says):
    script(checkout.bin / "docker", f'#!/bin/sh\ncase "$*" in {fails}|*" {fails} "*) exit 1 ;; esac\n')
    done = checkout.run("up.sh")
    assert (done.returncode, says in done.stderr) == (1, True)


def test_down_keeps_the_volumes_and_says_how_to_delete_them(checkout):
    checkout.run("up.sh")
    done = checkout.run("down.sh")
    assert checkout.calls()[-1] == f"{UP} down --remove-orphans"
    assert f"docker {UP} down --volumes" in done.stdout


def test_down_before_any_up_says_so(checkout):
    done = checkout.run("down.sh")
    assert (done.returncode, "nothing was started" in done.stderr) == (1, True)


class Users:
    """Elasticsearch's users, roles and templates over TLS; `answers` are given before it accepts anything."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.answers: list[int] = []
        self.accepted: list[tuple[str, str, Any]] = []
        self.refused = 0

    def judge(self, method: str, path: str, sent: str, body: bytes) -> int:
        if self.answers:
            return self.answers.pop(0)
        if base64.b64decode(sent.removeprefix("Basic ")).decode() != f"elastic:{self.password}":
            self.refused += 1
            return 401
        self.accepted.append((method, path, json.loads(body)))
        return 200


@pytest.fixture
def users(tmp_path: Path) -> Iterator[tuple[Users, Callable[..., subprocess.CompletedProcess[str]]]]:
    """The server, and the function that runs setup.sh against it."""
    state = Users(PASSWORD)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = state.judge(self.command, self.path, self.headers["authorization"], body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"from": "the server"}')

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None: ...

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))

    def setup(**environment: str) -> subprocess.CompletedProcess[str]:
        where = {
            "ELASTICSEARCH_URL": f"https://localhost:{server.server_address[1]}",
            "AUTHORITY": str(tmp_path),
            "ELK": str(ELK),
            "SETUP_TRIES": "8",
            "SETUP_PAUSE": "0.01",
        }
        return run(ELK / "setup.sh", **(where | PASSWORDS | environment))

    yield state, setup
    server.shutdown()
    thread.join()
    server.server_close()


def contents(name: str) -> Any:
    return json.loads((ELK / name).read_text(encoding="utf-8"))


def test_setup_gives_the_passwords_and_puts_the_role_and_the_template(users):
    state, setup = users
    done = setup()
    assert (done.returncode, done.stdout, done.stderr) == (0, "setup is done\n", "")
    role = {"password": PASSWORDS["FILEBEAT_PASSWORD"], "roles": ["funnelgate_filebeat"]}
    expected = [
        ("POST", "/_security/user/kibana_system/_password", {"password": PASSWORDS["KIBANA_PASSWORD"]}),
        ("PUT", "/_security/role/funnelgate_filebeat", contents("filebeat-role.json")),
        ("PUT", "/_security/user/funnelgate_filebeat", role),
        ("PUT", "/_index_template/funnelgate-logs", contents("logs-template.json")),
    ]
    assert state.accepted == expected
    assert setup().returncode == 0
    assert state.accepted == expected * 2


def test_setup_waits_while_elasticsearch_is_busy_or_does_not_know_its_users_yet(users):
    state, setup = users
    state.answers = [503, 401, 429]
    assert setup().returncode == 0
    assert len(state.accepted) == 4


def test_setup_says_which_password_is_refused_and_shows_none(users):
    state, setup = users
    done = setup(ELASTIC_PASSWORD="k" * 40)
    assert done.returncode == 1
    assert "refuses ELASTIC_PASSWORD" in done.stderr
    assert state.refused == 2
    assert not any(value in done.stdout + done.stderr for value in ("k" * 40, *PASSWORDS.values()))


def test_setup_stops_at_an_answer_that_waiting_does_not_change(users):
    state, setup = users
    state.answers = [400]
    done = setup()
    assert done.returncode == 1
    assert '_password: HTTP 400 {"from": "the server"}' in done.stderr
    assert state.accepted == []


def test_setup_ends_where_nobody_answers(users, tmp_path):
    _, setup = users
    done = setup(ELASTICSEARCH_URL="https://localhost:1", SETUP_TRIES="2")
    assert done.returncode == 1
    assert "after 2 tries" in done.stderr


def test_setup_talks_to_no_server_of_another_authority(users, tmp_path):
    state, setup = users
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    done = setup(SETUP_TRIES="2")
    assert done.returncode == 1
    assert (state.accepted, state.refused) == ([], 0)


@pytest.mark.parametrize("bad", ["", "short", 'k"' + "a" * 40, "1" * 40, "k" + "a" * 40 + "\n"])
def test_setup_refuses_a_password_that_would_need_quoting_or_is_short(users, bad):
    state, setup = users
    done = setup(FILEBEAT_PASSWORD=bad)
    assert done.returncode == 1
    assert done.stderr.startswith("setup: FILEBEAT_PASSWORD must be a letter and at least 31")
    assert state.accepted == []


CERTUTIL = """#!{python}
import sys, zipfile
words = dict(zip(sys.argv[1:], sys.argv[2:]))
folder = "ca" if sys.argv[1] == "ca" else words["--name"]
signer = open(words["--ca-key"]).read() if "--ca-key" in words else ""
with open("{log}", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
number = len(open("{log}").readlines())
with zipfile.ZipFile(words["--out"], "w") as out:
    for kind in ("crt", "key"):
        out.writestr("%s/%s.%s" % (folder, folder, kind), "%s %d by (%s)" % (folder, number, signer))
"""
UNZIP = f'#!/bin/sh\nexec "{sys.executable}" -m zipfile -e "$2" "$4"\n'


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """A function that runs certificates.sh with a certutil that writes down how it is called."""
    script(tmp_path / "bin" / "elasticsearch-certutil", CERTUTIL.format(python=sys.executable, log=tmp_path / "calls"))
    script(tmp_path / "bin" / "unzip", UNZIP)
    for name in ("certificates", "authority"):
        (tmp_path / name).mkdir()

    def make() -> subprocess.CompletedProcess[str]:
        return run(
            ELK / "certificates.sh",
            PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            CERTIFICATES=str(tmp_path / "certificates"),
            AUTHORITY=str(tmp_path / "authority"),
        )

    return make


def files(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_text(encoding="utf-8"), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_certificates_are_made_once_and_their_keys_are_private(certificates, tmp_path):
    assert certificates().returncode == 0
    first = files(tmp_path / "certificates")
    assert {name: mode for name, (_, mode) in first.items()} == {
        "ca/ca.crt": 0o644,
        "ca/ca.key": 0o600,
        "elasticsearch/elasticsearch.crt": 0o644,
        "elasticsearch/elasticsearch.key": 0o640,
    }
    assert files(tmp_path / "authority") == {"ca.crt": first["ca/ca.crt"]}
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert "--dns elasticsearch,localhost --ip 127.0.0.1" in calls[1]
    assert certificates().returncode == 0
    assert files(tmp_path / "certificates") == first
    assert (tmp_path / "calls").read_text(encoding="utf-8").splitlines() == calls


def test_a_new_authority_signs_a_new_certificate(certificates, tmp_path):
    """The volume of another authority's certificate would leave a server that nobody trusts."""
    certificates()
    shutil.rmtree(tmp_path / "certificates" / "ca")
    certificates()
    found = files(tmp_path / "certificates")
    assert found["ca/ca.key"][0] in found["elasticsearch/elasticsearch.crt"][0]
    assert files(tmp_path / "authority")["ca.crt"] == found["ca/ca.crt"]


def test_a_run_cut_short_leaves_no_half_of_a_pair(certificates, tmp_path):
    half = tmp_path / "certificates" / ".new" / "ca"
    half.mkdir(parents=True)
    (half / "ca.crt").write_text("half")
    assert certificates().returncode == 0
    found = files(tmp_path / "certificates")
    assert found["ca/ca.crt"][0] != "half"
    assert len(found) == 4


@pytest.mark.parametrize("path", sorted(ELK.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_valid_bash(path):
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("target", "file"), [("elk-up", "elk/up.sh"), ("elk-down", "elk/down.sh")])
def test_make_runs_the_script(target, file):
    makefile = (ELK.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}: ## .+\n\t@bash {file}$", makefile, re.MULTILINE)
