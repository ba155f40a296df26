//! Which methods there are, read from descriptor sets: bounds the labels of metrics and tells streams from unary calls.

use std::{collections::HashMap, time::Duration};

use prost::{DecodeError, Message as _};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

const HEALTH: &str = "grpc.health.v1.Health";

/// How a method takes requests and gives answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shape {
    pub(super) requests_stream: bool,
    pub(super) answers_stream: bool,
}

impl Shape {
    pub(super) fn is_unary(self) -> bool {
        !self.requests_stream && !self.answers_stream
    }

    /// As the label `grpc_type` of the metrics.
    pub(super) fn label(self) -> &'static str {
        match (self.requests_stream, self.answers_stream) {
            (false, false) => "unary",
            (true, false) => "client_stream",
            (false, true) => "server_stream",
            (true, true) => "bidi_stream",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Method {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) shape: Shape,
    /// Overrides the server's unary deadline.
    pub(super) deadline: Option<Duration>,
}

impl Method {
    /// Health checks are answered however busy the server is: refusing them would get it restarted for being busy.
    pub(super) fn is_probe(&self) -> bool {
        self.service == HEALTH && self.shape.is_unary()
    }
}

/// The methods of the served contracts, by path.
#[derive(Debug, Clone, Default)]
pub struct Methods {
    pub(super) by_path: HashMap<String, Method>,
}

impl Methods {
    /// Reads the methods of encoded descriptor sets.
    ///
    /// # Errors
    /// When a set is not an encoded `FileDescriptorSet`.
    pub fn of(descriptor_sets: &[&[u8]]) -> Result<Self, DecodeError> {
        let mut methods = Self::default();
        for encoded in descriptor_sets {
            for file in &FileDescriptorSet::decode(*encoded)?.file {
                methods.add(file);
            }
        }
        Ok(methods)
    }

    /// Lets one unary method take longer (or shorter) than [`super::Limits::unary_deadline`]. `path` is
    /// `/package.Service/Method`; an unknown one answers `false` and changes nothing.
    #[must_use]
    pub fn set_deadline(&mut self, path: &str, deadline: Duration) -> bool {
        self.by_path.get_mut(path).is_some_and(|method| {
            method.deadline = Some(deadline);
            true
        })
    }

    /// Full names of the services, sorted, each once.
    pub fn services(&self) -> Vec<String> {
        let mut names: Vec<_> = self.by_path.values().map(|method| method.service.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        for service in &file.service {
            let full_name = match file.package() {
                "" => service.name().to_owned(),
                package => format!("{package}.{}", service.name()),
            };
            for method in &service.method {
                let shape = Shape {
                    requests_stream: method.client_streaming(),
                    answers_stream: method.server_streaming(),
                };
                let (service, name) = (full_name.clone(), method.name().to_owned());
                self.by_path
                    .insert(format!("/{service}/{name}"), Method { service, name, shape, deadline: None });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DESCRIPTOR_SET;

    #[test]
    fn the_contract_tells_streams_from_unary_calls() {
        let methods = Methods::of(&[DESCRIPTOR_SET]).unwrap();
        assert!(methods.by_path["/tenantry.v1.TenantHealth/GetTenantHealth"].shape.is_unary());
        assert!(methods.by_path["/tenantry.v1.Lifecycle/WatchOperation"].shape.answers_stream);
        assert!(methods.services().contains(&"tenantry.v1.Tiers".to_owned()));
    }

    #[test]
    fn a_deadline_is_set_on_a_known_method_only() {
        let mut methods = Methods::of(&[DESCRIPTOR_SET]).unwrap();
        assert!(methods.set_deadline("/tenantry.v1.Lifecycle/SuspendTenant", Duration::from_secs(35)));
        assert!(!methods.set_deadline("/tenantry.v1.Lifecycle/Nothing", Duration::from_secs(35)));
    }
}
