#!/bin/sh
# Makes the secrets that the manifests and deploy/helm/values.yaml name, in kubectl's current namespace, out of an .env:
#
#   sh deploy/kubernetes/secrets.sh [FILE]
#
# Values reach kubectl through a pipe, so that no command line shows them. A secret that is there already stays as it is.
set -eu
file=${1:-./.env}
case $file in */*) ;; *) file=./$file ;; esac
. "$file"
all=$(env -i PATH="$PATH" DATABASE_ADMIN=postgres sh -c 'set -a && . "$1" && env' sh "$file")
: "${SERVING_KEY:?make env writes such a file}"
: "${DATABASE_SERVER:?write it into $file, such as postgres.example.org:5432}"

create() {
	kubectl create secret generic "headwater-$1" --from-env-file=/dev/stdin
}

those() {
	printf '%s\n' "$all" | grep "^$1" || true
}

create airflow <<END
connection=postgresql+psycopg2://airflow:$DATABASE_AIRFLOW_PASSWORD@$DATABASE_SERVER/airflow
fernet-key=$AIRFLOW_FERNET_KEY
api-secret-key=$AIRFLOW_SECRET_KEY
jwt-secret=$AIRFLOW_JWT_SECRET
END
create users <<END
AIRFLOW_USERS=$AIRFLOW_USERS
AIRFLOW_PASSWORDS=$AIRFLOW_PASSWORDS
END
create pipeline <<END
HEADWATER_DATABASE_URL=postgresql://pipeline:$DATABASE_PIPELINE_PASSWORD@$DATABASE_SERVER/headwater
HEADWATER_SERVING_KEY=$SERVING_KEY
MLFLOW_TRACKING_USERNAME=headwater
MLFLOW_TRACKING_PASSWORD=$MLFLOW_PASSWORD
$(those AIRFLOW_CONN_)
$(those HEADWATER_API_KEYS__)
$(those HEADWATER_SOURCE_)
END
create store <<END
$(those HEADWATER_LAKE_OPTIONS__)
END
create mlflow <<END
MLFLOW_DATABASE_URL=postgresql://mlflow:$DATABASE_MLFLOW_PASSWORD@$DATABASE_SERVER/mlflow
MLFLOW_AUTH_ADMIN_USERNAME=headwater
MLFLOW_AUTH_ADMIN_PASSWORD=$MLFLOW_PASSWORD
MLFLOW_FLASK_SERVER_SECRET_KEY=$MLFLOW_SECRET_KEY
END
create serving <<END
HEADWATER_DATABASE_URL=postgresql://serving:$DATABASE_SERVING_PASSWORD@$DATABASE_SERVER/headwater
END
create databases <<END
$(those DATABASE_)
POSTGRES_PASSWORD=$POSTGRES_PASSWORD
SERVING_KEY=$SERVING_KEY
END
