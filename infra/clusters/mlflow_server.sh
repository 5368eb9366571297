#!/bin/bash
# An MLflow server over PostgreSQL, for a catalogue that several people or machines use. It needs
# `pip install 'mlflow[auth]' psycopg2-binary` and a PostgreSQL server; how that is reached is told as to psql: PGHOST,
# PGPORT, PGUSER, and PGPASSWORD or ~/.pgpass (never on a command line).
#
#   infra/clusters/mlflow_server.sh [FOLDER]        # FOLDER keeps figures and tables; default ./mlartifacts
#
#   DATABASE=mlflow         created if there is none
#   HOST=127.0.0.1          where it listens; anything else asks for a password
#   PORT=5000
#   ALLOWED_HOSTS=...       names by which browsers and sweeps may call it beside localhost, with commas:
#                           head.example.org,head.example.org:*
#   MLFLOW_AUTH_ADMIN_PASSWORD=...  switches accounts on; the first is `admin` with this password (10 times slower)
#
# Safer than a password over plain HTTP: leave it on loopback and call it through ssh -L 5000:127.0.0.1:5000 HEAD.
set -euo pipefail

folder=$(realpath -m "${1:-mlartifacts}")
database=${DATABASE:-mlflow} host=${HOST:-127.0.0.1} port=${PORT:-5000}
fail() {
  echo "mlflow_server.sh: $1" >&2
  exit 2
}
[[ $database =~ ^[A-Za-z0-9_]+$ ]] || fail "DATABASE=$database: letters, digits and _ only"
password=${MLFLOW_AUTH_ADMIN_PASSWORD:-}
if ! [[ $host =~ ^(127\.[0-9.]+|localhost|::1)$ ]] && [ -z "$password" ]; then
  fail "HOST=$host lets others in: set MLFLOW_AUTH_ADMIN_PASSWORD too"
fi
if [ -n "$password" ] && ((${#password} < 12)); then fail "MLFLOW_AUTH_ADMIN_PASSWORD: at least 12 characters"; fi
command -v mlflow > /dev/null || fail "no mlflow here: pip install 'mlflow[auth]'"
python -c 'import psycopg2' 2> /dev/null || fail "no psycopg2 here: pip install psycopg2-binary"

export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
uri="postgresql+psycopg2:///$database" # host, user and password come from PGHOST, PGUSER, PGPASSWORD
python - "$database" << 'PYTHON' || exit 2
import sys

import psycopg2

try:
    connection = psycopg2.connect(dbname="postgres")
except psycopg2.OperationalError as error:
    first = str(error).strip().splitlines()[0]
    sys.exit(f"mlflow_server.sh: {first}; is it running, and are PGHOST, PGPORT, PGUSER, PGPASSWORD right?")
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [sys.argv[1]])
if not cursor.fetchone():
    cursor.execute(f'CREATE DATABASE "{sys.argv[1]}"')
PYTHON
mlflow db upgrade "$uri" > /dev/null # once, before the server's own processes would race for it

options=(--host "$host" --port "$port" --workers 1 --backend-store-uri "$uri" --artifacts-destination "$folder")
if [ -n "${ALLOWED_HOSTS:-}" ]; then
  here="localhost,localhost:*,127.0.0.1,127.0.0.1:*" # also through a tunnel
  options+=(--allowed-hosts "$ALLOWED_HOSTS,$here")  # and pages under these names may ask: a browser tells where it comes from
  options+=(--cors-allowed-origins "$(sed -E 's#([^,]+)#http://\1,https://\1#g' <<< "$ALLOWED_HOSTS")")
fi
if [ -n "${MLFLOW_AUTH_ADMIN_PASSWORD:-}" ]; then
  MLFLOW_FLASK_SERVER_SECRET_KEY=${MLFLOW_FLASK_SERVER_SECRET_KEY:-$(python -c 'import secrets; print(secrets.token_hex(32))')}
  MLFLOW_AUTH_CONFIG_PATH=$folder.auth.ini # not in it: what is in there is served
  export MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_AUTH_CONFIG_PATH
  mkdir -p "$folder"
  cat > "$MLFLOW_AUTH_CONFIG_PATH" << INI
[mlflow]
default_permission = READ
database_uri = $uri
admin_username = admin
auth_cache_ttl_seconds = 60
INI
  options+=(--app-name basic-auth)
fi
exec mlflow server "${options[@]}"
