//! The server of the tests itself: what it must refuse, so that a wrong call of the adapter fails here too.

use serde_json::json;
use tonic::Code;

use super::client::{Client, May, claims, sign};
use super::server::KEY;
use super::{named, server};

#[tokio::test]
async fn keys_and_tokens_are_refused_as_qdrant_refuses_them() {
    let server = server().await;
    let url = server.url();
    let admin = Client::with(&url, KEY, "data").await;
    admin.make_collection().await.unwrap();
    let mut tenant = named("finance", "data");
    let read = json!({ "access": [{ "collection": "data", "access": "r" }] });
    let expired = json!({ "access": "m", "exp": 1 });
    let unknown_record = claims(&tenant, May::Read);
    for (credential, code) in [
        ("nothing of the kind".to_owned(), Code::Unauthenticated),
        (sign(&read, "another key"), Code::PermissionDenied),
        (sign(&read, KEY).replace('.', "#"), Code::Unauthenticated),
        (sign(&expired, KEY), Code::PermissionDenied),
        // The collection of the records is not there.
        (sign(&unknown_record, KEY), Code::PermissionDenied),
    ] {
        let client = Client::with(&url, &credential, "data").await;
        assert_eq!(client.nearest([1.0; 4]).await, Err(code), "{credential}");
    }
    let reader = Client::with(&url, &sign(&read, KEY), "data").await;
    assert_eq!(reader.meets().await, (Ok(vec![]), Err(Code::PermissionDenied)));
    assert_eq!(reader.take_snapshot().await, Err(Code::PermissionDenied));
    assert_eq!(reader.drop_collection().await, Err(Code::PermissionDenied));
    assert_eq!(reader.calling("other").nearest([1.0; 4]).await, Err(Code::PermissionDenied));
    let points = json!({ "access": [{ "collection": "data", "access": "prw" }] });
    let points = Client::with(&url, &sign(&points, KEY), "data").await;
    assert_eq!(points.put(1, [1.0; 4]).await, Ok(()));
    assert_eq!(points.take_snapshot().await, Err(Code::PermissionDenied), "points alone");
    tenant.names.vector_namespace = "alias".to_owned();
    admin.set_alias("alias").await.unwrap();
    let write = json!({ "access": [{ "collection": "alias", "access": "rw" }] });
    let writer = Client::with(&url, &sign(&write, KEY), "alias").await;
    assert_eq!(writer.nearest([1.0; 4]).await, Ok(vec![1]), "an alias is a name to be granted");
    assert_eq!(writer.calling("data").nearest([1.0; 4]).await, Err(Code::PermissionDenied));
}

#[tokio::test]
async fn names_and_shapes_are_refused_as_qdrant_refuses_them() {
    let server = server().await;
    let admin = Client::with(&server.url(), KEY, "data").await;
    assert_eq!(admin.nearest([1.0; 4]).await, Err(Code::NotFound));
    assert_eq!(admin.set_alias("a").await, Err(Code::NotFound), "an alias of nothing");
    admin.make_collection().await.unwrap();
    assert_eq!(admin.make_collection().await, Err(Code::AlreadyExists));
    assert_eq!(admin.calling("a/b").make_collection().await, Err(Code::InvalidArgument));
    assert_eq!(admin.set_alias("data").await, Err(Code::InvalidArgument), "an alias like a collection");
    admin.set_alias("a").await.unwrap();
    assert_eq!(admin.calling("a").make_collection().await, Err(Code::InvalidArgument));
    admin.drop_collection().await.unwrap();
    assert_eq!(admin.calling("a").nearest([1.0; 4]).await, Err(Code::NotFound), "aliases go with it");
}
