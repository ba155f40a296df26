use super::*;

#[test]
fn only_what_is_given_is_changed() {
    let fields = Fields { owner: Some("ada".into()), labels: vec!["a=b".into()], ..Fields::default() };
    let given = fields.given().unwrap();
    assert_eq!(Value::Object(given), json!({ "owner": "ada", "labels": { "a": "b" } }));
    assert!(pairs_of(&["nothing".to_owned()]).is_err());
}
