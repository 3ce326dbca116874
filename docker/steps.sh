# shellcheck shell=bash
# What install_cpu.sh and install_cuda.sh share. They set `constraints`, stand in the root of the checkout and add
# the step `dependencies`: everything that pyproject.toml names for the stack, which needs no source.

install() {
    "$python" -m pip install --quiet --disable-pip-version-check --constraint "${constraints:?}" "$@"
}

install_requirements() {
    local wanted
    wanted=$("$python" docker/requirements.py "$@")
    install --requirement /dev/stdin <<<"$wanted"
}

# This checkout, editable. Its dependencies are there already; asking pip for them again would bring back what
# the first step took out.
package() {
    install --no-deps --no-build-isolation --editable .
}

# Tests and linters; the images leave them out.
tools() {
    install_requirements dev
}

run_steps() {
    python=${1:?usage: $0 path/to/python [dependencies|package|tools ...]}
    shift
    local steps=("$@") step
    ((${#steps[@]})) || steps=(dependencies package tools)
    for step in "${steps[@]}"; do
        case $step in
            dependencies | package | tools) "$step" ;;
            *) echo "$0: there is no step '$step'; use dependencies, package or tools" >&2 && exit 2 ;;
        esac
    done
}
