//! Which methods there are, read from descriptor sets: bounds the labels of metrics and tells streams from unary calls.

use std::{collections::HashMap, time::Duration};

use prost_reflect::{
    DescriptorError, DescriptorPool, MessageDescriptor, MethodDescriptor,
    prost_types::{MethodOptions, method_options::IdempotencyLevel},
};

use super::items::Bounds;

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
    /// Overrides the server's largest message.
    pub(super) message_bytes_max: Option<usize>,
    /// What a message may become.
    pub(super) bounds: Bounds,
    /// The contract says `NO_SIDE_EFFECTS`, so that a call may come as GET.
    pub(super) has_no_side_effects: bool,
    /// What it takes and gives; `None` for what is not in the contract.
    pub(super) messages: Option<Messages>,
}

/// What a method takes and gives.
#[derive(Debug, Clone)]
pub(super) struct Messages {
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
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
    /// Where the types of error details are found.
    pub(super) pools: Vec<DescriptorPool>,
}

impl Methods {
    /// Reads the methods of encoded descriptor sets.
    ///
    /// # Errors
    /// When a set is not an encoded `FileDescriptorSet`, or refers to what is not in it.
    pub fn of(descriptor_sets: &[&[u8]]) -> Result<Self, DescriptorError> {
        let mut methods = Self::default();
        for encoded in descriptor_sets {
            // A pool for each: two sets may have different versions of the same file.
            let pool = DescriptorPool::decode(*encoded)?;
            for service in pool.services() {
                for method in service.methods() {
                    methods.add(&method);
                }
            }
            methods.pools.push(pool);
        }
        methods.pools.push(DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?);
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

    /// Lets one method take larger messages (or smaller ones) than [`super::Limits::message_bytes_max`]. `path` as
    /// above.
    #[must_use]
    pub fn set_message_bytes_max(&mut self, path: &str, bytes: usize) -> bool {
        self.by_path.get_mut(path).is_some_and(|method| {
            method.message_bytes_max = Some(bytes);
            true
        })
    }

    /// Lets the messages of one method become more (or less) than [`Bounds::default`]. `path` as above.
    #[must_use]
    pub fn set_bounds(&mut self, path: &str, bounds: Bounds) -> bool {
        self.by_path.get_mut(path).is_some_and(|method| {
            method.bounds = bounds;
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

    fn add(&mut self, method: &MethodDescriptor) {
        let options = method.method_descriptor_proto().options.as_ref();
        let level = options.map_or(IdempotencyLevel::IdempotencyUnknown, MethodOptions::idempotency_level);
        let (service, name) = (method.parent_service().full_name().to_owned(), method.name().to_owned());
        let path = format!("/{service}/{name}");
        let shape = Shape {
            requests_stream: method.is_client_streaming(),
            answers_stream: method.is_server_streaming(),
        };
        let messages = Some(Messages { input: method.input(), output: method.output() });
        let has_no_side_effects = level == IdempotencyLevel::NoSideEffects;
        let method = Method {
            service,
            name,
            shape,
            deadline: None,
            message_bytes_max: None,
            bounds: Bounds::default(),
            has_no_side_effects,
            messages,
        };
        self.by_path.insert(path, method);
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
        assert!(methods.by_path["/tenantry.v1.TenantRegistry/GetTenant"].has_no_side_effects);
        assert!(!methods.by_path["/tenantry.v1.TenantRegistry/CreateTenant"].has_no_side_effects);
    }

    #[test]
    fn a_deadline_is_set_on_a_known_method_only() {
        let mut methods = Methods::of(&[DESCRIPTOR_SET]).unwrap();
        assert!(methods.set_deadline("/tenantry.v1.Lifecycle/SuspendTenant", Duration::from_secs(35)));
        assert!(!methods.set_deadline("/tenantry.v1.Lifecycle/Nothing", Duration::from_secs(35)));
    }
}
