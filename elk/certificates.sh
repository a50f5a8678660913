#!/usr/bin/env bash
# Makes an authority of our own and, signed by it, the certificate of the server `elasticsearch`, once.
# Runs as root in the Elasticsearch image. Keys stay in one volume, which only Elasticsearch mounts; the authority's
# certificate, which everybody may read, is copied into another one.
set -euo pipefail
certificates=${CERTIFICATES:-/certificates}
authority=${AUTHORITY:-/authority}
days=3650
umask 027

# A run cut short leaves no half of a pair: both files of a pair appear by one rename.
work=$certificates/.new
rm -rf "$work"
mkdir -p "$work"

if [ ! -d "$certificates/ca" ]; then
  echo "making the authority"
  elasticsearch-certutil ca --silent --pem --days "$days" --out "$work/ca.zip"
  unzip -q "$work/ca.zip" -d "$work"
  # The next certificate would come from a former authority, which nobody trusts any more.
  rm -rf "$certificates/elasticsearch"
  mv "$work/ca" "$certificates/ca"
fi

if [ ! -d "$certificates/elasticsearch" ]; then
  echo "making the certificate of elasticsearch"
  elasticsearch-certutil cert --silent --pem --days "$days" --out "$work/certificate.zip" \
    --name elasticsearch --dns elasticsearch,localhost --ip 127.0.0.1 \
    --ca-cert "$certificates/ca/ca.crt" --ca-key "$certificates/ca/ca.key"
  unzip -q "$work/certificate.zip" -d "$work"
  mv "$work/elasticsearch" "$certificates/elasticsearch"
fi
rm -rf "$work"

# Elasticsearch runs as 1000:0 and reads its key by its group; the authority's key is for this script alone.
chmod 755 "$certificates" "$certificates/ca" "$certificates/elasticsearch" "$authority"
chmod 640 "$certificates/elasticsearch/elasticsearch.key"
chmod 600 "$certificates/ca/ca.key"
chmod 644 "$certificates/ca/ca.crt" "$certificates/elasticsearch/elasticsearch.crt"
cp "$certificates/ca/ca.crt" "$authority/ca.crt"
chmod 644 "$authority/ca.crt"
echo "certificates are ready"
