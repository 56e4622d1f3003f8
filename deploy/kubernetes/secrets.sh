#!/bin/sh
# Makes the secrets that the manifests and deploy/helm/values.yaml name, in kubectl's current namespace, out of an .env:
#
#   sh deploy/kubernetes/secrets.sh [FILE]
#
# Values reach kubectl through a pipe, so that no command line shows them. A secret that is there already stays as it is. One
# that is made beside it must agree with it, since some values are in several: where it would not, none is made.
set -eu
file=${1:-./.env}
case $file in */*) ;; *) file=./$file ;; esac
. "$file"
all=$(env -i PATH="$PATH" DATABASE_ADMIN=postgres sh -c 'set -a && . "$1" && env' sh "$file")
: "${SERVING_KEY:?make env writes such a file}"
: "${DATABASE_SERVER:?write it into $file, such as postgres.example.org:5432}"

those() {
	printf '%s\n' "$all" | grep "^$1" || true
}

content() {
	case $1 in
	airflow) cat <<END ;;
connection=postgresql+psycopg2://airflow:$DATABASE_AIRFLOW_PASSWORD@$DATABASE_SERVER/airflow
fernet-key=$AIRFLOW_FERNET_KEY
api-secret-key=$AIRFLOW_SECRET_KEY
jwt-secret=$AIRFLOW_JWT_SECRET
END
	users) cat <<END ;;
AIRFLOW_USERS=$AIRFLOW_USERS
AIRFLOW_PASSWORDS=$AIRFLOW_PASSWORDS
END
	pipeline) cat <<END ;;
HEADWATER_DATABASE_URL=postgresql://pipeline:$DATABASE_PIPELINE_PASSWORD@$DATABASE_SERVER/headwater
HEADWATER_SERVING_KEY=$SERVING_KEY
MLFLOW_TRACKING_USERNAME=headwater
MLFLOW_TRACKING_PASSWORD=$MLFLOW_PASSWORD
$(those AIRFLOW_CONN_)
$(those HEADWATER_API_KEYS__)
$(those HEADWATER_SOURCE_)
END
	store) cat <<END ;;
$(those HEADWATER_LAKE_OPTIONS__)
END
	mlflow) cat <<END ;;
MLFLOW_DATABASE_URL=postgresql://mlflow:$DATABASE_MLFLOW_PASSWORD@$DATABASE_SERVER/mlflow
MLFLOW_AUTH_ADMIN_USERNAME=headwater
MLFLOW_AUTH_ADMIN_PASSWORD=$MLFLOW_PASSWORD
MLFLOW_FLASK_SERVER_SECRET_KEY=$MLFLOW_SECRET_KEY
END
	serving) cat <<END ;;
HEADWATER_DATABASE_URL=postgresql://serving:$DATABASE_SERVING_PASSWORD@$DATABASE_SERVER/headwater
END
	databases) cat <<END ;;
$(those DATABASE_)
POSTGRES_PASSWORD=$POSTGRES_PASSWORD
SERVING_KEY=$SERVING_KEY
END
	esac
}

# What is in several secrets, by its keys in each
shared='connection|HEADWATER_DATABASE_URL|HEADWATER_SERVING_KEY|SERVING_KEY|MLFLOW_TRACKING_PASSWORD|MLFLOW_DATABASE_URL'
shared="$shared|MLFLOW_AUTH_ADMIN_PASSWORD|DATABASE_SERVER|DATABASE_(AIRFLOW|PIPELINE|MLFLOW|SERVING)_PASSWORD"
lines='{{range $key, $value := .data}}{{$key}}={{base64decode $value}}{{"\n"}}{{end}}'

# The shared keys of a secret that have other values there than here; compared by the shell, so that nothing shows them
differing() {
	there=$(kubectl get secret "headwater-$1" -o go-template="$lines" </dev/null)
	content "$1" | grep -E "^($shared)=" | while IFS= read -r line; do
		case "
$there
" in
		*"
$line
"*) ;;
		*) printf ' %s' "headwater-$1(${line%%=*})" ;;
		esac
	done
}

missing= differ= sharing=
for name in airflow users pipeline store mlflow serving databases; do
	found=$(kubectl get secret "headwater-$name" --ignore-not-found -o name </dev/null)
	case "$found:$name" in
	:users | :store) missing="$missing $name" ;;
	:*) missing="$missing $name" sharing=yes ;;
	*:users | *:store) ;;
	*) differ="$differ$(differing "$name")" ;;
	esac
done
if [ -n "$sharing" ] && [ -n "$differ" ]; then
	echo "None is made, for $file has other values than:$differ. Delete these secrets too, or write their values into it." >&2
	exit 1
fi
for name in $missing; do
	content "$name" | kubectl create secret generic "headwater-$name" --from-env-file=/dev/stdin
done
