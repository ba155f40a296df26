//! The object store as a target, against real servers: what is told of one is told of each.

mod apart;
mod client;
mod effect;
mod failures;
mod late;
mod neighbour;
mod policy;
mod principals;
mod removal;
mod states;
mod store;
mod surroundings;
mod taken_over;
mod wire;

/// Makes of each function, which takes a server, one test for each server.
macro_rules! on_each_server {
    ($($name:ident),+ $(,)?) => {
        super::on_each_server_that_takes_unknown_principals!($($name),+);
        mod on_versitygw {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(store) = crate::participants::s3::store::versitygw().await {
                    super::$name(store).await;
                }
            })+
        }
    };
}

/// The same for those that do not look whether a user of a policy exists.
macro_rules! on_each_server_that_takes_unknown_principals {
    ($($name:ident),+ $(,)?) => {
        mod on_seaweedfs {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::participants::s3::store::seaweedfs().await).await;
            })+
        }
        mod on_ceph {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::participants::s3::store::ceph().await).await;
            })+
        }
    };
}
use {on_each_server, on_each_server_that_takes_unknown_principals};
