# The recipes of the desk. CI runs `.ci/run`, and so does `just check`: there is no second list.

# Lists the recipes.
default:
    @just --list

# Everything that must pass before a change is pushed. Writes nothing but build output.
check:
    .ci/run

# Formats the code and applies what clippy can repair. Writes to the tree.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# All tests, as in the README.
test:
    cargo test --workspace --locked

# A cluster of five on this machine; two nodes are killed while people talk.
demo *arguments:
    cargo run --release --locked -- demo {{arguments}}

# Measures a local cluster; the numbers are for this machine only.
bench *arguments:
    cargo run --release --locked -- bench {{arguments}}

# Licences, advisories, banned crates and sources (needs cargo-deny).
deny:
    cargo deny --locked check
