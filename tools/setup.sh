#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Sets a Debian 12 machine up for mnlab. Run by the Makefile; safe to run again: what is there is
# skipped, and nothing is fetched when nothing is missing.
#
#   tools/setup.sh packages             Debian packages, as root or through sudo
#   tools/setup.sh venv PYTHON FOLDER   a virtual environment with pinned requirements
set -eu
cd "$(dirname "$0")/.."

# One line a package: what shows that it is there, and its name.
needed() {
    cat <<'LIST'
command:clang                  clang
command:ld.lld                 lld
command:llvm-objcopy           llvm
command:clang-format           clang-format
command:clang-tidy             clang-tidy
command:qemu-system-x86_64     qemu-system-x86
command:qemu-system-aarch64    qemu-system-arm
command:qemu-system-riscv64    qemu-system-misc
command:qemu-system-riscv32    qemu-system-misc
command:setpriv                util-linux
command:git                    git
file:/usr/include/stdlib.h     libc6-dev
clang:libclang_rt.asan-x86_64.a libclang-rt-dev
python:ensurepip               python3-venv
LIST
}

is_there() {
    case $1 in
    command:*) command -v "${1#command:}" >/dev/null 2>&1 ;;
    file:*) [ -e "${1#file:}" ] ;;
    clang:*)
        # clang prints the bare name when it has no such file
        name=$(printf '%s' "${1#clang:}" | sed "s/x86_64/$(uname -m)/")
        command -v clang >/dev/null 2>&1 && [ -e "$(clang -print-file-name="$name")" ] ||
            [ -e "$(clang -print-resource-dir 2>/dev/null)/lib/linux/$name" ]
        ;;
    python:*) "${PYTHON:-python3}" -c "import ${1#python:}, sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null ;;
    esac
}

packages() {
    missing=$(needed | while read -r probe package; do is_there "$probe" || echo "$package"; done)
    missing=$(echo $missing)
    [ -n "$missing" ] || return 0
    install="apt-get install -y --no-install-recommends $missing"
    if [ "$(id -u)" = 0 ]; then
        sudo=
    elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        sudo=sudo
    else
        echo "mnlab needs packages that are not installed, and I may not install them." >&2
        echo "Run as root:  apt-get update && $install" >&2
        exit 3
    fi
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "mnlab needs these Debian packages, or what your system calls them: $missing" >&2
        exit 3
    fi
    echo "installing: $missing"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    if ! { $sudo apt-get update -q && $sudo $install -q; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "could not install the packages. Try by hand:  apt-get update && $install" >&2
        exit 3
    fi
}

venv() {
    python=$1 folder=$2
    [ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
    "$folder/bin/python" -m pip install -q --disable-pip-version-check -c tools/constraints.txt -e '.[dev]'
}

case ${1:-} in
packages) packages ;;
venv) venv "$2" "$3" ;;
*)
    echo "usage: tools/setup.sh packages | venv PYTHON FOLDER" >&2
    exit 2
    ;;
esac
