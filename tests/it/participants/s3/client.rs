//! An ordinary client of an object store, as a tenant uses one.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use tenantry::app::dev_servers::Login;

/// A client with a user's own credential.
pub(super) fn client(endpoint: &str, user: &str) -> Client {
    let Login { user, secret } = Login::of(user);
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new(user, secret, None, None, "test"));
    Client::from_conf(config.build())
}

/// What a client begins while it may, and tries again when it may not.
pub(super) struct Session {
    client: Client,
    bucket: String,
    prefix: String,
    get_url: String,
    put_url: String,
    upload: String,
    part: String,
}

impl Session {
    /// Writes an object, signs URLs for it, begins an upload.
    pub(super) async fn begin(client: Client, bucket: &str, prefix: &str) -> Self {
        let key = format!("{prefix}data");
        put(&client, bucket, &key, "precious").await.expect("a put passes");
        let lasting = PresigningConfig::expires_in(Duration::from_hours(1)).unwrap();
        let get = client.get_object().bucket(bucket).key(&key).presigned(lasting.clone()).await.unwrap();
        let fresh = format!("{prefix}presigned");
        let put = client.put_object().bucket(bucket).key(fresh).presigned(lasting).await.unwrap();
        let key = format!("{prefix}upload");
        let upload = client.create_multipart_upload().bucket(bucket).key(&key).send().await.unwrap();
        let upload = upload.upload_id.unwrap();
        let part = client.upload_part().bucket(bucket).key(&key).upload_id(&upload).part_number(1);
        let part = part.body(ByteStream::from_static(b"first part")).send().await.unwrap();
        Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            get_url: get.uri().to_owned(),
            put_url: put.uri().to_owned(),
            upload,
            part: part.e_tag.unwrap(),
            client,
        }
    }

    /// What of all that a client does passes and what is refused; anything else is a panic.
    pub(super) async fn passes(&self) -> Vec<(&'static str, bool)> {
        let (client, bucket, prefix) = (&self.client, self.bucket.as_str(), self.prefix.as_str());
        let key = |name: &str| format!("{prefix}{name}");
        let copy = client.copy_object().bucket(bucket).key(key("copy"));
        let part =
            client.upload_part().bucket(bucket).key(key("upload")).upload_id(&self.upload).part_number(1);
        let list = client.list_objects_v2().bucket(bucket).prefix(prefix);
        vec![
            ("get", passed(client.get_object().bucket(bucket).key(key("data")).send().await)),
            ("head", passed(client.head_object().bucket(bucket).key(key("data")).send().await)),
            ("list", passed(list.send().await)),
            ("put", passed(put(client, bucket, &key("more"), "more").await)),
            ("copy", passed(copy.copy_source(format!("{bucket}/{}", key("data"))).send().await)),
            ("part", passed(part.body(ByteStream::from_static(b"first part")).send().await)),
            (
                "begin upload",
                passed(client.create_multipart_upload().bucket(bucket).key(key("another")).send().await),
            ),
            ("delete", passed(client.delete_object().bucket(bucket).key(key("more")).send().await)),
            ("presigned get", fetched(reqwest::Client::new().get(&self.get_url)).await),
            ("presigned put", fetched(reqwest::Client::new().put(&self.put_url).body("x")).await),
        ]
    }

    /// Ends the upload that was begun; whether it passes.
    pub(super) async fn ends_upload(&self) -> bool {
        let part = CompletedPart::builder().part_number(1).e_tag(&self.part).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let end = self.client.complete_multipart_upload().bucket(&self.bucket);
        let end = end.key(format!("{}upload", self.prefix)).upload_id(&self.upload);
        passed(end.multipart_upload(parts).send().await)
    }

    /// What the object holds.
    pub(super) async fn data(&self) -> String {
        let get = self.client.get_object().bucket(&self.bucket).key(format!("{}data", self.prefix));
        let body = get.send().await.expect("a get passes").body.collect().await.unwrap();
        String::from_utf8(body.into_bytes().to_vec()).unwrap()
    }
}

/// Writes an object.
pub(super) async fn put(
    client: &Client,
    bucket: &str,
    key: &str,
    text: &str,
) -> Result<(), aws_sdk_s3::error::SdkError<aws_sdk_s3::operation::put_object::PutObjectError>> {
    let body = ByteStream::from(text.as_bytes().to_vec());
    client.put_object().bucket(bucket).key(key).body(body).send().await.map(drop)
}

fn passed<T, E: std::fmt::Debug>(outcome: Result<T, aws_sdk_s3::error::SdkError<E>>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 403) => false,
        Err(error) => panic!("neither passed nor refused: {error:?}"),
    }
}

async fn fetched(request: reqwest::RequestBuilder) -> bool {
    match request.send().await.expect("the server answers").status().as_u16() {
        200 => true,
        403 => false,
        status => panic!("neither passed nor refused: {status}"),
    }
}
