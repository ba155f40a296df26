//! Listing tenants.

use std::sync::Arc;

use crate::domain::error::{Error, invalid_filter, invalid_order};
use crate::domain::filter::tenant::SCHEMA;
use crate::domain::filter::{FieldId, FieldValue, Filter, OrderBy, Record as Row};
use crate::domain::lifecycle::Status;
use crate::services::paging::{Page, PageRequest, Query, page};
use crate::view::{Record, Snapshot};

/// Which tenants, in which order.
#[derive(Debug, Clone, Default)]
pub struct ListTenants {
    /// Which page.
    pub page: PageRequest,
    /// AIP-160; empty for all.
    pub filter: String,
    /// Fields; empty for the id.
    pub order_by: String,
    /// Deleted ones too.
    pub show_deleted: bool,
}

/// A shared record as a row of a page.
struct Shared(Arc<Record>);

impl Row for Shared {
    fn field(&self, id: FieldId) -> FieldValue<'_> {
        self.0.field(id)
    }

    fn entry(&self, id: FieldId, key: &str) -> Option<&str> {
        self.0.entry(id, key)
    }

    fn has_any(&self, id: FieldId) -> bool {
        self.0.has_any(id)
    }

    fn any_item(&self, id: FieldId, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.0.any_item(id, test)
    }
}

impl ListTenants {
    /// Lists one page. Looks at every tenant: with very many, call it where it may take milliseconds.
    pub fn run(&self, snapshot: &Snapshot) -> Result<Page<Arc<Record>>, Error> {
        let filter =
            Filter::parse(&self.filter, &SCHEMA).map_err(|error| invalid_filter("filter", &error))?;
        let order = OrderBy::parse(&self.order_by, &SCHEMA).map_err(|error| invalid_order(&error))?;
        let rows: Vec<Shared> = snapshot
            .tenants
            .values()
            .filter(|record| self.show_deleted || record.tenant.status != Status::Deleted)
            .filter(|record| filter.matches(&***record))
            .map(|record| Shared(Arc::clone(record)))
            .collect();
        // The map is in the order of ids already.
        let sorted = matches!(order.keys(), [key] if key.field == SCHEMA.unique && !key.descending);
        let deleted = if self.show_deleted { "with deleted" } else { "" };
        let parts = ["tenants", &self.filter, &self.order_by, deleted];
        let page = page(snapshot, &self.page, &Query { parts: &parts, order: &order, sorted }, rows)?;
        Ok(Page {
            items: page.items.into_iter().map(|row| row.0).collect(),
            next_token: page.next_token,
            total: page.total,
        })
    }
}
