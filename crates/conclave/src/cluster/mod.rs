//! A cluster of child processes on this machine, for `up`, `demo` and `bench`.
