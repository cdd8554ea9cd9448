//! Stories with a real istiod against real API servers. They take long and much memory, so only `make test-istio` runs them.

mod outbound;
mod routes;
mod traffic;
