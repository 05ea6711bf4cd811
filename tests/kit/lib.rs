//! What tests, benches and fuzz targets share: drawn trees, the oracle, a server to talk to.
