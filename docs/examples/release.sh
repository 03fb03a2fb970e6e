#!/bin/sh
# release.sh NAME VERSION [DEPENDS]: releases what the two operators of cast.sh
# agree on as a package, and enters it into the index.
set -eu
cat >package.toml <<END
schema_version = "rebuild.package@1.0.0"
name = "$1"
version = "$2"
description = "says hello"
docs = "Run hello. It prints a line."
license = "CC0-1.0"
${3+depends = { $3 \}}
meta = { rebuild_compat = ">=0.1.0" }
END
rebuild release -C hello --state north --policy policy.toml --results results --package package.toml \
	--key keys/anna.key --index index --index-key keys/index.key --log-key keys/log.key --out "release/$1" --quiet
