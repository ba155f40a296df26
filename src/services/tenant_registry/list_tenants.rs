//! Listing tenants.

use std::sync::Arc;

use crate::domain::error::{Error, invalid_filter, invalid_order};
use crate::domain::filter::tenant::SCHEMA;
use crate::domain::filter::{Filter, OrderBy};
use crate::domain::lifecycle::Status;
use crate::services::paging::{Page, PageRequest, Query, page};
use crate::view::{Record, Snapshot};

/// Which tenants, in which order.
#[derive(Debug, Clone, Default)]
pub struct ListTenants {
    /// AIP-160; empty for all.
    pub filter: String,
    /// Fields; empty for the id.
    pub order_by: String,
    /// Deleted ones too.
    pub show_deleted: bool,
}

impl ListTenants {
    /// Lists one page. Looks at every tenant: with very many, call it where it may take milliseconds.
    pub fn run(&self, snapshot: &Snapshot, request: &PageRequest) -> Result<Page<Arc<Record>>, Error> {
        let filter =
            Filter::parse(&self.filter, &SCHEMA).map_err(|error| invalid_filter("filter", &error))?;
        let order = OrderBy::parse(&self.order_by, &SCHEMA).map_err(|error| invalid_order(&error))?;
        let rows: Vec<_> = snapshot
            .rows()
            .filter(|row| self.show_deleted || row.record.tenant.status != Status::Deleted)
            .filter(|row| filter.matches(row))
            .collect();
        // The map is in the order of ids already.
        let sorted = matches!(order.keys(), [key] if key.field == SCHEMA.unique && !key.descending);
        let deleted = if self.show_deleted { "with deleted" } else { "" };
        let parts = ["tenants", &self.filter, &self.order_by, deleted];
        let page = page(snapshot, request, &Query { parts: &parts, order: &order, sorted }, rows)?;
        Ok(Page {
            items: page.items.into_iter().map(|row| Arc::clone(row.record)).collect(),
            next_token: page.next_token,
            total: page.total,
        })
    }
}
