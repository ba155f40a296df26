//! As in the service, so that paths within stay the same.

#[path = "flagd.rs"]
pub mod flagd;
#[path = "../../src/domain/ids.rs"]
pub mod ids;
#[path = "../../src/domain/json_fault.rs"]
pub mod json_fault;
#[path = "../../src/domain/nearest.rs"]
pub mod nearest;
#[path = "../../src/domain/rule/mod.rs"]
pub mod rule;
#[path = "../../src/domain/selector.rs"]
pub mod selector;
#[path = "../../src/domain/shared_text.rs"]
pub mod shared_text;
#[path = "../../src/domain/text.rs"]
pub mod text;
#[path = "../../src/domain/violation.rs"]
pub mod violation;
