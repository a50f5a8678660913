# shellcheck shell=bash
# What up.sh and down.sh share; sourced in the repository's root.
COMPOSE=(docker compose --env-file elk/.env --file docker-compose.elk.yml)

fail() {
  echo "elk: $1" >&2
  exit 1
}

compose() {
  "${COMPOSE[@]}" "$@"
}

need_compose() {
  docker compose version >/dev/null 2>&1 ||
    fail "docker compose (2.7 or later) is not here: install Docker Engine with its compose plugin, or Docker Desktop"
}

setting() { # setting NAME: its value in elk/.env, the last one as compose takes it
  sed -n "s/^$1=//p" elk/.env | tail -n 1
}
