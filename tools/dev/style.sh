# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev format and ./dev lint: the look of the files, and what tools see without running anything.

c_files() { find . \( -name 'build*' -o -name .git \) -prune -o -name '*.[ch]' -print | sort; }

cmd_format() {
    (($# == 0)) || bad_usage "format takes no options"
    need_packages clang-format
    c_files | xargs -r clang-format -i
    say "laid out $(c_files | wc -l) files by .clang-format"
}

format_check() { c_files | xargs -r clang-format --dry-run -Werror; }

TIDY_CHECKS='-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters'
TIDY_CHECKS+=',-bugprone-reserved-identifier,-bugprone-narrowing-conversions,-bugprone-assignment-in-if-condition'
# Not mended: integers that are widened after a multiplication of small constants, pointers to structs in
# sizeof, the token pasting of table macros, slices without a terminator, and va_list in LLVM 14.
TIDY_CHECKS+=',-bugprone-implicit-widening-of-multiplication-result,-bugprone-sizeof-expression'
TIDY_CHECKS+=',-bugprone-macro-parentheses,-bugprone-not-null-terminated-result,-clang-analyzer-valist.Uninitialized'
TIDY_CHECKS+=',-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling'

tidy_check() {
    build_clang || return
    c_files | grep '\.c$' | xargs -r -n 8 -P "$(nproc)" \
        clang-tidy -p build-clang --quiet --warnings-as-errors='*' --checks="$TIDY_CHECKS"
}

script_check() { shellcheck -x dev .ci/run tools/dev/*.sh; }

python_check() { python3 -m compileall -q tools tests bench; }

cmd_lint() {
    local findings=0
    (($# == 0)) || bad_usage "lint takes no options"
    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_CLANG[@]}" "${PACKAGES_LINT[@]}"
    export PYTHONPYCACHEPREFIX=$ROOT/build/pycache
    step "the house's rule" python3 tools/check_house.py || findings=1
    step "layout (./dev format mends it)" format_check || findings=1
    step "shell scripts" script_check || findings=1
    step "Python files compile" python_check || findings=1
    step "clang-tidy" tidy_check || findings=1
    return "$findings"
}
