#!/bin/sh
# compare-starts.sh A B [OPTION...] -- FILE...
#
# Finds where two compilers do not do the same that should: two of one source that
# have different ancestors. Each FILE is compiled by A and by B with the OPTIONs;
# for each pair of objects that differ, a line names the file, and with it the
# functions and data that differ. Status 0: all are the same; 1: some differ; 2:
# something else went wrong.
#
# The next step is to trace the first function that is named in both compilers, if
# the FILEs are the compiler's own source; what miscompiled it comes before.
set -u
[ $# -ge 4 ] || { sed -n 's/^# compare-starts/usage: compare-starts/p' "$0" >&2; exit 2; }
a=$1
b=$2
shift 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
options="$work/options"
: > "$options"
while [ "$1" != -- ]; do
	printf '%s\n' "$1" >> "$options"
	shift
	[ $# -gt 0 ] || { echo "compare-starts: no --" >&2; exit 2; }
done
shift

# The code and data of an object, each line behind the name that it belongs to.
listing() {
	objdump -D -r -z --no-addresses "$1" | sed 1,3d | awk '/^<.*>:$/ { name = $1 } { print name, $0 }'
}

compile() {
	compiler=$1
	object=$2
	file=$3
	# one option a line, so that options may have blanks in them
	set --
	while IFS= read -r option; do
		set -- "$@" "$option"
	done < "$options"
	"$compiler" "$@" -c -o "$object" "$file" || { echo "compare-starts: $compiler: $file" >&2; exit 2; }
}

status=0
for file do
	compile "$a" "$work/a.o" "$file"
	compile "$b" "$work/b.o" "$file"
	cmp -s "$work/a.o" "$work/b.o" && continue
	status=1
	listing "$work/a.o" > "$work/a" || exit 2
	listing "$work/b.o" > "$work/b" || exit 2
	names=$(diff "$work/a" "$work/b" | sed -n 's/^[<>] <\(.*\)>: .*/\1/p' | sort -u | tr '\n' ' ')
	echo "$file: ${names:-neither code nor data}"
done
exit $status
