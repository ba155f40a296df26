//! The fields by which tenants can be filtered and ordered.

use super::{FieldType, record_fields};

const STATUS: FieldType =
    FieldType::Enum(&["PROVISIONING", "ACTIVE", "SUSPENDED", "MIGRATING", "ARCHIVED", "DELETED"]);
const HEALTH_LEVEL: FieldType = FieldType::Enum(&["HEALTHY", "DEGRADED", "CRITICAL"]);
const ISOLATION_MODEL: FieldType = FieldType::Enum(&["POOL", "BRIDGE", "SILO"]);

record_fields! {
    /// A field of a tenant.
    TenantField, TenantId;
    /// Its id.
    TenantId "tenant_id" FieldType::Text, true;
    /// Its name for people.
    DisplayName "display_name" FieldType::Text, true;
    /// Its status.
    Status "status" STATUS, true;
    /// Its tier's id.
    Tier "tier" FieldType::Text, true;
    /// Its health score.
    HealthScore "health_score" FieldType::Number, true;
    /// Its score's level.
    HealthLevel "health_level" HEALTH_LEVEL, false;
    /// Where it runs.
    Region "region" FieldType::Text, true;
    /// The tenant above it.
    Parent "parent" FieldType::Text, true;
    /// The business unit that owns it.
    BusinessUnit "business_unit" FieldType::Text, true;
    /// Where its cost is booked.
    CostCenter "cost_center" FieldType::Text, true;
    /// Who answers for it.
    Owner "owner" FieldType::Text, true;
    /// How it is kept apart.
    IsolationModel "isolation_model" ISOLATION_MODEL, false;
    /// Where its data must stay.
    DataResidency "data_residency" FieldType::Text, true;
    /// Its support level.
    SupportLevel "support_level" FieldType::Text, true;
    /// Its labels.
    Labels "labels" FieldType::Map, false;
    /// When it was made.
    CreateTime "create_time" FieldType::Time, true;
    /// When it was last changed.
    UpdateTime "update_time" FieldType::Time, true;
    /// The currency of its budget.
    CurrencyCode "currency_code" FieldType::Text, true;
    /// The frameworks it must comply with.
    ComplianceFrameworks "compliance_frameworks" FieldType::List, false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::health::Level;
    use crate::domain::lifecycle::Status;

    #[test]
    fn every_field_is_where_its_id_says() {
        for field in TenantField::ALL {
            assert_eq!(TenantField::from_id(field.id()), Some(*field));
        }
        assert_eq!(TenantField::ALL.len(), SCHEMA.fields.len());
        assert_eq!(SCHEMA.fields[SCHEMA.unique].name, "tenant_id");
        assert!(SCHEMA.fields[SCHEMA.unique].orderable);
    }

    #[test]
    fn the_enum_names_are_those_of_the_types() {
        let statuses = Status::ALL.map(Status::as_str);
        assert!(matches!(STATUS, FieldType::Enum(names) if names == statuses));
        let levels = [Level::Healthy, Level::Degraded, Level::Critical].map(Level::as_str);
        assert!(matches!(HEALTH_LEVEL, FieldType::Enum(names) if names == levels));
    }
}
