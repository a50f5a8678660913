#!/usr/bin/env bash
# Stops Elasticsearch, Kibana and Filebeat and keeps what they have stored. `make elk-down` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source elk/compose.sh

need_compose
[ -f elk/.env ] || fail "there is no elk/.env: nothing was started from here"
compose down --remove-orphans
echo "What was stored is kept. To delete it too: $(printf '%s ' "${COMPOSE[@]}")down --volumes"
