//! Reasons of flags and segments.

use tenantry::domain::error::Reason;
use tenantry::proto::v1;
use tenantry::proto::v1::feature_flags_client::FeatureFlagsClient;
use tonic::Status;
use tonic::transport::Channel;

fn boolean(flag_key: &str) -> v1::Flag {
    v1::Flag { flag_key: flag_key.into(), r#type: v1::FlagType::Boolean.into(), ..Default::default() }
}

fn segment(name: &str, logic: &str) -> v1::CreateSegmentRequest {
    let segment = v1::Segment { segment_name: name.into(), logic: logic.into(), ..Default::default() };
    v1::CreateSegmentRequest { segment: Some(segment), ..Default::default() }
}

fn needs(flag_key: &str) -> Vec<v1::Prerequisite> {
    vec![v1::Prerequisite { flag_key: flag_key.into(), variants: vec!["on".into()] }]
}

pub(super) async fn provoke(flags: &mut FeatureFlagsClient<Channel>, reason: Reason) -> Status {
    match reason {
        Reason::SegmentNotFound => {
            let request = v1::GetSegmentRequest { segment_name: "nobody".into() };
            flags.get_segment(request).await.unwrap_err()
        }
        Reason::SegmentExists => {
            flags.create_segment(segment("twice", "true")).await.unwrap();
            flags.create_segment(segment("twice", "true")).await.unwrap_err()
        }
        Reason::SegmentInUse => {
            flags.create_segment(segment("used", "true")).await.unwrap();
            let logic = r#"{"if": [{"$ref": "used"}, "on", null]}"#.to_owned();
            let rules = vec![v1::TargetingRule { logic, ..Default::default() }];
            let flag = Some(v1::Flag { rules, ..boolean("user") });
            flags.create_flag(v1::CreateFlagRequest { flag, ..Default::default() }).await.unwrap();
            let delete = v1::DeleteSegmentRequest { segment_name: "used".into(), ..Default::default() };
            flags.delete_segment(delete).await.unwrap_err()
        }
        Reason::DependentsWouldBreak => {
            for flag in [boolean("base"), v1::Flag { prerequisites: needs("base"), ..boolean("above") }] {
                let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
                flags.create_flag(request).await.unwrap();
            }
            let delete = v1::DeleteFlagRequest { flag_key: "base".into(), ..Default::default() };
            flags.delete_flag(delete).await.unwrap_err()
        }
        Reason::DependencyCycle => {
            let flags_ = ["left", "right"].map(|key| {
                let other = if key == "left" { "right" } else { "left" };
                v1::Flag { prerequisites: needs(other), ..boolean(key) }
            });
            let request = v1::ApplyFlagsRequest { flags: flags_.into(), ..Default::default() };
            flags.apply_flags(request).await.unwrap_err()
        }
        _ => {
            let member = |number| v1::Flag {
                conflict_groups: vec!["crowd".into()],
                ..boolean(&format!("member{number}"))
            };
            let request =
                v1::ApplyFlagsRequest { flags: (0..101).map(member).collect(), ..Default::default() };
            flags.apply_flags(request).await.unwrap_err()
        }
    }
}
