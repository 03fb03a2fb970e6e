#!/bin/sh
# What the examples start from: the keys of two operators, a release signer, an
# index and its log; an index with a log; a policy that names them all; and a
# small program that the two operators build, each in a state root of its own,
# sign, and enter into the log. It needs no network.
set -eu
mkdir keys
for name in north south anna root index log; do
	rebuild key new "keys/$name.key" --quiet >"keys/$name.pub"
done
log=$(rebuild index init index --origin example.org/log --log-key keys/log.key --index-key keys/index.key 2>&1 |
	sed -n 's/^rebuild: for policies: //p')

cat >policy.toml <<END
schema_version = "rebuild.policy@1.0.0"
name = "example"
version = 1
quorum = "rebuilders"
require = { logged = true }
root = { need = 1, keys = ["$(cat keys/root.pub)"] }
signers = { need = 1, keys = [{ name = "anna", key = "$(cat keys/anna.pub)" }] }
index = { keys = [{ key = "$(cat keys/index.pub)" }] }
$log

[groups.rebuilders]
need = 2
of = ["north", "south"]
[operators.north]
keys = [{ key = "$(cat keys/north.pub)" }]
[operators.south]
keys = [{ key = "$(cat keys/south.pub)" }]
END

rebuild init hello --quiet >/dev/null
for who in north south; do
	rebuild run -C hello --state "$who" --quiet --progress quiet >/dev/null
	rebuild attest -C hello --state "$who" --operator "$who" --key "keys/$who.key" --out results --quiet >/dev/null
done
rebuild index add results --index index --policy policy.toml --log-key keys/log.key --quiet >/dev/null
