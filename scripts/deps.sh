# deps.sh [test]: sees to what runc needs to compile, and with "test" to what the
# tests need beside that, or says how to install it.
packages=
command -v gcc >/dev/null && [ -n "$(gcc -print-file-name=libc.a | grep /)" ] || packages="gcc libc6-dev"
command -v pkg-config >/dev/null || packages="$packages pkg-config"
pkg-config --exists libseccomp 2>/dev/null && [ -n "$(gcc -print-file-name=libseccomp.a | grep /)" ] ||
  packages="$packages libseccomp-dev"
[ "$1" != test ] || command -v strace >/dev/null || packages="$packages strace"
[ -n "$packages" ] || exit 0
install="apt-get update && apt-get install -y --no-install-recommends $packages"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing $packages"
  DEBIAN_FRONTEND=noninteractive sh -c "$install" >/dev/null && exit 0
fi
echo "missing: $packages. Run this as root, then make again:" >&2
echo "  $install" >&2
exit 1
