# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev build: meson and ninja, a folder for each kind of build. Warnings are errors in all of them.

# build_in FOLDER COMPILER [MESON_OPTION…]: configures where needed, and builds. Meson lists the source
# files when it configures, so it does that again where files came or went.
build_in() {
    local folder=$1 compiler=$2 sources
    shift 2
    sources=$(find . \( -name 'build*' -o -name .git \) -prune -o -name '*.[ch]' -print -o -name '*.sql' -print | sort)
    if [[ ! -f $folder/build.ninja ]]; then
        CC=$compiler meson setup "$folder" -Dwerror=true "$@" || return
    elif [[ $sources != "$(cat "$folder/.sources" 2>/dev/null)" ]]; then
        meson setup --reconfigure "$folder" -Dwerror=true "$@" || return
    fi
    printf '%s\n' "$sources" >"$folder/.sources"
    ninja -C "$folder" -j "$(nproc)"
}

build_gcc() { build_in build gcc; }
build_clang() { build_in build-clang clang; }
build_asan() { build_in build-asan clang "${SANITIZE[@]}"; }
build_gcc_asan() { build_in build-gcc-asan gcc "${SANITIZE[@]}"; }
build_coverage() { build_in build-coverage gcc -Db_coverage=true --buildtype=debug; }

SANITIZE=("-Db_sanitize=address,undefined" -Db_lundef=false --buildtype=debug -Doptimization=1)

# On a terminal ninja shows its own progress.
build() { # WHAT FUNCTION
    if [[ -t 1 ]]; then
        say "$1"
        "$2"
    else
        step "$1" "$2"
    fi
}

cmd_build() {
    local compiler='' sanitize=''
    while (($#)); do
        case $1 in
        --compiler)
            compiler=${2:-}
            [[ $compiler == gcc || $compiler == clang ]] || bad_usage "--compiler is gcc or clang, not '$compiler'"
            shift 2
            ;;
        --sanitize) sanitize=1 && shift ;;
        *) bad_usage "build does not know '$1'" ;;
        esac
    done
    need_packages "${PACKAGES_BUILD[@]}"
    if [[ ${compiler:-gcc} == clang || -n $sanitize && -z $compiler ]]; then need_packages "${PACKAGES_CLANG[@]}"; fi
    case ${compiler:-any}${sanitize:+-sanitize} in
    any | gcc) build "building with gcc into build/" build_gcc ;;
    clang) build "building with clang into build-clang/" build_clang ;;
    any-sanitize | clang-sanitize) build "building with clang and sanitizers into build-asan/" build_asan ;;
    gcc-sanitize) build "building with gcc and sanitizers into build-gcc-asan/" build_gcc_asan ;;
    esac
}
