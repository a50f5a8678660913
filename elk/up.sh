#!/usr/bin/env bash
# Starts Elasticsearch, Kibana and Filebeat and waits until they are healthy. `make elk-up` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source elk/compose.sh

need_compose
docker info >/dev/null 2>&1 || fail "the Docker daemon does not answer: start it, or ask to be let in (docker info)"

# elk/.env: every setting of .env.example, an empty one with 192 random bits. What is there already stays as it is.
(
  umask 077
  touch elk/.env
  chmod 600 elk/.env
  while IFS= read -r line; do
    name=${line%%=*}
    [[ $line =~ ^[A-Z_]+= ]] || continue
    grep -q "^$name=" elk/.env && continue
    value=${line#*=}
    # A letter first: Filebeat would read 12e34 as a number.
    echo "$name=${value:-k$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')}" >>elk/.env
  done <elk/.env.example
)

# Docker would make a missing folder as root, and the demo could not write into it.
logs=${ELK_LOGS:-$(setting ELK_LOGS)}
case $logs in /* | ./* | ../*) ;; *) fail "ELK_LOGS is $logs: it must begin with / or ./" ;; esac
mkdir -p "$logs"

compose up --detach --wait || fail "not everything came up; look at: $(printf '%s ' "${COMPOSE[@]}")logs"
compose cp elasticsearch:/usr/share/elasticsearch/config/certs/ca/ca.crt elk/ca.crt >/dev/null

cat <<END
Elasticsearch  https://127.0.0.1:${ELASTIC_PORT:-$(setting ELASTIC_PORT)}  (its authority: elk/ca.crt)
Kibana         http://127.0.0.1:${KIBANA_PORT:-$(setting KIBANA_PORT)}  (user elastic, password: ELASTIC_PASSWORD in elk/.env)
Logs           $logs/*.log go to funnelgate-logs-*
END
