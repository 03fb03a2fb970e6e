# deps.sh [test|interop]: sees to what runc needs to compile, with "test" to what
# the tests need beside that, and with "interop" to what those with the programs
# of others need too, or says how to install it.
packages=
command -v gcc >/dev/null && [ -n "$(gcc -print-file-name=libc.a | grep /)" ] || packages="gcc libc6-dev"
command -v pkg-config >/dev/null || packages="$packages pkg-config"
pkg-config --exists libseccomp 2>/dev/null && [ -n "$(gcc -print-file-name=libseccomp.a | grep /)" ] ||
  packages="$packages libseccomp-dev"
[ -z "$1" ] || command -v g++ >/dev/null || packages="$packages g++"
[ -z "$1" ] || command -v strace >/dev/null || packages="$packages strace"
[ -z "$1" ] || command -v ssh-keygen >/dev/null || packages="$packages openssh-client"
[ "$1" != interop ] || command -v skopeo >/dev/null || packages="$packages skopeo"
[ -n "$packages" ] || exit 0
install="apt-get update && apt-get install -y --no-install-recommends $packages"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing $packages"
  DEBIAN_FRONTEND=noninteractive sh -c "$install" >/dev/null && exit 0
fi
echo "missing: $packages. Run this as root, then make again:" >&2
echo "  $install" >&2
exit 1
