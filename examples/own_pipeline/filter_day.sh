#!/usr/bin/env bash
# A pipeline of your own in a shell: count the different words of a file, and book every line of it.
#
#   bash filter_day.sh WORDS.txt 2026-11-01 SPOOL_FOLDER
set -euo pipefail
words=$1 date=$2 spool=$3
started=$(date -u +%Y-%m-%dT%H:%M:%S)
book=(funnelgate records emit --task count --date "$date" --planid "nightly-$date" --spool "$spool" --started "$started")

# A job that dies books its failure, and still fails: the trap keeps the exit code.
trap '"${book[@]}" --input 0 --output 0 --state failed --error "ExitStatus: the job ended with $?"' ERR

taken=$(grep -c "" "$words")
empty=$(grep -c "^$" "$words" || true) # grep exits 1 where it counts 0
kept=$(grep -v "^$" "$words" | sort -u | grep -c "" || true)

trap - ERR
"${book[@]}" --input "$taken" --output "$kept" --drop "empty=$empty" --drop "duplicate=$((taken - empty - kept))"
