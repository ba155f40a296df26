//! PostgreSQL: the log, the writer, one module per aggregate.
