#!/usr/bin/env bash
# Gives Kibana and Filebeat their passwords and puts Filebeat's role and the template of funnelgate-logs-*.
# Every step may be repeated. Passwords reach curl through a pipe, never as an argument that others could list.
set -euo pipefail
url=${ELASTICSEARCH_URL:-https://elasticsearch:9200}
authority=${AUTHORITY:-/authority}
elk=${ELK:-/elk}
tries=${SETUP_TRIES:-60}
pause=${SETUP_PAUSE:-2}

fail() {
  echo "setup: $1" >&2
  exit 1
}

for name in ELASTIC_PASSWORD KIBANA_PASSWORD FILEBEAT_PASSWORD; do
  # What these would need to be quoted in JSON and in curl's settings is refused; Filebeat reads digits as a number.
  [[ ${!name:-} =~ ^[A-Za-z][A-Za-z0-9_-]{31,}$ ]] ||
    fail "$name must be a letter and at least 31 letters, digits, - or _; change it in elk/.env"
done

send() { # send METHOD PATH, the body on standard input: until Elasticsearch has accepted it
  local method=$1 path=$2 body answer status try refused=0
  body=$(cat)
  for ((try = 1; try <= tries; try++)); do
    answer=$(curl --silent --show-error --cacert "$authority/ca.crt" --max-time 30 \
      --config <(printf 'user = "elastic:%s"\n' "$ELASTIC_PASSWORD") \
      --request "$method" "$url$path" --header 'content-type: application/json' \
      --data-binary @<(printf '%s' "$body") --write-out '\n%{http_code}') || answer=$'\n000'
    status=${answer##*$'\n'}
    case $status in
      2??) return 0 ;;
      # After a restart it may refuse for some seconds, until it has found its users again.
      401) ((++refused * 4 < tries)) || fail "Elasticsearch refuses ELASTIC_PASSWORD: the value in elk/.env counts only
at a cluster's first start. Put the former value back, or change both (docs/elk.md, Passwords)" ;;
      000 | 429 | 5??) ;; # not up yet, or busy
      *) fail "$method $path: HTTP $status ${answer%$'\n'*}" ;;
    esac
    sleep "$pause"
  done
  fail "$method $path: no answer but HTTP $status after $tries tries"
}

send POST /_security/user/kibana_system/_password <<<"{\"password\": \"$KIBANA_PASSWORD\"}"
send PUT /_security/role/funnelgate_filebeat <"$elk/filebeat-role.json"
send PUT /_security/user/funnelgate_filebeat \
  <<<"{\"password\": \"$FILEBEAT_PASSWORD\", \"roles\": [\"funnelgate_filebeat\"]}"
send PUT /_index_template/funnelgate-logs <"$elk/logs-template.json"
echo "setup is done"
