# same-binary.sh: builds this commit in two folders with two empty build caches
# and two module caches, and compares the binaries.
set -e
root=$(git rev-parse --show-toplevel)
commit=$(git rev-parse HEAD)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
for n in one a-longer-name/two; do
  mkdir -p "$work/$n"
  git clone -q "$root" "$work/$n/rebuild"
  git -C "$work/$n/rebuild" checkout -q "$commit"
  (cd "$work/$n/rebuild" && GOCACHE="$work/$n/build" GOMODCACHE="$work/$n/modules" make build >"$work/$n/log" 2>&1) || {
    cat "$work/$n/log"
    exit 1
  }
  sha256sum <"$work/$n/rebuild/bin/rebuild"
done
cmp "$work/one/rebuild/bin/rebuild" "$work/a-longer-name/two/rebuild/bin/rebuild"
echo "same bytes"
