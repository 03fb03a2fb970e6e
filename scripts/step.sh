# step.sh NAME COMMAND...: runs a command and says how long it took.
name=$1
shift
begin=$(date +%s)
"$@"
status=$?
echo "== $name: $(($(date +%s) - begin)) s, exit $status"
exit $status
