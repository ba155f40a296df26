//! The cascade engine: claim, fan out, record, retry, converge.
