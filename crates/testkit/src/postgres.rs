//! A private PostgreSQL server.

/// A running PostgreSQL server.
#[derive(Debug)]
pub struct PostgresServer;
